"""Before a run starts: find everything that is wrong, and write nothing."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from evomerge.checkpoints.loading import check_bits, find_device
from evomerge.config import GenomeSettings, RunConfig, apply_effort, name_goals
from evomerge.config.check_archive import check_archive
from evomerge.config.goals import check_goals
from evomerge.engine import Models, Plan, make_plan
from evomerge.engine.compact import plan_compact
from evomerge.engine.tensor import find_nonfinite, nonfinite_error
from evomerge.errors import ConfigError, Problem, StoreError
from evomerge.evaluation import SPLITS, Task
from evomerge.evolve.baselines import find_baselines
from evomerge.evolve.best_config import BEST_CONFIG
from evomerge.evolve.build import build_searcher, is_compact_form, judges_models
from evomerge.evolve.context import check_context, read_context
from evomerge.evolve.encodings import Encoding
from evomerge.evolve.finish import BEST
from evomerge.evolve.forecast import describe_items
from evomerge.evolve.phases import Phase, plan_phases
from evomerge.evolve.racing import find_race, settle_racing
from evomerge.evolve.tasks import build_tasks
from evomerge.evolve.trials import Trial
from evomerge.recipe import Recipe, find_hops, is_path
from evomerge.store import FILE, open_store

RUN_FILE = "config.yml"
"""The run file as it was meant, in the run's folder."""
DRAWS = 64
"""Paths drawn to see how long they are."""


@dataclass(frozen=True)
class Rehearsal:
    """What is known of a search before it begins.

    Attributes:
        genes: most that a phase has.
        recipes: with which its phases begin, and the longest of some paths that they may draw.
        stretch: how many times the layers of the path's first model a candidate runs through, on
            average; 1 where no paths are searched.
    """

    genes: int
    recipes: tuple[Recipe, ...]
    stretch: float


@dataclass(frozen=True)
class Preparation:
    """What was opened and checked before the run starts.

    Attributes:
        models: all that the run file names.
        tasks: with their items.
        phases: of the search.
        rehearsal: what is known of the search.
        parents: every model as it is.
        defaults: what people merge these models by without searching.
        judges_models: whether a task looks at merges themselves, not only at their recipes.
        model_bytes: size of the largest merge, as far as can be known.
        live_bytes: size of what a worker holds in memory.
    """

    models: Models
    tasks: tuple[Task, ...]
    phases: tuple[Phase, ...]
    rehearsal: Rehearsal
    parents: tuple[Trial, ...]
    defaults: tuple[Trial, ...]
    judges_models: bool
    model_bytes: int
    live_bytes: int


def prepare(config: RunConfig, folder: Path | None, *, begun: bool = False) -> Preparation:
    """Find everything that is wrong before anything is written.

    Args:
        config: the run file.
        folder: where the run will be; None where it is only checked.
        begun: it is taken up again there.

    Raises:
        EvoMergeException: bad input, a run of that name exists already, or its folder is not free.
    """
    if folder and not begun:
        _refuse_losses(config.name, folder)
    if config.executor.bits:
        check_bits(config.executor.bits, config.executor.device or find_device())
    models = Models()
    tasks = build_tasks(config)
    weights = {task.name: task.weight for task in tasks}
    if problems := [*check_goals(config, weights), *check_archive(config, weights)]:
        raise ConfigError("run file", problems)
    phases = plan_phases(config, models)
    rehearsal = _rehearse(config, phases, begins=folder is not None)
    parents, defaults = find_baselines(config.genome, models)
    plans = [make_plan(trial.recipe, models, seed=config.seed) for trial in (*parents, *defaults)]
    plans += [_plan(recipe, config.genome, models) for recipe in rehearsal.recipes]
    _refuse_twins(config, models)
    for name in config.genome.models:
        check_context(tasks, name, read_context(models[name].config))
    judging = judges_models(config)
    if judging and not begun:
        _refuse_nonfinite(models, config.genome)
    sizes = [sum(shape.bytes for shape in plan.shapes) for plan in plans]
    live = _count_live_bytes(config.genome, sizes[: len(parents)])
    return Preparation(
        models, tasks, phases, rehearsal, parents, defaults, judging, max(sizes), live
    )


def _count_live_bytes(genome: GenomeSettings, parents: Sequence[int]) -> int:
    """Return what a worker holds: one model, or all that lend layers, and merges beside them.

    Args:
        genome: settings.
        parents: sizes of the base, if there is one, and of all models.
    """
    if not genome.has_paths:
        return parents[0]
    return sum(parents[-len(genome.models) :]) + 2 * parents[0] * genome.merges


def _rehearse(config: RunConfig, phases: Sequence[Phase], *, begins: bool) -> Rehearsal:
    """Make every phase's genome and searcher, as if each ended where it begins.

    Args:
        config: the run file.
        phases: of the search.
        begins: the search is about to begin, so that what it relies on should be there.
    """
    genes, starts, longest, stretches = 0, list[Recipe](), list[Recipe](), list[float]()
    for number, phase in enumerate(phases):
        before = None if phase.after is None else starts[phase.after]
        genome = phase.make(before)
        searcher = build_searcher(config, genome.space, number, refines=phase.refines)
        if number == 0 and begins:
            searcher.probe()
        starts.append(genome.decode(genome.space.start()))
        genes = max(genes, len(genome.space))
        stretch = 1.0
        if phase.after is not None and is_path(starts[phase.after]):
            stretch = stretches[phase.after]  # only its scales change
        elif is_path(starts[number]):
            paths = sorted(_draw(genome), key=_count_layers)
            depth = find_hops(starts[number])[-1].layer + 1  # it ends where the first model does
            stretch = fmean(map(_count_layers, paths)) / depth
            longest.append(paths[-1])
        stretches.append(stretch)
    mean = sum(float(phase.share) * s for phase, s in zip(phases, stretches, strict=True))
    return Rehearsal(genes, (*starts, *longest), mean)


def _draw(genome: Encoding) -> list[Recipe]:
    """Return some recipes as a search draws them first."""
    rng, genes = np.random.default_rng(0), len(genome.space)
    return [genome.decode(genome.space.quantile(rng.random(genes))) for _ in range(DRAWS)]


def _count_layers(path: Recipe) -> int:
    return len(find_hops(path))


def _plan(recipe: Recipe, genome: GenomeSettings, models: Models) -> Plan:
    """Plan what may win, in the form in which it would be written."""
    plan = plan_compact if is_compact_form(recipe, genome) else make_plan
    return plan(recipe, models)


def _refuse_twins(config: RunConfig, models: Models) -> None:
    folders: dict[Path, str] = {}
    for name in config.genome.models:
        other = folders.setdefault(models[name].folder.resolve(), name)
        if other != name:
            message = f"{other} and {name} are the same model"
            raise ConfigError("run file", [Problem("genome.models", message)])


def _refuse_losses(name: str, folder: Path) -> None:
    """Raise a StoreError where a run that begins in `folder` would replace what is there."""
    there = [each for each in (RUN_FILE, BEST_CONFIG, BEST) if os.path.lexists(folder / each)]
    if not (folder / FILE).exists():
        if there:
            told = f"{folder} holds {', '.join(there)}, which a run would replace"
            raise StoreError(told, "Name another folder, or move them away")
    elif not _forget_false_start(folder):
        called = name if folder.parent == Path("runs") else folder
        raise StoreError(
            f"the run {name!r} exists already in {folder.parent}",
            f"Go on with `evomerge resume {called}`, or give the new run another name or folder",
        )


def _forget_false_start(folder: Path) -> bool:
    """Tell whether a run may begin in `folder`; a store that holds no candidate yet is removed."""
    with open_store(folder, write=True) as store:
        run = store.run()
        if store.candidates("search") or (run and run.state != "failed"):
            return False
        for suffix in ("", "-wal", "-shm"):
            (folder / f"{FILE}{suffix}").unlink(missing_ok=True)
        for left in (RUN_FILE, BEST_CONFIG):
            (folder / left).unlink(missing_ok=True)
    return True


def _refuse_nonfinite(models: Models, genome: GenomeSettings) -> None:
    for reference in dict.fromkeys(filter(None, [genome.base_model, *genome.models])):
        if found := find_nonfinite(models[reference]):
            raise nonfinite_error(reference, *found)


def check_run(config: RunConfig) -> dict[str, Any]:
    """Find everything that is wrong with a run, without starting it; return what it would be."""
    config = apply_effort(config)
    preparation = prepare(config, None)
    race = find_race(settle_racing(config, preparation.tasks))
    items = {split: sum(len(t.items[split]) for t in preparation.tasks) for split in SPLITS}
    names = [phase.name for phase in preparation.phases]
    goals = name_goals(config, {task.name: task.weight for task in preparation.tasks})
    return {
        **({"phases": ", ".join(names)} if len(names) > 1 else {}),
        "genes": preparation.rehearsal.genes,
        "candidates": config.search.evaluations,
        "tasks": len(config.tasks),
        **({"goals": ", ".join(goals)} if goals else {}),
        **{f"{split} items": count for split, count in items.items()},
        "racing": f"from {race.first} items" if race else "no",
        "notes": list(describe_items(preparation.tasks)),
    }
