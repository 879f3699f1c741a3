"""The elites of an archive as one model, their average, as CycleQD ends (Kuroki et al., 2024).

https://arxiv.org/abs/2410.14735
"""

from collections.abc import Sequence
from pathlib import Path

from evomerge.checkpoints.writer import check_target
from evomerge.config import RunConfig
from evomerge.errors import StoreError
from evomerge.evolve.delivery import refuse_changed
from evomerge.evolve.finish import write_merge
from evomerge.recipe import is_path, parse_recipe
from evomerge.recipe.aggregate import aggregate
from evomerge.store import CandidateRow, RunRow
from evomerge.types import Progress

FOLDER = "aggregate"


def average(
    run: RunRow,
    elites: Sequence[CandidateRow],
    out: Path,
    *,
    weighted: bool = False,
    replace: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write the average of elites to a folder in `out`, and return it.

    Args:
        run: whose elites they are.
        elites: at least one, each with its score.
        out: where the folder goes.
        weighted: whether each counts in proportion to its score (from the least of them, where that
            is below zero), not all alike.
        replace: whether an existing folder is replaced.
        progress: told of every tensor.

    Raises:
        OutputError: the folder exists already.
        StoreError: some of them are paths, which have no average; or a model was changed since.
        RecipeError: they are of different shapes.
    """
    recipes = [parse_recipe(dict(row.recipe))[0] for row in elites]
    if any(map(is_path, recipes)):
        raise StoreError(
            "some of them are paths through layers: these have no average",
            "Export them one by one, without --aggregate",
        )
    check_target(out / FOLDER, replace=replace)
    refuse_changed(run)
    scores = [row.objective or 0.0 for row in elites]
    weights = [score - min(0.0, *scores) for score in scores] if weighted else None
    names = ", ".join(row.label for row in elites)
    how = "in proportion to their scores" if weighted else "in equal parts"
    folder, _ = write_merge(
        aggregate(recipes, weights),
        out / FOLDER,
        RunConfig.model_validate(run.config),
        told=f"The average, {how}, of candidates of the evomerge run `{run.name}`: {names}. "
        "It was not measured itself.",
        replace=replace,
        progress=progress,
    )
    return folder
