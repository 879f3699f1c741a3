"""From a run file to the parts of a run: configuration ends here, flat arguments begin."""

import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evomerge.checkpoints.loading import find_device
from evomerge.config import GenomeSettings, RunConfig
from evomerge.engine import Models
from evomerge.errors import ConfigError, Problem
from evomerge.evaluation import EVALUATORS
from evomerge.evolve.encodings import Encoding
from evomerge.evolve.local_language_model import LocalLanguageModel
from evomerge.evolve.phases import plan_phases
from evomerge.evolve.tasks import build_tasks
from evomerge.executors import EXECUTORS, Executor
from evomerge.recipe import Recipe, is_path
from evomerge.search import SEARCHERS, Searcher
from evomerge.space import SearchSpace

__all__ = ["Setup", "build_executor", "build_genome", "build_searcher", "build_tasks"]

WORK = "evomerge.evolve.candidate:make_work"
FINER = 0.5
"""Step size of a phase that refines another, to that of a first one."""
STEPS = ("sigma", "sigma_low", "sigma_high", "mutation_rate")
"""Options of searchers that say how far they step."""


@dataclass(frozen=True)
class Setup:
    """What a worker needs to know; picklable."""

    config: RunConfig
    device: str
    threads: int


def needs_models(config: RunConfig) -> bool:
    """Tell whether any task asks a live model (not only its recipe, or a folder)."""
    return "model" in _subjects(config)


def judges_models(config: RunConfig) -> bool:
    """Tell whether any task looks at a merge, live or in a folder (not only at its recipe)."""
    return bool(_subjects(config) - {"recipe"})


def is_compact_form(recipe: Recipe, genome: GenomeSettings) -> bool:
    """Tell whether a merge is written in the compact form, to be judged and in the end."""
    return is_path(recipe) and not genome.exportable


def build_genome(config: RunConfig, models: Models) -> Encoding:
    """Make the genome with which the search begins; reads the models' headers."""
    return plan_phases(config, models)[0].make(None)


def build_searcher(
    config: RunConfig,
    space: SearchSpace,
    phase: int = 0,
    folder: Path | None = None,
    *,
    refines: bool = False,
) -> Searcher:
    """Make the searcher.

    Args:
        config: the run file.
        space: what is searched.
        phase: number of the part of the search, each of which has draws of its own.
        folder: of the run, for searchers that keep a log; None where nothing is searched.
        refines: it begins at the winner of the phase before, and with smaller steps.

    Raises:
        ConfigError: an option has an impossible value.
    """
    settings = config.search
    make: Callable[..., Searcher] = SEARCHERS.get(settings.algorithm)
    options = settings.options
    if refines:
        options = _narrow(options, inspect.signature(make).parameters)
    elif config.random_init and "mean" in inspect.signature(make).parameters:
        options = {"mean": "random"} | options
    if config.genome.start is not None and "warm_start" in inspect.signature(make).parameters:
        options = {"warm_start": True} | options  # the start itself is tried, too
    if folder and "log" in inspect.signature(make).parameters:
        options = {"log": folder / f"exchanges-{phase}.jsonl"} | options
    asks = "ask" in inspect.signature(make).parameters and not options.get("replay")
    if asks and options.get("backend") == "local":
        options = {"ask": _open_local_model(options)} | options
    try:
        return make(space, seed=config.seed + phase, **options)
    except (TypeError, ValueError, AssertionError) as error:
        raise ConfigError("run file", [Problem("search", str(error) or "bad option")]) from None


def _narrow(options: Mapping[str, Any], known: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """Return options for a search around a point that its space knows: no mean, half the step."""
    kept = {name: value for name, value in options.items() if name != "mean"}
    for name in STEPS:
        if name in known and (step := kept.get(name, known[name].default)):
            kept[name] = step * FINER  # a searcher may do without: None
    return kept


def _open_local_model(options: Mapping[str, Any]) -> LocalLanguageModel:
    """Return the model that a searcher asks for advice.

    Raises:
        ConfigError: none is named.
        CheckpointError: there is no such model.
    """
    if not options.get("model"):
        told = "field required: the local backend asks a model of this machine"
        raise ConfigError("run file", [Problem("search.model", told)])
    return LocalLanguageModel(options["model"], options.get("max_tokens"))


@contextmanager
def build_executor(config: RunConfig, work: str = WORK) -> Iterator[Executor]:
    """Make the executor: by default one single-threaded worker per core, or one per GPU."""
    settings = config.executor
    device = settings.device or (find_device() if needs_models(config) else "cpu")
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    workers = settings.workers or (cores if device == "cpu" else 1)
    if settings.name == "local":
        workers = 1
    threads = settings.threads or max(1, cores // workers)
    setup = Setup(config, device, threads)
    limits: dict[str, Any] = {} if settings.timeout is None else {"timeout": settings.timeout}
    make = EXECUTORS.get(settings.name)
    with make(work, setup, workers=workers, threads=threads, **limits) as executor:
        yield executor


def _subjects(config: RunConfig) -> set[str]:
    return {EVALUATORS.get(task.evaluator).looks_at(task.options) for task in config.tasks}
