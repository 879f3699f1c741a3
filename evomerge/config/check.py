"""What is wrong with a run file beyond its shape: names, options, settings that do not fit."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from evomerge.config.check_archive import check_archive
from evomerge.config.check_space import check_space
from evomerge.config.goals import check_goals
from evomerge.config.settings import RUN_WIDE, GenomeSettings, RunConfig, TaskSettings
from evomerge.errors import Problem, UnknownName
from evomerge.evaluation import EVALUATORS, Evaluator
from evomerge.executors import EXECUTORS
from evomerge.genome.sought import check_ranges
from evomerge.methods import METHODS
from evomerge.registry import Registry, suggest
from evomerge.search import SEARCHERS

STARTLESS = ("random", "grid")
"""Searchers that look everywhere alike, wherever they are told to begin."""


def find_problems(config: RunConfig) -> Iterator[Problem]:
    """Find everything that is wrong."""
    yield from check_space(config.genome)
    if config.genome.merges:
        yield from _check_merge(config.genome)
    names = [task.name for task in config.tasks]
    for index, task in enumerate(config.tasks):
        path = f"tasks[{index}]"
        if names.index(task.name) != index:
            yield Problem(f"{path}.name", f"two tasks are called {task.name!r}")
        yield from _check_task(task, path)
    yield from check_goals(config, _find_weights(config))
    yield from _check_unread(config)
    yield from _check_name(SEARCHERS, config.search.algorithm, "search.algorithm")
    if config.search.algorithm in SEARCHERS.names():
        yield from _check_search(config)
        yield from check_archive(config, _find_weights(config))
    yield from _check_name(EXECUTORS, config.executor.name, "executor.name")
    if config.executor.name in EXECUTORS.names() and config.executor.timeout is not None:
        yield from _check_timeout(config.executor.name)


def _find_weights(config: RunConfig) -> Mapping[str, float] | None:
    """Return the weights of the tasks; None where a name may stand for several tasks."""
    kinds = [task.evaluator for task in config.tasks if task.evaluator in EVALUATORS.names()]
    plain = Evaluator.parts.__func__  # type: ignore[attr-defined]  # a class method's own function
    if any(EVALUATORS.get(k).parts.__func__ is not plain for k in kinds):  # type: ignore[attr-defined]  # likewise
        return None
    return {task.name: task.weight for task in config.tasks}


def _check_merge(genome: GenomeSettings) -> Iterator[Problem]:
    if genome.merge_method is None:
        yield Problem("genome.merge_method", "field required")
        return
    yield from _check_name(METHODS, genome.merge_method, "genome.merge_method")
    if genome.merge_method not in METHODS.names():
        return
    spec = METHODS.get(genome.merge_method)
    parents = [m for m in genome.models if spec.base == "none" or m != genome.base_model]
    if spec.base == "required" and not genome.base_model:
        yield Problem("genome.base_model", f"{spec.name} needs a base model")
    if all(model == genome.base_model for model in genome.models):
        yield Problem("genome.models", "there is no model besides the base")
    if len(parents) < spec.min_models or (spec.max_models and len(parents) > spec.max_models):
        most = spec.max_models or "any number"
        yield Problem(
            "genome.models", f"{spec.name} takes {spec.min_models} to {most}, besides a base"
        )
    for name, value in genome.parameters.items():
        if name not in spec.parameters:
            hint = suggest(name, sorted(spec.parameters))
            yield Problem(f"genome.parameters.{name}", f"{spec.name} has no such parameter{hint}")
        elif message := spec.parameters[name].complain(value):
            yield Problem(f"genome.parameters.{name}", message)
    if genome.normalize is not None and "normalize" not in spec.parameters:
        yield Problem("genome.normalize", f"{spec.name} does not normalize")
    yield from check_ranges(spec, genome.ranges, genome.fixed)


def _check_task(task: TaskSettings, path: str) -> Iterator[Problem]:
    yield from _check_name(EVALUATORS, task.evaluator, f"{path}.evaluator")
    if task.evaluator in EVALUATORS.names():
        kind = EVALUATORS.get(task.evaluator)
        named = {"task": task.name} if "task" in inspect.signature(kind).parameters else {}
        yield from _check_options(kind, named | task.options, path)
        if task.data is None and kind.documents is Evaluator.documents:
            yield Problem(f"{path}.data", "field required")


def _check_search(config: RunConfig) -> Iterator[Problem]:
    name = config.search.algorithm
    searcher = SEARCHERS.get(name)
    taken = ("space", "seed", "ask")
    yield from _check_options(searcher, config.search.options, "search", taken=taken)
    if config.genome.start is not None:
        said = ["search.mean"] * ("mean" in config.search.options)
        for key in said + ["random_init"] * config.random_init:
            yield Problem(key, "the search begins at `genome.start`; leave one of them out")
    if config.genome.refine and name in STARTLESS:
        told = f"{name} cannot begin at the winner of the groups before: leave it out, or take cma"
        yield Problem("genome.refine", told)
    if config.random_init and "mean" not in inspect.signature(searcher).parameters:
        yield Problem("random_init", f"{name} has no starting point that could be drawn")


def _check_unread(config: RunConfig) -> Iterator[Problem]:
    """Find what is said and would be heard by nobody."""
    if config.shuffle:
        yield Problem("shuffle", "items are always drawn by seed; leave it out")
    if any(task.evaluator not in EVALUATORS.names() for task in config.tasks):
        return
    kinds = [EVALUATORS.get(task.evaluator) for task in config.tasks]
    known = {name for kind in kinds for name in inspect.signature(kind).parameters}
    for name in RUN_WIDE:
        silent = RunConfig.model_fields[name].get_default(call_default_factory=True)
        if getattr(config, name) != silent and name not in known:
            yield Problem(name, "no task of this run has such an option")


def _check_name(registry: Registry[Any], name: str, path: str) -> Iterator[Problem]:
    try:
        registry.get(name)
    except UnknownName as error:
        yield Problem(path, str(error))


def _check_timeout(name: str) -> Iterator[Problem]:
    if not EXECUTORS.get(name).ends_hanging:
        able = [n for n in EXECUTORS.names() if EXECUTORS.get(n).ends_hanging]
        message = f"{name} cannot end a judge that hangs; only {', '.join(able)} can"
        yield Problem("executor.timeout", message)


def _check_options(
    factory: Callable[..., Any], options: Mapping[str, Any], path: str, taken: tuple[str, ...] = ()
) -> Iterator[Problem]:
    parameters = inspect.signature(factory).parameters
    hints = get_type_hints(factory.__init__ if inspect.isclass(factory) else factory)
    known = [name for name in parameters if name not in taken]
    for option, value in options.items():
        if option not in known:
            hint = suggest(option, known) or f"; known: {', '.join(known) or 'none'}"
            yield Problem(f"{path}.{option}", f"unknown key {option!r}{hint}")
        elif message := _check_value(hints.get(option, Any), value):
            yield Problem(f"{path}.{option}", message)
    required = [n for n in known if parameters[n].default is inspect.Parameter.empty]
    for name in required:
        if name not in options:
            yield Problem(f"{path}.{name}", "field required")


def _check_value(hint: Any, value: Any) -> str:
    """Say what is wrong with an option, by its annotation; empty when nothing is."""
    try:
        TypeAdapter(hint).validate_python(value, strict=True)
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        return f"{message[0].lower()}{message[1:]}, not {value!r}"
    return ""
