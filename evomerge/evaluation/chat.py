"""Prompts as a user's turn of a conversation, in the words of a model's own chat template."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from evomerge.errors import EvaluationError, describe

if TYPE_CHECKING:
    from evomerge.records import Generation

Wanted = bool | Literal["auto"]
"""Whether a chat template is applied: yes, no, or where the tokenizer has one."""


def has_template(tokenizer: Any, wanted: Wanted | str) -> bool:
    """Tell whether prompts go through the tokenizer's chat template.

    Raises:
        EvaluationError: it is asked for and there is none.
    """
    there = bool(getattr(tokenizer, "chat_template", None))
    if wanted is True and not there:
        raise EvaluationError(
            "apply_chat_template: the model's tokenizer has no chat template",
            "Leave it out, or write auto to apply it where there is one",
        )
    return there and bool(wanted)


def templated(model: Any, wanted: Wanted) -> Any:
    """Return the model, whose prompts are turns of a conversation where that is wanted.

    Args:
        model: a live LanguageModel that takes token ids, too.
        wanted: yes, no, or 'auto'.

    Raises:
        EvaluationError: it is wanted and the tokenizer has no template.
    """
    return _Conversing(model) if wanted and has_template(model.tokenizer, wanted) else model


class _Conversing:
    """A live model to which every prompt is a conversation's first turn; it scores as before."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        stop: Sequence[str] = (),
        witness: "Callable[[Generation], None] | None" = None,
    ) -> list[str]:
        """Answer every prompt greedily, up to the end of the turn or before a stop string."""
        texts = [_write_turn(self._model.tokenizer, prompt) for prompt in prompts]
        answers: list[str] = self._model.generate_tokens(
            [_encode(self._model.tokenizer, text) for text in texts],
            max_new_tokens=max_new_tokens,
            stop=stop,
            texts=texts,
            witness=witness,
        )
        return answers


def _write_turn(tokenizer: Any, prompt: str) -> str:
    turns = [{"role": "user", "content": prompt}]
    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    except Exception as error:  # a template is a program of a stranger's
        raise EvaluationError(
            f"the tokenizer's chat template cannot be applied: {describe(error)}",
            "Mend it, or leave apply_chat_template out",
        ) from error


def _encode(tokenizer: Any, text: str) -> list[int]:
    """Return token ids; a text that begins with the start token gets no second one.

    That is lm-evaluation-harness' rule.
    """
    begun = bool(tokenizer.bos_token) and text.startswith(tokenizer.bos_token)
    found: list[int] = tokenizer(text, **({"add_special_tokens": False} if begun else {}))[
        "input_ids"
    ]
    return found
