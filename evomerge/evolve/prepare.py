"""Before a run starts: find everything that is wrong, and write nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evomerge.config import RunConfig, apply_effort
from evomerge.engine import Models, make_plan
from evomerge.engine.tensor import find_nonfinite, nonfinite_error
from evomerge.errors import ConfigError, Problem, StoreError
from evomerge.evaluation import SPLITS, Task
from evomerge.evolve.baselines import default_trials, parent_trials
from evomerge.evolve.build import build_genome, build_searcher, judges_models
from evomerge.evolve.forecast import describe_items
from evomerge.evolve.racing import find_race, settle_racing
from evomerge.evolve.tasks import build_tasks
from evomerge.genome import ParameterSpace
from evomerge.store import FILE, open_store


@dataclass(frozen=True)
class Preparation:
    """What was opened and checked before the run starts.

    Attributes:
        models: all that the run file names.
        tasks: with their items.
        genome: of the search.
        judges_models: whether a task looks at merges themselves, not only at their recipes.
        model_bytes: size of one merge.
    """

    models: Models
    tasks: tuple[Task, ...]
    genome: ParameterSpace
    judges_models: bool
    model_bytes: int


def prepare(config: RunConfig, folder: Path | None, *, begun: bool = False) -> Preparation:
    """Find everything that is wrong before anything is written.

    Args:
        config: the run file.
        folder: where the run will be; None where it is only checked.
        begun: it is taken up again there.

    Raises:
        EvoMergeException: bad input, or a run of that name exists already.
    """
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
    _refuse_twins(config, models)
    judging = judges_models(config)
    if judging and not begun:
        _refuse_nonfinite(models, plans[-1].recipe.models)
    size = sum(shape.bytes for shape in plans[0].shapes)
    return Preparation(models, tasks, genome, judging, size)


def _refuse_twins(config: RunConfig, models: Models) -> None:
    folders: dict[Path, str] = {}
    for name in config.genome.models:
        other = folders.setdefault(models[name].folder.resolve(), name)
        if other != name:
            message = f"{other} and {name} are the same model"
            raise ConfigError("run file", [Problem("genome.models", message)])


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
    for reference in references:
        if found := find_nonfinite(models[reference]):
            raise nonfinite_error(reference, *found)


def check_run(config: RunConfig) -> dict[str, Any]:
    """Find everything that is wrong with a run, without starting it; return what it would be."""
    config = apply_effort(config)
    preparation = prepare(config, None)
    race = find_race(settle_racing(config, preparation.tasks))
    items = {split: sum(len(t.items[split]) for t in preparation.tasks) for split in SPLITS}
    return {
        "genes": len(preparation.genome.space),
        "candidates": config.search.evaluations,
        "tasks": len(config.tasks),
        **{f"{split} items": count for split, count in items.items()},
        "racing": f"from {race.first} items" if race else "no",
        "notes": list(describe_items(preparation.tasks)),
    }
