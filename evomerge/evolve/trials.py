"""Try recipes on items and remember: no (merge, evaluator, item) is ever evaluated twice."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evomerge.errors import StoreError
from evomerge.evaluation import Task
from evomerge.executors import Executor
from evomerge.recipe import Recipe, fingerprint_recipe
from evomerge.records import Candidate, Evaluated, Job, Outcome
from evomerge.store import CandidateRow, RunStore
from evomerge.types import Progress

if TYPE_CHECKING:
    from evomerge.types import Genome


@dataclass(frozen=True, eq=False)
class Trial:
    """A recipe to be tried, what people call it, and the genome that made it, if one did."""

    label: str
    recipe: Recipe
    genome: "Genome | None" = None


class Trials:
    """Evaluates trials through an executor and the store.

    Args:
        store: where everything is recorded.
        tasks: of the run.
        executor: does the jobs.
        fingerprints: model reference -> contents.
        seed: of the run.
        progress: told of every finished trial.
    """

    def __init__(
        self,
        store: RunStore,
        tasks: Sequence[Task],
        executor: Executor,
        fingerprints: Mapping[str, str],
        seed: int,
        progress: Progress | None = None,
    ) -> None:
        self.store = store
        self.tasks = tuple(tasks)
        self.executor = executor
        self.fingerprints = fingerprints
        self.seed = seed
        self.progress = progress
        self.best: dict[str, float] = {}

    def run(self, stage: str, round_: int, trials: Sequence[Trial], split: str) -> list[Evaluated]:
        """Try recipes on all items of a split; what the store knows already costs nothing.

        Args:
            stage: 'probe', 'search', 'validation' or 'test'.
            round_: batch within the stage.
            trials: what to try.
            split: whose items.

        Returns:
            One result per trial, in order.

        Raises:
            StoreError: the store has other candidates for this stage and round.
        """
        rows = self._ask(stage, round_, trials)
        recipes = {row.fingerprint: trial.recipe for row, trial in zip(rows, trials, strict=True)}
        open_rows = [row for row in rows if _is_open(row)]
        for row in rows:
            if row not in open_rows:
                self._note(stage, row.objective, 1)
        jobs = []
        for mark in dict.fromkeys(row.fingerprint for row in open_rows):
            if self._missing(mark, split):
                number = next(row.number for row in rows if row.fingerprint == mark)
                places = {t.name: tuple(range(len(t.items[split]))) for t in self.tasks}
                candidate = Candidate(mark, recipes[mark])
                jobs.append(Job(number, (candidate,), places, split, seed=self.seed))
            else:
                self._record(Outcome(mark), open_rows, split)
        for result in self.executor.run(jobs):
            for outcome in result.outcomes:
                self._record(outcome, open_rows, split)
        return [
            self._result(row, trial, split)
            for row, trial in zip(self.store.candidates(stage, round_), trials, strict=True)
        ]

    def item_scores(self, fingerprint: str, split: str) -> dict[str, dict[str, float]]:
        """Return task -> item key -> score in the evaluator's own unit, as stored."""
        found = {}
        for task in self.tasks:
            known = self.store.scores(fingerprint, task.key)
            found[task.name] = {i.key: known[i.key] for i in task.items[split] if i.key in known}
        return found

    def _ask(self, stage: str, round_: int, trials: Sequence[Trial]) -> list[CandidateRow]:
        known = self.store.candidates(stage, round_)
        marks = [fingerprint_recipe(t.recipe, self.fingerprints, self.seed) for t in trials]
        if known:
            if [row.fingerprint for row in known] != marks:
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
                fingerprint=mark,
                state="asked",
                objective=None,
                items=0,
                error="",
                seconds={},
            )
            for k, (trial, mark) in enumerate(zip(trials, marks, strict=True))
        ]
        self.store.ask(rows)
        return rows

    def _missing(self, fingerprint: str, split: str) -> bool:
        scores = self.item_scores(fingerprint, split)
        return any(len(scores[task.name]) < len(task.items[split]) for task in self.tasks)

    def _record(self, outcome: Outcome, rows: Sequence[CandidateRow], split: str) -> None:
        mine = [row for row in rows if row.fingerprint == outcome.fingerprint]
        keys = {task.name: task.key for task in self.tasks}
        objective, count = None, 0
        if not outcome.failure:
            objective, count = self._judge(outcome, split)
        self.store.record(
            [row.number for row in mine],
            outcome.fingerprint,
            {keys[name]: scores for name, scores in outcome.scores.items()},
            objective=objective,
            items=count,
            error=outcome.failure,
            seconds=outcome.seconds,
        )
        self._note(rows[0].stage, objective, len(mine))

    def _judge(self, outcome: Outcome, split: str) -> tuple[float, int]:
        """Return objective and number of items, of an outcome or (if it is empty) of the store."""
        scores = outcome.scores or self.item_scores(outcome.fingerprint, split)
        total, count = 0.0, 0
        for task in self.tasks:
            values = list(scores[task.name].values())
            total += task.weight * direction(task) * math.fsum(values) / len(values)
            count += len(values)
        return total / sum(task.weight for task in self.tasks), count

    def _note(self, stage: str, objective: float | None, steps: int) -> None:
        if objective is not None:
            self.best[stage] = max(self.best.get(stage, -math.inf), objective)
        if self.progress:
            note = f"best {self.best[stage]:.3f}" if stage in self.best else ""
            self.progress.advance(steps, note)

    def _result(self, row: CandidateRow, trial: Trial, split: str) -> Evaluated:
        objective = math.nan if row.objective is None else row.objective
        found = self.item_scores(row.fingerprint, split)
        signed = {
            key: direction(task) * score
            for task in self.tasks
            for key, score in found[task.name].items()
        }
        genome = trial.genome
        return Evaluated(genome, (objective,), signed, row.items, row.error)  # type: ignore[arg-type]  # parents and defaults have no genome; no searcher is told of them


def _is_open(row: CandidateRow) -> bool:
    """Tell whether a candidate is (still) to be evaluated.

    What failed in the search stays failed, else a resumed search would differ; what failed
    outside it is tried again by the next sitting.
    """
    return row.state == "asked" or (row.state == "failed" and row.stage != "search")


def direction(task: Task) -> float:
    """Return 1 where a higher score is better, else -1."""
    return 1.0 if task.evaluator.higher_is_better else -1.0
