"""From a run file's tasks to items and the evaluators that score them."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evomerge.config import RUN_WIDE, RunConfig, TaskSettings
from evomerge.errors import EvaluationError
from evomerge.evaluation import (
    EVALUATORS,
    SPLITS,
    Evaluator,
    Task,
    build_evaluator,
    keep_apart,
    read_items,
    share_out,
)
from evomerge.recipe.fingerprint import hash_values
from evomerge.records import Item

WITHOUT_EFFECT = {"task_search_path", "batch_size"}
"""Options on which no score depends."""


def build_tasks(config: RunConfig) -> tuple[Task, ...]:
    """Read all items and make all evaluators.

    Raises:
        EvaluationError: items or options are unusable, or a search on them would mean nothing.
    """
    meant = [(settings, parts(config, settings)) for settings in config.tasks]
    tasks = tuple(
        _build_task(config, settings, part, share)
        for settings, shares in meant  # all names are known before the first data are read
        for part, share in shares.items()
    )
    names = [task.name for task in tasks]
    if twins := [name for name in names if names.count(name) > 1]:
        raise EvaluationError(
            f"two tasks are called {twins[0]}", "Name a group's member once, or one of them anew"
        )
    everything = {split: [i for task in tasks for i in task.items[split]] for split in SPLITS}
    keep_apart("the tasks together", everything)
    return tasks


def parts(config: RunConfig, settings: TaskSettings) -> Mapping[str, float]:
    """Return the tasks that an entry of the run file stands for, with their shares."""
    kind = EVALUATORS.get(settings.evaluator)
    return kind.parts(settings.name, task_options(config, settings))


def task_options(config: RunConfig, settings: TaskSettings, part: str = "") -> dict[str, Any]:
    """Return an evaluator's options: the task's own, and the run's where the task is silent.

    Args:
        config: the run.
        settings: the entry of the run file.
        part: which of the tasks that the entry stands for; itself, if absent.
    """
    known = inspect.signature(EVALUATORS.get(settings.evaluator)).parameters
    run = {name: getattr(config, name) for name in RUN_WIDE if name in known}
    options = {name: value for name, value in run.items() if value not in (None, [])}
    options |= settings.options
    if part and part != settings.name and "group" in known:
        options["group"] = options.pop("task", settings.name)
    return options


def _build_task(config: RunConfig, settings: TaskSettings, name: str, share: float) -> Task:
    options = task_options(config, settings, name)
    evaluator = build_evaluator(settings.evaluator, options, name)
    mark = _refuse_published(evaluator, name, allowed=config.i_know_this_is_the_test_set)
    limits = _find_limits(config)
    items, divided = _read_items(config, settings, name, evaluator, limits)
    for split in items.values():
        evaluator.check_items(name, split)
    telling = {key: value for key, value in options.items() if key not in WITHOUT_EFFECT}
    return Task(
        name,
        evaluator,
        items,
        abs(settings.weight * share),
        hash_values([name, settings.evaluator, telling, evaluator.identity]),
        minimise=settings.weight < 0 and evaluator.higher_is_better,
        divided=divided,
        mark=mark,
        limits=limits,
    )


def _refuse_published(evaluator: Evaluator, name: str, *, allowed: bool) -> str:
    """Return what the verdict must say of a task that is searched on its test split."""
    if evaluator.published and not allowed:
        raise EvaluationError(
            f"task {name}: all its items are the public test set of {evaluator.published}; what is "
            "searched on it can no longer be measured with it",
            "Take a task with a validation or a train split, or items of your own; if you must: "
            "--i-know-this-is-the-test-set",
        )
    if evaluator.published:
        return f"{name} was searched on items of a public test set ({evaluator.published})"
    if allowed and evaluator.search_split == "test":
        return f"{name} was searched on items of its test split"
    return ""


def _find_limits(config: RunConfig) -> dict[str, int]:
    """Return split -> most items of a task, where the run file says a number."""
    stated = {split: getattr(config.items, split) for split in SPLITS}
    stated["search"] = stated["search"] or config.limit
    return {split: limit for split, limit in stated.items() if limit}


def _read_items(
    config: RunConfig,
    settings: TaskSettings,
    name: str,
    evaluator: Evaluator,
    limits: Mapping[str, int],
) -> tuple[dict[str, tuple[Item, ...]], bool]:
    """Return items by split, and whether they were divided here."""
    own = evaluator.documents()
    if own is not None:
        if settings.data is not None:
            raise EvaluationError(f"task {name}: it has items of its own", "Leave `data` out")
        return share_out(name, own, seed=config.seed, limits=limits), None in own
    if settings.data is None:
        raise EvaluationError(f"task {name}: it has no items", "Say where they are with `data`")
    items = read_items(name, settings.data, seed=config.seed, limits=limits)
    named = isinstance(settings.data, Mapping) or all("split" in i.fields for i in _all(items))
    return items, not named


def _all(items: Mapping[str, Sequence[Item]]) -> Iterator[Item]:
    for split in items.values():
        yield from split
