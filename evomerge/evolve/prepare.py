"""Before a run starts: find everything that is wrong, and write nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evomerge.checkpoints.locate import ZOO
from evomerge.config import RunConfig
from evomerge.engine import Models, make_plan
from evomerge.engine.tensor import Workbench, find_nonfinite, nonfinite_error
from evomerge.errors import StoreError
from evomerge.evaluation import SPLITS, Task
from evomerge.evolve.build import build_genome, build_searcher, build_tasks, needs_models
from evomerge.evolve.rivals import default_trials, parent_trials
from evomerge.genome import ParameterSpace
from evomerge.store import FILE, open_store


@dataclass(frozen=True)
class Preparation:
    """What was opened and checked before the run starts."""

    models: Models
    tasks: tuple[Task, ...]
    genome: ParameterSpace
    judges_models: bool
    model_bytes: int


def prepare(config: RunConfig, folder: Path | None, *, begun: bool = False) -> Preparation:
    """Find everything that is wrong before anything is written."""
    if folder and not begun and not _forget_false_start(folder):
        raise StoreError(
            f"the run {config.name!r} exists already in {folder.parent}",
            f"Go on with `evomerge resume {config.name}`, or start another with --name",
        )
    models = Models()
    tasks = build_tasks(config)
    genome = build_genome(config, models)
    build_searcher(config, len(genome.space))
    trials = [*parent_trials(config.genome), *default_trials(config.genome)]
    plans = [make_plan(trial.recipe, models, seed=config.seed) for trial in trials]
    make_plan(genome.decode(genome.space.middle()), models)
    judges_models = needs_models(config)
    if judges_models and not begun:
        _refuse_nonfinite(models, plans[-1].recipe.models)
    size = sum(shape.bytes for shape in plans[0].shapes)
    return Preparation(models, tasks, genome, judges_models, size)


def _forget_false_start(folder: Path) -> bool:
    """Tell whether a run may begin in `folder`; a store that holds no candidate yet is removed."""
    if not (folder / FILE).exists():
        return True
    with open_store(folder, write=True) as store:
        run = store.run()
        if store.candidates("search") or (run and run.state != "failed"):
            return False
        for suffix in ("", "-wal", "-shm"):
            (folder / f"{FILE}{suffix}").unlink(missing_ok=True)
    return True


def _refuse_nonfinite(models: Models, references: tuple[str, ...]) -> None:
    bench = Workbench()
    for reference in references:
        if found := find_nonfinite(models[reference], bench):
            raise nonfinite_error(reference, *found)


def check_run(config: RunConfig) -> dict[str, Any]:
    """Find everything that is wrong with a run, without starting it; return what it would be."""
    preparation = prepare(config, None)
    items = {split: sum(len(t.items[split]) for t in preparation.tasks) for split in SPLITS}
    return {
        "genes": len(preparation.genome.space),
        "candidates": config.search.evaluations,
        "tasks": len(config.tasks),
        **{f"{split} items": count for split, count in items.items()},
    }


def refuse_changes(known: Any, models: Models, config: RunConfig) -> None:
    """Check that no model was touched since the run began.

    Args:
        known: reference -> {fingerprint, stamp}, as recorded when it began.
        models: open models.
        config: of the run.

    Raises:
        StoreError: naming the model.
    """
    for name, recorded in known.items():
        checkpoint = models[name]
        same = checkpoint.fingerprint == recorded["fingerprint"]
        if same and not name.startswith(ZOO):
            same = checkpoint.stamp() == recorded["stamp"]
        if not same:
            raise StoreError(
                f"{name} was changed since the run {config.name!r} began",
                "Put the old files back, or start a new run with --name",
            )
