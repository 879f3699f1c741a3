"""From a run file to the parts of a run: configuration ends here, flat arguments begin."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from evomerge.checkpoints.loading import find_device
from evomerge.config import RunConfig
from evomerge.engine import Models
from evomerge.errors import ConfigError, Problem
from evomerge.evaluation import EVALUATORS, SPLITS, Task, build_evaluator, keep_apart, read_items
from evomerge.executors import EXECUTORS, Executor
from evomerge.genome import ParameterSpace
from evomerge.recipe.fingerprint import hash_values
from evomerge.search import SEARCHERS, Searcher

WORK = "evomerge.evolve.candidate:make_work"


@dataclass(frozen=True)
class Setup:
    """What a worker needs to know; picklable."""

    config: RunConfig
    device: str
    threads: int


def needs_models(config: RunConfig) -> bool:
    """Tell whether any task looks at a model (not only at its recipe)."""
    return any(
        task.options.get("subject", EVALUATORS.get(task.evaluator).subject) == "model"
        for task in config.tasks
    )


def build_tasks(config: RunConfig) -> tuple[Task, ...]:
    """Read all items and make all evaluators.

    Raises:
        EvaluationError: items or options are unusable.
    """
    tasks = tuple(_build_task(config, index) for index in range(len(config.tasks)))
    everything = {split: [i for task in tasks for i in task.items[split]] for split in SPLITS}
    keep_apart("the tasks together", everything)
    return tasks


def build_genome(config: RunConfig, models: Models) -> ParameterSpace:
    """Make the genome; reads the models' headers."""
    genome = config.genome
    return ParameterSpace(
        genome.models,
        genome.merge_method,
        models.layout(genome.base_model or genome.models[0]),
        base_model=genome.base_model,
        layer_granularity=genome.layer_granularity,
        filters=genome.components,
        own_embeddings=genome.own_embeddings,
        allow_negative_weights=genome.allow_negative_weights,
        smooth=genome.smooth,
        ranges=genome.ranges,
        parameters=genome.fixed,
        dtype=genome.dtype,
        tokenizer_source=genome.tokenizer_source,
    )


def build_searcher(config: RunConfig, dimension: int) -> Searcher:
    """Make the searcher.

    Raises:
        ConfigError: an option has an impossible value.
    """
    settings = config.search
    make: Callable[..., Searcher] = SEARCHERS.get(settings.algorithm)
    try:
        return make(dimension, seed=config.seed, **settings.options)
    except (TypeError, ValueError, AssertionError) as error:
        raise ConfigError("run file", [Problem("search", str(error) or "bad option")]) from None


@contextmanager
def build_executor(config: RunConfig) -> Iterator[Executor]:
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
    with EXECUTORS.get(settings.name)(WORK, setup, workers=workers, threads=threads) as executor:
        yield executor


def _build_task(config: RunConfig, index: int) -> Task:
    settings = config.tasks[index]
    evaluator = build_evaluator(settings.evaluator, settings.options, settings.name)
    limits = {k: v for k, v in config.items.model_dump().items() if v is not None}
    items = read_items(settings.name, settings.data, seed=config.seed, limits=limits)
    for split in items.values():
        evaluator.check_items(settings.name, split)
    key = hash_values([settings.name, settings.evaluator, settings.options, evaluator.identity])
    return Task(settings.name, evaluator, items, settings.weight, key)
