"""What travels between the pillars: frozen, picklable, of plain Python values.

Scores are *objectives*: higher is better, whatever the metric (an evaluator's unit is turned
round where lower is better). NaN stands for 'failed'.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evomerge.types import Genome


@dataclass(frozen=True, slots=True)
class Item:
    """One question of a task.

    Attributes:
        key: hash of task and content; the same question has the same key in every run.
        task: name of the task it belongs to.
        fields: the item as read: prompt, target, choices, text … as the evaluator needs them.
    """

    key: str
    task: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A recipe to be tried (opaque here), and the fingerprint that is its identity."""

    fingerprint: str
    recipe: Any


@dataclass(frozen=True, slots=True)
class Generation:
    """One generated answer, as an audit sees it.

    Attributes:
        prompt: what was continued.
        text: the answer, cut before the first stop string.
        tokens: how many were generated.
        finished: an end token or a stop string ended it, not the limit of tokens.
    """

    prompt: str
    text: str
    tokens: int
    finished: bool


@dataclass(frozen=True, slots=True)
class Race:
    """How a candidate may be dropped before it has met all items.

    Attributes:
        alpha: chance of dropping a candidate that is as good as its rival, over all looks.
        first: items before the first look.
        every: items between looks.
        per_look: spend alpha at each look instead, which drops more and errs more.
    """

    alpha: float = 0.1
    first: int = 30
    every: int = 10
    per_look: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """Work for one worker: candidates that share something, and the items they meet.

    Attributes:
        number: identity within the run, in order of asking.
        cohort: one or several candidates.
        items: task name -> positions in that task's split, ascending.
        split: 'search', 'validation' or 'test'.
        rival_scores: the incumbent's objective per item key *as of the ask*.
        seed: from which everything random about the job derives.
        race: how a hopeless candidate is dropped; None where every candidate meets all items.
    """

    number: int
    cohort: tuple[Candidate, ...]
    items: Mapping[str, tuple[int, ...]]
    split: str = "search"
    rival_scores: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    race: Race | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one candidate of a job.

    Attributes:
        fingerprint: whose outcome it is.
        scores: task name -> item key -> score in the evaluator's own unit.
        seconds: stage ('merge', 'evaluate') -> wall seconds; what a cohort shares is told with
            whoever asked for it first.
        failure: why there are no (or not all) scores; empty when all went well.
        raced_out: it met only some of the items, because its rival was clearly better.
        audit: task name -> measure -> value, as evomerge.evaluation.audit names them.
        layers: how many layers were run, and how many would have been if paths shared nothing;
            what a cohort shares is told with its first candidate.
    """

    fingerprint: str
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    failure: str = ""
    raced_out: bool = False
    audit: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    layers: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class JobResult:
    """A job's outcomes, one per candidate of its cohort, in cohort order."""

    number: int
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a genome comes from.

    Attributes:
        how: 'mutant', 'merger', 'known', …; empty where it was drawn from a distribution.
        parents: places of its parents in the order of asking, from 0.
    """

    how: str = ""
    parents: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Evaluated:
    """A genome and what it earned: what a searcher is told.

    Attributes:
        genome: point of the unit cube, shape (genes,).
        objectives: one number per goal, higher is better; NaN is worst.
        item_scores: objective per item key, for searchers that look at items.
        items_seen: on how many items the objectives rest.
        failure: why the candidate failed; empty when it did not.
        raced_out: it was dropped before it had met all items; it ranks below all that were not.
        overall: the one number by which candidates of several goals are ranked where an order is
            needed; the first objective where absent.
        violation: by how much bounds are missed, >= 0; what misses them by less ranks higher.
        measures: what else is known of its answers, by name: 'task' -> mean score in the
            evaluator's own unit, 'task/measure' -> a measure of its audit.
        item_weights: how much each item's score counts, >= 0, by item key; all alike where absent.
    """

    genome: "Genome"
    objectives: tuple[float, ...]
    item_scores: Mapping[str, float] = field(default_factory=dict)
    items_seen: int = 0
    failure: str = ""
    raced_out: bool = False
    overall: float | None = None
    violation: float = 0.0
    measures: Mapping[str, float] = field(default_factory=dict)
    item_weights: Mapping[str, float] = field(default_factory=dict)

    @property
    def standing(self) -> int:
        """Return 2 for what met all items, 1 for what was raced out, 0 for what failed."""
        if self.failure or any(map(math.isnan, self.objectives)):
            return 0
        return 1 if self.raced_out else 2

    @property
    def rank_key(self) -> tuple[float, ...]:
        """Standing, bounds met, then the overall objective: greater is better, always."""
        overall = self.objectives[0] if self.overall is None else self.overall
        return (
            float(self.standing),
            -self.violation,
            -math.inf if math.isnan(overall) else overall,
        )
