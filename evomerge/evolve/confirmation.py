"""The exported folder, loaded afresh and scored again: is it the model that won?

Tasks of lm-evaluation-harness are scored by the harness itself, on all test items; of the others a
few items are enough to see that the folder is the model that was judged in memory. What can only be
asked about all items at once, or about a folder or a recipe, is not asked again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evomerge.checkpoints.loading import find_device
from evomerge.config import RunConfig, TaskSettings
from evomerge.errors import EvoMergeException
from evomerge.evaluation.lm_eval_harness import LmEval
from evomerge.evolve.comparison import Scores
from evomerge.evolve.live import load_folder
from evomerge.evolve.tasks import build_tasks
from evomerge.types import Progress

FEW = 16
"""Items of a task that the harness does not know."""

TOLERANCE = 1e-3
"""Relative difference of two scores that are the same: other items share a batch."""

TOLERATED = 0.05
"""Share of items that may differ, near ties between choices, before the folder is suspicious."""


@dataclass(frozen=True)
class Check:
    """How a task's scores of the exported folder compare with those of the run.

    Attributes:
        task: its name.
        by_harness: whether lm-evaluation-harness itself scored the folder.
        items: how many were scored again.
        different: how many have another score.
    """

    task: str
    by_harness: bool
    items: int
    different: int


def confirm(
    folder: Path, config: RunConfig, known: Scores, progress: Progress | None = None
) -> tuple[str, tuple[str, ...]]:
    """Score an exported folder again.

    Args:
        folder: of the winner.
        config: of the run.
        known: the winner's scores on the test items, as the run has them.
        progress: told of every item.

    Returns:
        What was found, in plain words, and what of it is suspicious.
    """
    try:
        checks = list(_check(folder, config, known, progress))
    except (Exception, SystemExit) as error:  # a user's evaluator may raise anything
        reason = str(error) if isinstance(error, EvoMergeException) else repr(error)
        told = f"The exported folder could not be scored again: {reason.splitlines()[0]}"
        return told, ("the exported folder could not be checked",)
    suspicious = tuple(
        f"the exported folder scores otherwise on {check.different} of {check.items} "
        f"items of {check.task}"
        for check in checks
        if check.different > TOLERATED * check.items
    )
    return " ".join(_say(checks)), suspicious


def _check(
    folder: Path, config: RunConfig, known: Scores, progress: Progress | None
) -> Iterator[Check]:
    tasks = build_tasks(_ask_harness(config))
    asked = [t for t in tasks if t.evaluator.subject == "model" and not t.evaluator.at_once]
    if not asked:
        return
    settings = config.executor
    device = settings.device or find_device()
    model = load_folder(folder, device, settings.arithmetic, bits=settings.bits)
    by_harness = {t.name: isinstance(t.evaluator, LmEval) for t in asked}
    items = {t.name: t.items["test"][: None if by_harness[t.name] else FEW] for t in asked}
    if progress:
        progress.begin("check", sum(map(len, items.values())))
    for task in asked:
        chosen = items[task.name]
        scores = task.evaluator.evaluate(model, chosen)
        pairs = [(score, known[task.name][i.key]) for i, score in zip(chosen, scores, strict=True)]
        different = sum(abs(a - b) > TOLERANCE * max(1.0, abs(b)) for a, b in pairs)
        if progress:
            progress.advance(len(chosen))
        yield Check(task.name, by_harness[task.name], len(chosen), different)
    if progress:
        progress.end()


def _ask_harness(config: RunConfig) -> RunConfig:
    """Return a run whose tasks are scored by the harness, where it knows them."""
    silent = [task.model_dump(exclude={"scorer"}) for task in config.tasks]
    tasks = [TaskSettings.model_validate(task) for task in silent]
    return config.model_copy(update={"scorer": "harness", "tasks": tasks})


def _say(checks: Sequence[Check]) -> Iterator[str]:
    whose = {
        True: "lm-evaluation-harness itself, asked about the exported folder,",
        False: "The exported folder, loaded afresh by transformers,",
    }
    for by_harness, who in whose.items():
        chosen = [check for check in checks if check.by_harness is by_harness]
        items = sum(check.items for check in chosen)
        different = {check.task: check.different for check in chosen if check.different}
        if chosen and not different:
            yield f"{who} gives the same scores on all {items} test items it was asked."
        elif chosen:
            yield f"{who} differs on {_count(different)} of {items} test items it was asked."


def _count(different: Mapping[str, int]) -> str:
    return ", ".join(f"{count} ({task})" for task, count in different.items())
