"""The words the floors share: aliases and Protocols, no code.

A `LanguageModel` is all that evaluation knows of a model; `Genome` is all that search knows of a
merge; `Ask` is all that it knows of a language model that advises it; `Progress` is all that a
long computation knows of the screen.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from evomerge.records import Generation

    Genome: TypeAlias = NDArray[np.float64]
    """A point of the unit cube [0, 1]^n: one coordinate per gene of a SearchSpace."""

ItemScore: TypeAlias = float
"""What one item earned, in the evaluator's unit; NaN where the evaluator failed."""

ScoreRequest: TypeAlias = tuple[str, str]
"""(context, continuation): the continuation's log-likelihood given the context is asked for."""

Message: TypeAlias = dict[str, str]
"""A turn of a conversation: its 'role' (system, user, assistant) and its 'content'."""

Reply: TypeAlias = tuple[str, dict[str, Any]]
"""An answer, and what is told of it: 'model', 'usage' in tokens."""

Ask: TypeAlias = Callable[[Sequence[Message]], Reply]
"""A language model as a conversation partner, whatever runs it."""


class LanguageModel(Protocol):
    """A live model, whatever runs it."""

    @property
    def tokenizer(self) -> Any:
        """The tokenizer, as the backend has it."""
        ...

    @property
    def module(self) -> Any:
        """The model itself, opaque: only a user's own function looks inside."""
        ...

    def score(self, requests: Sequence[ScoreRequest]) -> list[float]:
        """Log-likelihood (nats) of each continuation given its context, in request order."""
        ...

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        stop: Sequence[str] = (),
        witness: "Callable[[Generation], None] | None" = None,
    ) -> list[str]:
        """Greedy continuation of each prompt, cut before the first stop string.

        `witness` is told of every answer, in order, how long it is and how it ended.
        """
        ...


class Progress(Protocol):
    """Where a long computation tells how far it is."""

    def begin(self, label: str, total: int) -> None:
        """Start a phase of `total` steps."""
        ...

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Report `steps` more steps done, with a short note such as the best score so far."""
        ...

    def end(self) -> None:
        """Close the phase."""
        ...
