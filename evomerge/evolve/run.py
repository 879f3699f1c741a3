"""A run from beginning to end, and a run taken up again: the same path over the same store."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evomerge.checkpoints.writer import check_target
from evomerge.config import (
    Bound,
    RunConfig,
    apply_effort,
    load_config,
    name_goals,
    parse_config,
    read_bound,
)
from evomerge.errors import ConfigError, EvaluationError, Problem, StoreError
from evomerge.evolve.best_config import keep_best
from evomerge.evolve.bounds import PROBE, refuse_failures, settle_bounds
from evomerge.evolve.build import build_executor, is_compact_form
from evomerge.evolve.census import take_census
from evomerge.evolve.comparison import Scores
from evomerge.evolve.expedition import search_all
from evomerge.evolve.finalists import choose_winner
from evomerge.evolve.finish import BEST, export, face_baselines, search_scores
from evomerge.evolve.forecast import Forecast, make_forecast
from evomerge.evolve.front import find_front
from evomerge.evolve.loop import Incumbent
from evomerge.evolve.objective import Goals, judge
from evomerge.evolve.prepare import Preparation, prepare
from evomerge.evolve.provenance import record_run, refuse_changes
from evomerge.evolve.racing import Heat, draw_items, find_race, settle_racing
from evomerge.evolve.tasks import build_tasks
from evomerge.evolve.tradeoff import tell_tradeoff
from evomerge.evolve.trials import Trials
from evomerge.evolve.verdict import Verdict, read_verdict
from evomerge.executors import Executor
from evomerge.recipe import Recipe, fingerprint_recipe
from evomerge.records import Evaluated
from evomerge.store import FILE, RunStore, open_store
from evomerge.types import Progress

Tell = Callable[[Forecast], None]


@dataclass(frozen=True)
class RunResult:
    """What a finished run leaves.

    Attributes:
        folder: of the run.
        best: folder of the winner, which transformers loads; None where no model was judged, or
            none was asked for.
        verdict: what to believe of it.
        wall_seconds: over all sittings.
        cpu_seconds: over all sittings and processes.
    """

    folder: Path
    best: Path | None
    verdict: Verdict
    wall_seconds: float
    cpu_seconds: float


def evolve(
    config: RunConfig | str | Path | dict[str, Any],
    *,
    runs: str | Path = "runs",
    progress: Progress | None = None,
    tell_forecast: Tell | None = None,
) -> RunResult:
    """Start a run and see it through.

    Args:
        config: a RunConfig, a run file, the name of a shipped one, or its document as a dict.
        runs: folder of all runs; this one gets `runs`/<name>.
        progress: told of every finished candidate.
        tell_forecast: told the forecast before the search begins.

    Raises:
        EvoMergeException: bad input, found before the search starts; nothing is lost.
        KeyboardInterrupt: on Ctrl-C; `resume` goes on.
    """
    if isinstance(config, RunConfig):
        # it may have been changed since it was read
        config = parse_config(apply_effort(config).model_dump())
    else:
        config = parse_config(config) if isinstance(config, dict) else load_config(config)
        config = apply_effort(config)
    folder = Path(runs) / config.name
    preparation = prepare(config, folder)
    declared = take_census(config, preparation.tasks)
    if declared is not config:
        config, preparation = declared, replace(preparation, tasks=build_tasks(declared))
    config = settle_racing(config, preparation.tasks)
    if preparation.judges_models and config.export:
        check_target(folder / BEST, expected_bytes=preparation.model_bytes, replace=True)
    with open_store(folder, write=True) as store:
        record_run(store, config, preparation)
        return _carry_on(store, config, preparation, progress, tell_forecast)


def resume(
    name: str | Path,
    *,
    runs: str | Path = "runs",
    progress: Progress | None = None,
    tell_forecast: Tell | None = None,
) -> RunResult:
    """Go on with a run that was interrupted, as if it had not been.

    Args:
        name: of the run, or its folder.
        runs: folder of all runs.
        progress: told of every finished candidate.
        tell_forecast: told the forecast, made anew.

    Raises:
        StoreError: there is no such run, or its models were changed since.
    """
    folder = find_run(name, runs)
    with open_store(folder) as store:
        known = store.run()
    if known is None:
        raise StoreError(f"{folder} holds no run", "Start it again with `evomerge evolve`")
    config = RunConfig.model_validate(known.config)
    if known.state == "finished" and known.verdict:
        best = folder / BEST if (folder / BEST).exists() else None
        verdict = read_verdict(known.verdict)
        return RunResult(folder, best, verdict, known.wall_seconds, known.cpu_seconds)
    preparation = prepare(config, folder, begun=True)
    refuse_changes(known, preparation)
    with open_store(folder, write=True) as store:
        return _carry_on(store, config, preparation, progress, tell_forecast)


def find_run(name: str | Path, runs: str | Path) -> Path:
    """Return the folder of a run given by name or by folder."""
    for folder in (Path(runs) / name, Path(name)):
        if (folder / FILE).exists():
            return folder
    raise StoreError(f"there is no run {str(name)!r} in {runs}", "See `evomerge runs`")


def _carry_on(
    store: RunStore,
    config: RunConfig,
    preparation: Preparation,
    progress: Progress | None,
    tell_forecast: Tell | None,
) -> RunResult:
    try:
        with _metered(store), build_executor(config) as executor:
            found = _evolve(store, config, preparation, executor, progress, tell_forecast)
    except (ConfigError, EvaluationError):
        store.finish("failed")
        raise
    verdict, recipe, scores = found
    best = None
    if preparation.judges_models and config.export:
        best, verdict = export(
            recipe,
            store.folder,
            config,
            verdict=verdict,
            scores=scores,
            compact=is_compact_form(recipe, config.genome),
            progress=progress,
        )
    store.finish("finished", verdict.to_values())
    row = store.run()
    assert row is not None
    return RunResult(store.folder, best, verdict, row.wall_seconds, row.cpu_seconds)


def _evolve(
    store: RunStore,
    config: RunConfig,
    preparation: Preparation,
    executor: Executor,
    progress: Progress | None,
    tell_forecast: Tell | None,
) -> tuple[Verdict, Recipe, Scores]:
    tasks = preparation.tasks
    names = [name for name in [config.genome.base_model, *config.genome.models] if name]
    fingerprints = preparation.models.fingerprints(names)
    goals = Goals(name_goals(config, {task.name: task.weight for task in tasks}))
    estimator = config.estimator
    trials = Trials(store, tasks, executor, fingerprints, config.seed, progress, estimator, goals)
    forecast, incumbent = _probe(config, preparation, trials, executor.workers, progress)
    if tell_forecast:
        tell_forecast(forecast)
    finalists = search_all(
        config, preparation.phases, trials, incumbent=incumbent, progress=progress
    )
    winner, validated = choose_winner(finalists, trials, progress)
    keep_best(winner.recipe, store.folder)
    fingerprint = fingerprint_recipe(winner.recipe, fingerprints, config.seed)
    verdict = face_baselines(
        winner,
        preparation.parents,
        preparation.defaults,
        trials,
        search_score=search_scores(store.candidates("search")).get(fingerprint),
        validation_score=validated.rank_key[-1],
        progress=progress,
    )
    front = find_front(store.candidates("validation"))
    verdict = tell_tradeoff(
        verdict,
        tasks,
        goals=goals.names,
        bounds=_read_bounds(config),
        front=len(front.rows) if front else 0,
    )
    return verdict, winner.recipe, trials.item_scores(fingerprint, "test")


def _probe(
    config: RunConfig,
    preparation: Preparation,
    trials: Trials,
    workers: int,
    progress: Progress | None,
) -> tuple[Forecast, Incumbent]:
    """Evaluate the parents on the search items: a check of the tasks, and a measure of the cost.

    The best of them is the first incumbent.
    """
    parents = preparation.parents
    race = find_race(config)
    if progress:
        progress.begin("parents", len(parents))
    heat = Heat(draw_items(trials.tasks, "search"), race)
    results = trials.run(PROBE, 0, parents, "search", heat)
    if progress:
        progress.end()
    refuse_failures(parents, results)
    _refuse_unmeasured(config, results)
    trials.goals = settle_bounds(_read_bounds(config), trials, parents, results, progress)
    judged = [judge(trials.tasks, result.measures, trials.goals) for result in results]
    results = [replace(r, violation=w.violation) for r, w in zip(results, judged, strict=True)]
    best = max(range(len(results)), key=lambda k: (results[k].rank_key, -k))
    forecast = make_forecast(
        trials.store.candidates(PROBE, 0),
        preparation.tasks,
        genes=preparation.rehearsal.genes,
        candidates=config.search.evaluations,
        finalists=config.finalists * max(1, len(trials.goals.names)) * len(preparation.phases),
        baselines=len(parents) + len(preparation.defaults),
        workers=workers,
        model_bytes=preparation.live_bytes if preparation.judges_models else 0,
        stretch=preparation.rehearsal.stretch,
        batch=config.items.batch,
        effort=config.effort,
        race=race,
    )
    return forecast, Incumbent(parents[best], results[best])


def _refuse_unmeasured(config: RunConfig, parents: Sequence[Evaluated]) -> None:
    """Raise a ConfigError for descriptors that no task has; the parents' results tell which."""
    there = sorted(set.intersection(*(set(parent.measures) for parent in parents)))
    problems = [
        Problem(f"search.descriptors[{place}]", f"no task measures {name!r}; known: {told}")
        for told in [", ".join(there)]
        for place, name in enumerate(config.search.options.get("descriptors") or [])
        if name not in there
    ]
    if problems:
        raise ConfigError("run file", problems)


def _read_bounds(config: RunConfig) -> dict[str, Bound]:
    return {task: read_bound(value) for task, value in config.constraints.items()}


@contextmanager
def _metered(store: RunStore) -> Iterator[None]:
    """Add this sitting's wall and CPU seconds to the store, however it ends."""
    start, before = time.monotonic(), _cpu_seconds()
    try:
        yield
    finally:
        store.add_cost(time.monotonic() - start, _cpu_seconds() - before)


def _cpu_seconds() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system
