"""EvoLLM: a language model as evolution strategy (Lange et al., 2024).

https://arxiv.org/abs/2402.18381

The model reads what was tried, as integers and from worst to best, and proposes the mean of the
next generation. The step size follows LLM-Evo-Merge: https://github.com/kwon13/LLM-Evo-Merge
"""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from evomerge.errors import EndpointError
from evomerge.exchanges import BadAnswerError, Exchanges
from evomerge.llm_client import KEY_VARIABLE, ChatEndpoint
from evomerge.records import Evaluated
from evomerge.search.hill_climbing import HillClimbing, merit
from evomerge.search.prompt import Line, Question, answer_fittest
from evomerge.space import SearchSpace
from evomerge.types import Ask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evomerge.types import Genome

logger = logging.getLogger(__name__)
BACKENDS = ("openai", "local", "mock")
MODEL = "gpt-4o"
"""LLM-Evo-Merge's choice, where an endpoint is asked and no model is named."""
DIGITS = 4
"""Of a fitness, as the model reads it; more where the best differ in later ones."""
MOST_DIGITS = 9
"""What differs beyond them does so by the order of a sum."""


class LLM(HillClimbing):
    """A language model proposes the mean of every generation.

    Its answers are checked; bad ones are asked for again with the reason, and in the end replaced
    by the mean of the best so far, as are those of a model that cannot be reached. Coordinates are
    shown as integers: a number's place in its range, or a choice's place in its list.

    Args:
        space: the genes.
        seed: of the draws.
        population: genomes per generation, at least 2; 4 + ⌊3 ln n⌋ if absent.
        max_generation: so many generations are drawn at most; as many as the budget gives, if
            absent.
        sigma_low: step size after a generation that improved on the best, in units of the cube's
            edge.
        sigma_high: step size after any other generation, and in the first.
        max_retries: how often a question is put again, whether the answer or the connection was
            bad.
        backend: 'openai' for any endpoint that speaks its protocol, 'local' for a model on this
            machine, 'mock' for the fittest point that is shown, without any model.
        model: its name at the endpoint, or a model as a recipe names it.
        base_url: of the endpoint; if absent what OPENAI_BASE_URL says, or OpenAI's own.
        api_key_variable: environment variable that holds the endpoint's key, which is never stored.
        timeout: seconds until an answer begins.
        max_tokens: longest answer; None: as the endpoint thinks right.
        context_generations: so many generations are shown, the best.
        context_members: so many points of each are shown, the best.
        block: so many genes are asked for at once, at most.
        resolution: numbers are shown as integers from 0 to this.
        show_fitness: False hides what points earned, order and choice of them included: does the
            model do more than draw near what it is shown?
        log: file that keeps every exchange, from which an interrupted search goes on.
        replay: a log, or the folder of a run, that answers instead of the model.
        ask: the model itself, for backends that are not made here.

    Attributes:
        proposed: how many blocks of genes the model was asked for, or would have been.
        fallbacks: for how many of them the mean of the best stood in for its answer.
    """

    kinds = frozenset({"continuous", "mixed"})
    name: ClassVar[str] = "llm"

    def __init__(  # noqa: PLR0913 - options of a run file
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        population: int | None = None,
        max_generation: int | None = None,
        sigma_low: float = 0.05,
        sigma_high: float = 0.2,
        max_retries: int = 3,
        backend: Literal["openai", "local", "mock"] = "openai",
        model: str | None = None,
        base_url: str | None = None,
        api_key_variable: str = KEY_VARIABLE,
        timeout: float = 60.0,
        max_tokens: int | None = None,
        context_generations: int = 5,
        context_members: int = 5,
        block: int = 8,
        resolution: int = 100,
        show_fitness: bool = True,
        log: str | Path | None = None,
        replay: str | Path | None = None,
        ask: Ask | None = None,
    ) -> None:
        super().__init__(
            space,
            seed=seed,
            population=population,
            max_generation=max_generation,
            sigma_low=sigma_low,
            sigma_high=sigma_high,
            parents=max(context_members, 1),
        )
        for name, count in {
            "context_generations": context_generations,
            "context_members": context_members,
            "block": block,
            "resolution": resolution,
        }.items():
            if count < 1:
                raise ValueError(f"{name} must be at least 1, not {count}")
        if max_retries < 0 or not 0.0 < timeout < math.inf:
            raise ValueError("expected max_retries >= 0 and timeout > 0")
        if ask is None and not replay:
            if backend not in BACKENDS:
                raise ValueError(f"backend is {', '.join(BACKENDS)}, not {backend!r}")
            if backend == "local":
                raise ValueError("a local model is loaded by a run; else hand it in as `ask`")
            ask = answer_fittest
            if backend == "openai":
                ask = ChatEndpoint(
                    model or MODEL,
                    base_url=base_url,
                    api_key_variable=api_key_variable,
                    timeout=timeout,
                    max_retries=max_retries,
                    max_tokens=max_tokens,
                )
        self.proposed = self.fallbacks = 0
        self._model = None if replay else ask
        self._exchanges = Exchanges(
            self._model, log=Path(log) if log else None, replay=Path(replay) if replay else None
        )
        self._tries, self._shows_fitness = 1 + max_retries, show_fitness
        self._shown = context_generations, context_members
        self._tops = np.array(
            [len(gene.choices) - 1 if gene.choices else resolution for gene in space.genes]
        )
        self._blocks = np.array_split(np.arange(len(space)), math.ceil(len(space) / block))
        self._history: list[list[Evaluated]] = []

    @classmethod
    def resolve_paths(
        cls, options: Mapping[str, Any], resolve: Callable[[str], str]
    ) -> dict[str, Any]:
        """Resolve logs, of which one may be still to be written, and a model of this machine."""
        found = dict(options)
        if options.get("backend") == "local" and options.get("model"):
            found["model"] = resolve(options["model"])
        if options.get("replay"):
            found["replay"] = resolve(options["replay"])
        if options.get("log"):
            found["log"] = str(Path(resolve("."), Path(options["log"]).expanduser()))
        return found

    def probe(self) -> None:
        """Ask the model for next to nothing, where that can fail.

        Raises:
            EvoMergeException: it cannot be reached, or does not load.
        """
        probe = getattr(self._model, "probe", None)
        if probe:
            probe()

    def remarks(self) -> list[str]:
        """Return how often the model was of no use."""
        told = "{} of {} answers of the language model were replaced by the mean of the best"
        return [told.format(self.fallbacks, self.proposed)] if self.fallbacks else []

    def _tell(self, results: Sequence[Evaluated]) -> None:
        super()._tell(results)
        self._history += [list(results)] if results else []
        if self._shows_fitness:
            self._history.sort(key=lambda generation: max(map(merit, generation)))
        self._history = self._history[-self._shown[0] :]

    def _propose(self) -> "Genome":
        mean = self._average()
        self.proposed += len(self._blocks)
        for done, block in enumerate(self._blocks):
            try:
                mean[block] = self._consult(block)
            except BadAnswerError as error:
                self._fall_back(1, f"{error.text[:60]!r} is no answer: {error}")
            except EndpointError as error:
                self._fall_back(len(self._blocks) - done, str(error))
                break
        return mean

    def _consult(self, block: "NDArray[np.int_]") -> "Genome":
        """Ask for the mean of some genes, again with the reason where an answer is bad.

        Raises:
            BadAnswerError: the last answer was bad, too.
            EndpointError: there is none.
        """
        question = self._question(block)
        messages = question.put()
        for left in reversed(range(self._tries)):
            try:
                integers = np.array(self._exchanges.ask(messages, question.read))
                break
            except BadAnswerError as error:
                if not left:
                    raise
                messages += question.object(error.text, str(error))
        tops, choosing = self._tops[block], self.space.choosing[block]
        place: Genome = np.where(choosing, (integers + 0.5) / (tops + 1), integers / tops)
        return place

    def _question(self, block: "NDArray[np.int_]") -> Question:
        """Show how points fared, and some of their genes."""
        target, digits = _find_target(chain(*self._history))
        shown = [[self._write(result, block, digits) for result in part] for part in self._choose()]
        choices = (np.flatnonzero(self.space.choosing[block]) + 1).tolist()
        aim = target if self._shows_fitness else ""
        return Question(shown, self._tops[block].tolist(), aim, choices)

    def _choose(self) -> list[list[Evaluated]]:
        """Return what is shown of each generation: its best, worst first; or its last, as asked."""
        if self._shows_fitness:
            ordered = [sorted(generation, key=merit) for generation in self._history]
        else:
            ordered = self._history
        return [generation[-self._shown[1] :] for generation in ordered]

    def _write(self, result: Evaluated, block: "NDArray[np.int_]", digits: int) -> Line:
        """Return how a point fared, where that is shown, and some of its genes."""
        fitness = _name_fitness(result, digits) if self._shows_fitness else ""
        return fitness, self._count(result.genome)[block].tolist()

    def _count(self, genome: "Genome") -> "NDArray[np.int_]":
        """Return a point as integers, shape (genes,)."""
        choices = np.minimum(np.floor(genome * (self._tops + 1)), self._tops)
        integers = np.where(self.space.choosing, choices, np.rint(genome * self._tops))
        return np.asarray(integers, dtype=np.int_)

    def _fall_back(self, blocks: int, why: str) -> None:
        """Count blocks of genes that the mean of the best stands in for; say so once."""
        level = logging.INFO if self.fallbacks else logging.WARNING
        self.fallbacks += blocks
        told = "the language model is of no use (%s); the mean of the best stands in for it"
        logger.log(level, told, why.rstrip("."))


def _name_fitness(result: Evaluated, digits: int = DIGITS) -> str:
    """Return what a point earned, as the model reads it; a word where that is no full score."""
    if result.standing < 2:
        return "dropped" if result.standing else "failed"
    return "infeasible" if result.violation else f"{_overall(result):.{digits}g}"


def _find_target(results: Iterable[Evaluated]) -> tuple[str, int]:
    """Return a fitness as far above the best as that is above the next, and digits to tell them."""
    full = (_overall(r) for r in results if r.standing == 2 and not r.violation)
    scores = {float(f"{score:.{MOST_DIGITS}g}") for score in full}
    if not scores:
        return "a number", DIGITS
    best, *others = sorted(scores, reverse=True)
    step = best - others[0] if others else abs(best) / 100 or 0.01
    for digits in range(DIGITS, MOST_DIGITS + 1):
        target, *told = (f"{score:.{digits}g}" for score in (best + step, best, *others[:1]))
        if len({target, *told}) == len(told) + 1:
            return target, digits
    return f"{best + step:.{MOST_DIGITS + 1}g}", MOST_DIGITS + 1


def _overall(result: Evaluated) -> float:
    return result.objectives[0] if result.overall is None else result.overall
