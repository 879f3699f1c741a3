"""Models measured as they are, side by side: scores with intervals, tested against the first.

A measurement, not a search: nothing is divided, and no choice rests on the scores.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evomerge.errors import EvaluationError, EvoMergeException, describe
from evomerge.evaluation import Audit, Task
from evomerge.evaluation.lm_eval_harness import LmEval
from evomerge.evolve.comparison import Line, Scores, compare
from evomerge.evolve.contestants import Contestant, Opener, find_contestants
from evomerge.evolve.reported_tasks import REPORTED, find_tasks
from evomerge.types import Progress

KIND = "model"
CHUNK = 256
"""Items between two steps of progress: what is shared between items is shared within a step."""


@dataclass(frozen=True)
class Measured:
    """One model and what it scored.

    Attributes:
        contestant: the model.
        scores: task -> place of the item -> score; empty where the model failed.
        noted: task -> 'metric,filter' -> a number per item, where the harness gives several.
        summed: task -> 'metric,filter' -> the harness' own number for all items together.
        audit: task -> measure -> value, as evomerge.evaluation.audit names them.
        began: seconds since 1970.
        ended: likewise.
        failure: why there are no scores.
    """

    contestant: Contestant
    scores: Scores
    noted: Mapping[str, Mapping[str, Sequence[float]]]
    summed: Mapping[str, Mapping[str, float]]
    audit: Mapping[str, Mapping[str, float]]
    began: float
    ended: float
    failure: str = ""


@dataclass(frozen=True)
class SideBySide:
    """Several models, measured on the same items.

    Attributes:
        tasks: by what; their items stand under 'test'.
        models: in the order given.
        lines: over all tasks; tests against the first model, Holm-corrected over the models.
        by_task: likewise, of each task alone.
        settings: how it was measured.
    """

    tasks: tuple[Task, ...]
    models: tuple[Measured, ...]
    lines: tuple[Line, ...]
    by_task: Mapping[str, tuple[Line, ...]]
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
    measured = tuple(_measure(each, found, opener, progress) for each in contestants)
    if progress:
        progress.end()
    settings = {"device": opener.device, "limit": limit, "seed": seed, **(options or {})}
    return _put_together(found, measured, settings)


def _measure(
    contestant: Contestant, tasks: Sequence[Task], opener: Opener, progress: Progress | None
) -> Measured:
    began, failure = time.time(), ""
    scores: dict[str, dict[str, float]] = {}
    noted: dict[str, dict[str, list[float]]] = {task.name: {} for task in tasks}
    summed: dict[str, Mapping[str, float]] = {}
    audits = {task.name: Audit() for task in tasks}
    try:
        with opener.open(contestant, {task.evaluator.subject for task in tasks}) as subjects:
            for task in tasks:
                task.evaluator.audit = audits[task.name]
                graded: dict[str, list[Any]] = {}
                found = _score(task, subjects, noted[task.name], graded)
                scores[task.name] = _gather(found, contestant.label, progress)
                summed[task.name] = _sum_up(task, graded)
    except EvoMergeException as error:
        scores, failure = {}, str(error)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a user's evaluator may raise anything
        scores, failure = {}, describe(error)
    measures = {name: audit.measures() for name, audit in audits.items()}
    return Measured(contestant, scores, noted, summed, measures, began, time.time(), failure)


def _score(
    task: Task,
    subjects: Mapping[str, Any],
    noted: dict[str, list[float]],
    graded: dict[str, list[Any]],
) -> Iterator[list[float]]:
    """Yield the scores of a task's items, in order, some at a time."""
    evaluator, items = task.evaluator, task.items[REPORTED]
    subject = subjects[evaluator.subject]
    if evaluator.subject == "model":
        subject = evaluator.audit.watch(subject)
    whole = evaluator.at_once or not evaluator.per_item
    step = len(items) if whole else CHUNK
    for start in range(0, len(items), step):
        yield evaluator.evaluate(subject, items[start : start + step])
        for name, values in getattr(evaluator, "noted", {}).items():
            noted.setdefault(name, []).extend(values)
        for name, made in getattr(evaluator, "graded", {}).items():
            graded.setdefault(name, []).extend(made)


def _sum_up(task: Task, graded: Mapping[str, Sequence[Any]]) -> Mapping[str, float]:
    return task.evaluator.sum_up(graded) if isinstance(task.evaluator, LmEval) else {}


def _gather(
    chunks: Iterator[list[float]], label: str, progress: Progress | None
) -> dict[str, float]:
    """Return place -> score; equal items of a task count as often as they stand there."""
    found: list[float] = []
    for chunk in chunks:
        found += chunk
        if progress:
            progress.advance(len(chunk), label)
    return {str(place): score for place, score in enumerate(found)}


def _put_together(
    tasks: tuple[Task, ...], models: tuple[Measured, ...], settings: Mapping[str, Any]
) -> SideBySide:
    first = models[0]
    if first.failure:
        raise EvaluationError(f"{first.contestant.reference}: {first.failure}")

    def lines(chosen: Sequence[Task]) -> tuple[Line, ...]:
        return compare(chosen, [(m.contestant.label, KIND, m.failure or m.scores) for m in models])

    by_task = {task.name: lines([task]) for task in tasks}
    return SideBySide(tasks, models, lines(tasks), by_task, settings)
