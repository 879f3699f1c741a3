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
class Job:
    """Work for one worker: candidates that share something, and the items they meet.

    Attributes:
        number: identity within the run, in order of asking.
        cohort: one or several candidates.
        items: task name -> positions in that task's split, ascending.
        split: 'search', 'validation' or 'test'.
        rival_scores: the incumbent's score per item key *as of the ask*.
        seed: from which everything random about the job derives.
    """

    number: int
    cohort: tuple[Candidate, ...]
    items: Mapping[str, tuple[int, ...]]
    split: str = "search"
    rival_scores: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one candidate of a job.

    Attributes:
        fingerprint: whose outcome it is.
        scores: task name -> item key -> score in the evaluator's own unit.
        seconds: stage ('merge', 'evaluate') -> wall seconds.
        failure: why there are no (or not all) scores; empty when all went well.
    """

    fingerprint: str
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    failure: str = ""


@dataclass(frozen=True, slots=True)
class JobResult:
    """A job's outcomes, one per candidate of its cohort, in cohort order."""

    number: int
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Evaluated:
    """A genome and what it earned: what a searcher is told.

    Attributes:
        genome: point of the unit cube, shape (genes,).
        objectives: one number per goal, higher is better; NaN is worst.
        item_scores: objective per item key, for searchers that look at items.
        items_seen: on how many items the objectives rest.
        failure: why the candidate failed; empty when it did not.
    """

    genome: "Genome"
    objectives: tuple[float, ...]
    item_scores: Mapping[str, float] = field(default_factory=dict)
    items_seen: int = 0
    failure: str = ""

    @property
    def rank_key(self) -> tuple[float, ...]:
        """Objectives with NaN and failures at minus infinity: greater is better, always."""
        if self.failure:
            return tuple(-math.inf for _ in self.objectives)
        return tuple(-math.inf if math.isnan(value) else value for value in self.objectives)
