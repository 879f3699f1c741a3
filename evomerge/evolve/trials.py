"""Try recipes on items and remember: no (merge, evaluator, item) is ever evaluated twice."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from evomerge.errors import StoreError
from evomerge.evaluation import Task
from evomerge.evaluation.task import SEALED
from evomerge.evolve.cohorts import gather
from evomerge.evolve.objective import Goals, Worth, average, judge, weigh_items
from evomerge.evolve.racing import Heat, Places, draw_items, estimate_objective
from evomerge.executors import Executor
from evomerge.recipe import Recipe, fingerprint_recipe
from evomerge.records import Candidate, Evaluated, Job, Outcome
from evomerge.store import RACED_OUT, CandidateRow, RunStore
from evomerge.types import Progress

if TYPE_CHECKING:
    from evomerge.types import Genome

RIVAL = "rival"
"""The stage in which the incumbent meets a new batch of items."""
SNAPSHOT = "snapshot"
"""The stage in which the best of a phase meet the validation items; the next begins at the best."""
SETTLED = ("search", RIVAL, SNAPSHOT)
"""Stages on which later candidates depend."""


@dataclass(frozen=True, eq=False)
class Trial:
    """A recipe to be tried.

    Attributes:
        label: what people call it.
        recipe: how it is made.
        genome: that made the recipe, if one did.
        phase: of a search in several: which of them asks for it.
        origin: how its genome came about, 'how', and of which trials, 'of': labels.
    """

    label: str
    recipe: Recipe
    genome: "Genome | None" = None
    phase: str = ""
    origin: Mapping[str, Any] = field(default_factory=dict)


class Trials:
    """Evaluates trials through an executor and the store.

    Args:
        store: where everything is recorded.
        tasks: of the run.
        executor: does the jobs.
        fingerprints: model reference -> contents.
        seed: of the run.
        progress: told of every finished trial.
        estimator: of the objective of dropped candidates; see evomerge.evolve.estimators.
        goals: what candidates are judged by.

    Attributes:
        goals: the same; bounds are known once the parents were evaluated.
    """

    def __init__(
        self,
        store: RunStore,
        tasks: Sequence[Task],
        executor: Executor,
        fingerprints: Mapping[str, str],
        seed: int,
        progress: Progress | None = None,
        estimator: str = "mean",
        goals: Goals | None = None,
    ) -> None:
        self.goals = goals or Goals()
        self.store = store
        self.tasks = tuple(tasks)
        self.executor = executor
        self.fingerprints = fingerprints
        self.seed = seed
        self.progress = progress
        self.estimator = estimator
        self.best: dict[str, float] = {}

    def run(
        self,
        stage: str,
        round_: int,
        trials: Sequence[Trial],
        split: str,
        heat: Heat | None = None,
    ) -> list[Evaluated]:
        """Try recipes on items of a split; what the store knows already costs nothing.

        Args:
            stage: 'probe', 'search', 'rival', 'snapshot', 'validation' or 'test'.
            round_: batch within the stage.
            trials: what to try.
            split: whose items.
            heat: which items, and who may be dropped before all are met; all items if None.

        Returns:
            One result per trial, in order.

        Raises:
            StoreError: the store has other candidates for this stage and round.
            ValueError: a stage that is not the test asks for test items, or the test for others.
        """
        if (split == SEALED) is not (stage == SEALED):
            raise ValueError(f"the {stage} stage may not read the {split} items")
        heat = heat or Heat(draw_items(self.tasks, split))
        rows = self._ask(stage, round_, trials)
        recipes = {row.fingerprint: trial.recipe for row, trial in zip(rows, trials, strict=True)}
        open_rows = [row for row in rows if _is_open(row)]
        for row in rows:
            if not _is_open(row):
                self._note(stage, row.objective if row.state != RACED_OUT else None, 1)
        jobs = []
        for fingerprint in dict.fromkeys(row.fingerprint for row in open_rows):
            if heat.race and (before := self._find_raced_out(fingerprint)):
                self._repeat(before, open_rows)
            elif missing := self._missing(fingerprint, split, heat):
                number = next(row.number for row in rows if row.fingerprint == fingerprint)
                candidate = Candidate(fingerprint, recipes[fingerprint])
                jobs.append(self._make_job(number, candidate, missing, split, heat))
            else:
                self._note(stage, *self._record(Outcome(fingerprint), open_rows, split, heat))
        for result in self.executor.run(gather(jobs, self.executor.workers)):
            with self.store.together():  # a job that was done is never done again, not even in part
                told = [self._record(each, open_rows, split, heat) for each in result.outcomes]
            for objective, count in told:
                self._note(stage, objective, count)
        return [
            self._result(row, trial, split, heat)
            for row, trial in zip(self.store.candidates(stage, round_), trials, strict=True)
        ]

    def item_scores(self, fingerprint: str, split: str) -> dict[str, dict[str, float]]:
        """Return task -> item key -> score in the evaluator's own unit, as stored."""
        found = {}
        for task in self.tasks:
            known = self.store.scores(fingerprint, task.key)
            found[task.name] = {i.key: known[i.key] for i in task.items[split] if i.key in known}
        return found

    def audit(self, fingerprint: str, split: str) -> Mapping[str, Mapping[str, float]]:
        """Return what is on record of a merge's answers on a split: task -> measure -> value."""
        stages = ("probe", split) if split == "search" else (split,)
        rows = self.store.candidates(fingerprint=fingerprint)
        return next((row.audit for row in rows if row.stage in stages and row.audit), {})

    def _ask(self, stage: str, round_: int, trials: Sequence[Trial]) -> list[CandidateRow]:
        known = self.store.candidates(stage, round_)
        fingerprints = [fingerprint_recipe(t.recipe, self.fingerprints, self.seed) for t in trials]
        if known:
            if [row.fingerprint for row in known] != fingerprints:
                raise StoreError(
                    f"{stage} round {round_} of {self.store.folder} was made with other settings, "
                    "or with other versions of this program or of cmaes",
                    "Start a new run under another name",
                )
            return known
        first = self.store.count()
        rows = [
            CandidateRow(
                number=first + k,
                round=round_,
                stage=stage,
                label=trial.label,
                genome=None if trial.genome is None else tuple(map(float, trial.genome)),
                recipe=trial.recipe.to_document(),
                fingerprint=fingerprint,
                state="asked",
                objective=None,
                items=0,
                error="",
                seconds={},
                phase=trial.phase,
                origin=trial.origin,
            )
            for k, (trial, fingerprint) in enumerate(zip(trials, fingerprints, strict=True))
        ]
        self.store.ask(rows)
        return rows

    def _missing(self, fingerprint: str, split: str, heat: Heat) -> Places:
        """Return what the store does not know of a merge."""
        scores = self.item_scores(fingerprint, split)
        missing = {
            task.name: tuple(
                place
                for place in heat.items[task.name]
                if task.items[split][place].key not in scores[task.name]
            )
            for task in self.tasks
        }
        return {name: places for name, places in missing.items() if places}

    def _make_job(
        self, number: int, candidate: Candidate, items: Places, split: str, heat: Heat
    ) -> Job:
        """Make a job; what is known in part already is not raced, but completed."""
        if items != heat.items:
            return Job(number, (candidate,), items, split, seed=self.seed)
        return Job(number, (candidate,), items, split, heat.rival_scores, self.seed, heat.race)

    def _find_raced_out(self, fingerprint: str) -> CandidateRow | None:
        rows = self.store.candidates("search", fingerprint=fingerprint)
        return next((row for row in rows if row.state == RACED_OUT), None)

    def _repeat(self, before: CandidateRow, rows: Sequence[CandidateRow]) -> None:
        """Record a merge that was dropped before, by a rival no better than today's.

        With batches its estimate is of the items it met then, easier or harder than today's. That
        shifts it among the dropped ones only: all of them rank below whoever met every item.
        """
        mine = [row.number for row in rows if row.fingerprint == before.fingerprint]
        self.store.record(
            mine,
            before.fingerprint,
            {},
            objective=before.objective,
            items=before.items,
            audit=before.audit,
            rival=before.rival,
            goals=before.goals,
            violation=before.violation,
        )
        self._note(rows[0].stage, None, len(mine))

    def _record(
        self, outcome: Outcome, rows: Sequence[CandidateRow], split: str, heat: Heat
    ) -> tuple[float | None, int]:
        """Record what became of a merge; return its objective, and how many candidates it is."""
        mine = [row for row in rows if row.fingerprint == outcome.fingerprint]
        keys = {task.name: task.key for task in self.tasks}
        worth, count = None, 0
        if not outcome.failure:
            worth, count = self._judge(outcome, split, heat)
        objective = worth.overall if worth else None
        self.store.record(
            [row.number for row in mine],
            outcome.fingerprint,
            {keys[name]: scores for name, scores in outcome.scores.items()},
            objective=objective,
            items=count,
            error=outcome.failure,
            seconds=outcome.seconds,
            audit=outcome.audit,
            rival=heat.rival if outcome.raced_out else "",
            layers=outcome.layers,
            goals=worth.goals if worth else None,
            violation=worth.violation if worth else 0.0,
        )
        return None if outcome.raced_out else objective, len(mine)

    def _judge(self, outcome: Outcome, split: str, heat: Heat) -> tuple[Worth, int]:
        """Return worth and number of items, of what the store and an outcome know together."""
        if outcome.raced_out:
            count = sum(map(len, outcome.scores.values()))
            if heat.estimate:
                return Worth(heat.estimate(outcome.scores)), count
            found = estimate_objective(self.tasks, outcome.scores, heat.rival_scores)
            return Worth(found), count
        known = self.item_scores(outcome.fingerprint, split)
        scores = {name: {**known[name], **outcome.scores.get(name, {})} for name in known}
        scores = _only(scores, self.tasks, split, heat)
        worth = judge(self.tasks, average(scores), self.goals, split)
        return worth, sum(map(len, scores.values()))

    def _note(self, stage: str, objective: float | None, steps: int) -> None:
        if stage == RIVAL:
            return
        if objective is not None:
            self.best[stage] = max(self.best.get(stage, -math.inf), objective)
        if self.progress:
            note = f"best {self.best[stage]:.3f}" if stage in self.best else ""
            self.progress.advance(steps, note)

    def _result(self, row: CandidateRow, trial: Trial, split: str, heat: Heat) -> Evaluated:
        objective = math.nan if row.objective is None else row.objective
        found = _only(self.item_scores(row.fingerprint, split), self.tasks, split, heat)
        signed = {
            key: task.direction * score
            for task in self.tasks
            for key, score in found[task.name].items()
        }
        known = row.audit or ({} if row.error else self.audit(row.fingerprint, split))
        audit = {f"{t}/{name}": v for t, measured in known.items() for name, v in measured.items()}
        return Evaluated(
            trial.genome,  # type: ignore[arg-type]  # parents and defaults have no genome; no searcher is told of them
            tuple(row.goals.values()) or (objective,) * max(1, len(self.goals.names)),
            signed,
            row.items,
            row.error,
            row.state == RACED_OUT,
            overall=objective,
            violation=row.violation,
            measures=average(found) | audit,
            item_weights=weigh_items(self.tasks, found),
        )


def _is_open(row: CandidateRow) -> bool:
    """Tell whether a candidate is (still) to be evaluated.

    What failed where the search depends on it stays failed, else a resumed search would differ;
    what failed elsewhere is tried again by the next sitting.
    """
    return row.state == "asked" or (row.state == "failed" and row.stage not in SETTLED)


def _only(
    scores: Mapping[str, Mapping[str, float]], tasks: Sequence[Task], split: str, heat: Heat
) -> dict[str, dict[str, float]]:
    """Return the scores on a heat's items."""
    found = {}
    for task in tasks:
        keys = (task.items[split][place].key for place in heat.items[task.name])
        found[task.name] = {k: scores[task.name][k] for k in keys if k in scores[task.name]}
    return found
