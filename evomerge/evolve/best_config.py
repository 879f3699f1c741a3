"""The best merge known so far, on disk at any time: a recipe that mergekit reads, too."""

import os
from collections.abc import Sequence
from pathlib import Path

from evomerge.checkpoints.writer import write_text
from evomerge.errors import StoreError
from evomerge.evolve.trials import Trial
from evomerge.recipe import Recipe, name_bases, write_yaml
from evomerge.records import Evaluated

BEST_CONFIG = "best_config.yaml"


def keep_best(recipe: Recipe, folder: Path) -> None:
    """Write a recipe to `folder`/best_config.yaml, in place of the one before, whole or not at all.

    Raises:
        StoreError: the folder cannot be written.
    """
    file = folder / BEST_CONFIG
    part = file.with_suffix(".part")
    try:
        write_text(part, write_yaml(name_bases(recipe).to_document()))
        os.replace(part, file)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(f"{file} cannot be written: {reason}", "Check the disk") from error


class Leader:
    """Keeps the best candidate of a search on disk; parents are none, no search begins at one.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._best: tuple[Trial, Evaluated] | None = None
        self._written = ""

    def see(
        self,
        cohort: Sequence[Trial],
        results: Sequence[Evaluated],
        incumbent: Trial | None,
        *,
        replayed: bool,
    ) -> None:
        """Look at a round: the incumbent leads where it is a candidate, else the best so far.

        Args:
            cohort: the round's candidates.
            results: what they earned, in their order.
            incumbent: the best of all that is known, a parent perhaps.
            replayed: the round was over before, and what is on disk may be of a later one.
        """
        for trial, result in zip(cohort, results, strict=True):
            known = self._best[1].rank_key if self._best else ()
            if result.standing and result.rank_key > known:
                self._best = trial, result
        found = self._best[0] if self._best else None
        leader = incumbent if incumbent and incumbent.genome is not None else found
        kept = replayed and (self._folder / BEST_CONFIG).exists()
        if leader and leader.label != self._written and not kept:
            self._written = leader.label
            keep_best(leader.recipe, self._folder)
