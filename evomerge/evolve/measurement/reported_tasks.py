"""Tasks as they are reported on: by the harness' names, or as a run file has them."""

import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evomerge.config import RUN_WIDE, parse_config, shipped_configs
from evomerge.errors import ConfigError, EvaluationError, Problem
from evomerge.evaluation import EVALUATORS, Task, build_evaluator
from evomerge.evaluation.lm_eval_harness import LmEval
from evomerge.evaluation.task import items_of
from evomerge.evolve.tasks import build_tasks
from evomerge.recipe.yaml_document import SUFFIXES, read_yaml

logger = logging.getLogger(__name__)

HARNESS = "lm_eval"
REPORTED = "test"
"""The split under which a reported task's items stand."""

WHOLE = "whole"
"""The split under which all there are stand, drawn or not."""

STAND_IN = {"genome": {"models": ["first", "second"], "merge_method": "linear"}, "seed": 0}
"""What a file of tasks alone would evolve; nobody opens these."""


def find_tasks(
    names: Sequence[str],
    *,
    limit: int | None = None,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
) -> tuple[Task, ...]:
    """Build tasks and read what is reported on; it stands under 'test'.

    Of a task that lm-evaluation-harness knows these are all documents of the split that it
    reports on, in its order; of a task in a run file, the run's own test items.

    Args:
        names: of the harness' tasks and groups; or run files (names of shipped ones), whose tasks
            are meant.
        limit: most items of each task, drawn by seed (not the first ones); all if None.
        seed: of that draw.
        options: of lm_eval; in run files they stand for the run's own keys. What has no effect
            is told in a warning.

    Raises:
        EvoMergeException: a name is unknown, or a task cannot be used.
    """
    found = [task for name in dict.fromkeys(names) for task in _find(name, options or {})]
    seen: set[str] = set()
    for task in found:
        if task.name in seen:
            raise EvaluationError(f"task {task.name} is asked for twice", "Leave one of them out")
        seen.add(task.name)
    for warning in _find_idle(found, options or {}):
        logger.warning(warning)
    return tuple(_draw(task, limit, seed) for task in found)


def _find(name: str, options: Mapping[str, Any]) -> Iterator[Task]:
    file = shipped_configs().get(name, Path(name))
    if file.suffix.lower() in SUFFIXES:
        yield from _read_tasks(file, options)
        return
    options = {"metric": None, **options}
    for part, share in EVALUATORS.get(HARNESS).parts(name, options).items():
        own = options if part == name else {**options, "group": name}
        evaluator = build_evaluator(HARNESS, own, part)
        assert isinstance(evaluator, LmEval)
        items = items_of(part, evaluator.reported())
        yield Task(part, evaluator, {REPORTED: items}, share, part)


def _read_tasks(file: Path, options: Mapping[str, Any]) -> tuple[Task, ...]:
    try:
        document = read_yaml(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(str(file), [Problem("", f"cannot be read: {reason}")]) from None
    if isinstance(document, dict):
        document = {**STAND_IN, **document}
    config = parse_config(document, str(file), folder=file.parent)
    said = {name: value for name, value in options.items() if name in RUN_WIDE}
    told = {name: value for name, value in options.items() if name not in RUN_WIDE}
    entries = [
        entry.model_copy(update={**told, **entry.options}) if entry.evaluator == HARNESS else entry
        for entry in config.tasks
    ]
    said |= {"tasks": entries, "i_know_this_is_the_test_set": True}
    tasks = build_tasks(config.model_copy(update=said))
    for task in tasks:
        if task.evaluator.undeclared:
            raise EvaluationError(
                f"task {task.name}: what its function returns is not known before it is asked",
                "Declare `items: NUMBER`, or `metrics: [NAME]` where it returns a mapping",
            )
    return tasks


def _find_idle(tasks: Sequence[Task], options: Mapping[str, Any]) -> Iterator[str]:
    """Yield one line on each option that changes nothing."""
    known = [task.evaluator for task in tasks if isinstance(task.evaluator, LmEval)]
    if not known and options:
        yield f"{', '.join(options)}: without effect, no task here is lm-evaluation-harness'"
        return
    if "batch_size" in options and all(each.scorer == "own" for each in known):
        yield "batch_size: without effect on the own scorer, which batches by length"
    shots = options.get("num_fewshot")
    own = [each.name for each in known if each.description["num_fewshot"] != shots]
    if shots is not None and own:
        names = ", ".join(own)
        yield f"num_fewshot: {shots} without effect on {names}: run file or YAML say otherwise"


def _draw(task: Task, limit: int | None, seed: int) -> Task:
    """Keep the items reported on; where there are too many, a sample of them, in their order."""
    items = task.items[REPORTED]
    if limit is not None and limit < len(items):
        rng = random.Random(f"{seed} {task.name}")
        items = tuple(items[place] for place in sorted(rng.sample(range(len(items)), limit)))
    return replace(task, items={REPORTED: items, WHOLE: task.items[REPORTED]})
