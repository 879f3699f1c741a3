"""The original EvoMerge's tournament: three models, eight merges, one winner.

```python
from evomerge.config import create_default_config
from evomerge.evolutionary_tournament import run_evolutionary_tournament

best_model = run_evolutionary_tournament(create_default_config())
```

It is a run as any other: `evomerge show`, `resume` and `export` know its folder, which lies in
`merge_settings.custom_dir`.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evomerge.config import Configuration, RunConfig
from evomerge.config.tournament_run import find_idle, plan_tournament
from evomerge.errors import EvoMergeException
from evomerge.types import Progress

logger = logging.getLogger(__name__)

NAME = "tournament"


def run_evolutionary_tournament(config: Configuration) -> str:
    """Hold a tournament.

    Returns:
        The folder of the best model, which AutoModelForCausalLM and AutoTokenizer load.

    Raises:
        EvoMergeException: bad input, found before work starts; or nothing could be merged.
    """
    return EvolutionaryTournament(config).evolve()[0]


class EvolutionaryTournament:
    """A tournament.

    Args:
        config: models, techniques, how it goes.
        progress: told of every finished candidate.
        tell: told, before work starts, what of the configuration has no effect; logged if absent.

    Attributes:
        config: as given.
        run_config: the run that it is.
        folder: of the run; None before `evolve`.

    Raises:
        ConfigError: something in the configuration cannot be; every problem is listed.
    """

    def __init__(
        self,
        config: Configuration,
        *,
        progress: Progress | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.config, self._progress = config, progress
        self.run_config: RunConfig = plan_tournament(config)
        self.folder: Path | None = None
        for line in find_idle(config):
            (tell or logger.warning)(line)

    def create_initial_population(self) -> dict[str, dict[str, Any]]:
        """Return the first generation's recipes as plain values, by their techniques.

        The original wrote eight models to the disk here; a recipe is what `evomerge merge` writes
        one from. Reads the models' headers.

        Raises:
            EvoMergeException: a model cannot be opened, or they do not fit together.
        """
        from evomerge.engine import Models
        from evomerge.evolve.build import build_genome

        genome = build_genome(self.run_config, Models())
        return {name: genome.decode(p).to_document() for name, p in genome.space.known.items()}

    def evolve(self, start_from_checkpoint: str | Path | None = None) -> list[str]:
        """Hold the tournament, or go on with one that was interrupted.

        Args:
            start_from_checkpoint: folder of its run; a new one begins if absent.

        Returns:
            The folder of the best model, alone: the others are recipes in the run's store, from
            which `evomerge export` writes any.

        Raises:
            EvoMergeException: bad input, found before work starts; or nothing could be merged.
            KeyboardInterrupt: on Ctrl-C; the run's folder, which is logged, can be gone on with.
        """
        from evomerge.evolve import evolve, resume

        runs = Path(self.config.merge_settings.custom_dir).expanduser()
        if start_from_checkpoint is not None:
            self.folder = Path(start_from_checkpoint)
            result = resume(self.folder, runs=runs, progress=self._progress)
        else:
            run = self.run_config.model_copy(update={"name": find_free_name(runs)})
            self.folder = runs / run.name
            logger.info("the tournament is in %s", self.folder)
            result = evolve(run, runs=runs, progress=self._progress)
        if result.best is None:
            raise EvoMergeException(
                f"the run in {result.folder} has written no model",
                "Its tasks judge recipes only; take tasks that ask models",
            )
        return [str(result.best)]

    def lineage(self) -> list[dict[str, Any]]:
        """Return every individual: `candidate`, `objective`, and where it comes from.

        `what` are its techniques, as `linear + dare + dfs`; it came about in a way, `how`, `of`
        others.

        Raises:
            StoreError: nothing has been evolved yet.
        """
        from evomerge.evolve import find_run
        from evomerge.store import open_store

        folder = find_run(self.folder or NAME, self.config.merge_settings.custom_dir)
        with open_store(folder) as store:
            rows = store.candidates("search")
        unknown: dict[str, Any] = {"what": "", "how": "", "of": []}
        return [
            {"candidate": row.label, "objective": row.objective, **unknown, **row.origin}
            for row in rows
        ]


EvolutionaryMerger = EvolutionaryTournament
"""Its name in the first version of the original."""


def find_free_name(runs: Path, name: str = NAME) -> str:
    """Return a name that no run there has: `name`, or it with the next number."""
    number, free = 1, name
    while (runs / free).exists():
        number += 1
        free = f"{name}-{number}"
    return free
