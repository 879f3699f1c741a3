"""Models measured as they are, side by side: scores with intervals, tested against the first.

A measurement, not a search: nothing is divided, and no choice rests on the scores.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evomerge.errors import EvaluationError, EvoMergeException, describe
from evomerge.evaluation import Task
from evomerge.evolve.comparison import Scores
from evomerge.evolve.context import check_context
from evomerge.evolve.measurement.contestants import Contestant, Opener, find_contestants
from evomerge.evolve.measurement.model_facts import describe_model
from evomerge.evolve.measurement.reported_tasks import REPORTED, find_tasks
from evomerge.evolve.measurement.standings import (
    GroupStandings,
    Standing,
    stand,
    stand_in_groups,
)
from evomerge.evolve.measurement.tally import Tally, count
from evomerge.types import Progress


@dataclass(frozen=True)
class Measured:
    """One model and what it scored.

    Attributes:
        contestant: the model.
        tallies: task -> what it scored there; empty where the model failed.
        facts: of the live model, as `describe_model` names them; empty where none was needed.
        began: seconds since 1970.
        ended: likewise.
        failure: why there are no scores.
    """

    contestant: Contestant
    tallies: Mapping[str, Tally]
    facts: Mapping[str, Any]
    began: float
    ended: float
    failure: str = ""

    @property
    def scores(self) -> Scores:
        """Return task -> place of the item -> score; equal items count as often as they stand."""
        return {
            name: {str(place): score for place, score in enumerate(tally.scores)}
            for name, tally in self.tallies.items()
        }


@dataclass(frozen=True)
class SideBySide:
    """Several models, measured on the same items.

    Attributes:
        tasks: by what; their items stand under 'test'.
        models: in the order given.
        overall: standings over all tasks, weighted as their groups and run files say.
        by_task: standings in each task alone.
        by_group: standings in each group of lm-evaluation-harness that sums its tasks up.
        settings: how it was measured.
    """

    tasks: tuple[Task, ...]
    models: tuple[Measured, ...]
    overall: tuple[Standing, ...]
    by_task: Mapping[str, tuple[Standing, ...]]
    by_group: Mapping[str, GroupStandings]
    settings: Mapping[str, Any] = field(default_factory=dict)


def measure(
    models: Sequence[str],
    tasks: Sequence[str],
    *,
    limit: int | None = None,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    device: str | None = None,
    arithmetic: str | None = None,
    progress: Progress | None = None,
) -> SideBySide:
    """Measure models on the same items, one after the other.

    Args:
        models: folders, hub ids, `zoo:NAME`, any of them `+adapter`, GGUF files, recipes.
        tasks: names of lm-evaluation-harness' tasks and groups, or run files.
        limit: most items of each task, drawn by seed; all if None.
        seed: of that draw, and of random masks in recipes.
        options: of lm_eval (num_fewshot, scorer …); in run files they stand for the run's keys.
        device: where models live; the best one here if None.
        arithmetic: dtype they compute in; the fastest one here if None.
        progress: told of the items done.

    Raises:
        EvoMergeException: bad input, found before a model is loaded; or the first model failed,
            with which the others are compared.
    """
    from evomerge.checkpoints.loading import find_device

    contestants = find_contestants(models)
    found = find_tasks(tasks, limit=limit, seed=seed, options=options)
    opener = Opener(device or find_device(), arithmetic, seed=seed)
    total = sum(len(task.items[REPORTED]) for task in found) * len(contestants)
    if progress:
        progress.begin("items", total)
    measured: list[Measured] = []
    for contestant in contestants:
        measured.append(_measure(contestant, found, opener, progress))
        if measured[0].failure:
            raise EvaluationError(f"{contestant.reference}: {measured[0].failure}")
    if progress:
        progress.end()
    settings = {"device": opener.device, "limit": limit, "seed": seed, **(options or {})}
    return _put_together(found, tuple(measured), settings)


def _measure(
    contestant: Contestant, tasks: Sequence[Task], opener: Opener, progress: Progress | None
) -> Measured:
    began, failure = time.time(), ""
    tallies: dict[str, Tally] = {}
    facts: Mapping[str, Any] = {}
    try:
        with opener.open(contestant, {task.evaluator.subject for task in tasks}) as subjects:
            facts = describe_model(subjects["model"]) if "model" in subjects else {}
            if "model" in subjects:
                check_context(tasks, "this model", subjects["model"].context_limit)
            for task in tasks:
                tally = tallies[task.name] = Tally()
                for done in count(task, subjects, tally):
                    if progress:
                        progress.advance(done, contestant.label)
    except EvoMergeException as error:
        tallies, failure = {}, str(error)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a user's evaluator may raise anything
        tallies, failure = {}, describe(error)
    return Measured(contestant, tallies, facts, began, time.time(), failure)


def _put_together(
    tasks: tuple[Task, ...], models: tuple[Measured, ...], settings: Mapping[str, Any]
) -> SideBySide:
    entries = [(m.contestant.label, m.failure or m.scores) for m in models]
    by_task = {task.name: stand([task], entries) for task in tasks}
    groups = stand_in_groups(tasks, entries)
    return SideBySide(tasks, models, stand(tasks, entries), by_task, groups, settings)
