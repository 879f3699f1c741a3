"""A worker's job: make the live model the candidate, ask it item by item.

Sources are opened once and the model is built once per worker; a candidate costs one pass over
the parameters and its forward passes. Nothing is written to disk.

The test items are withheld: a worker reads them with its first job of the test stage, and does
nothing for the search from then on.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from evomerge.errors import EvaluationError, EvoMergeException, describe
from evomerge.evaluation import Audit, Task
from evomerge.evaluation.task import SEALED
from evomerge.evolve.build import Setup, build_tasks, needs_models
from evomerge.evolve.live import LiveModel, exported
from evomerge.evolve.racing import Course
from evomerge.records import Candidate, Job, JobResult, Outcome


def make_work(setup: Setup) -> "Worker":
    """Make a worker; called once per process."""
    return Worker(setup)


class Worker:
    """Does jobs.

    Args:
        setup: the run file, the device and the number of threads.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        config = setup.config
        self._tasks = {task.name: task.without(SEALED) for task in build_tasks(config)}
        self._open = False
        self._live = LiveModel(setup.device, config.executor.arithmetic, seed=config.seed)
        self._cold = needs_models(config)

    def prepare(self, job: Job) -> None:
        """Do what takes its time but is no candidate's: read the items, load the model."""
        self._admit(job.split)
        if self._cold:
            self._cold = False
            self._limit_threads()
            self._live.prepare(job.cohort[0].recipe)

    def _limit_threads(self) -> None:
        """Set the number of threads, on which the last bits depend; a judge may have changed it."""
        import torch

        torch.set_num_threads(self._setup.threads)

    def __call__(self, job: Job) -> JobResult:
        """Try every candidate of the job's cohort."""
        return JobResult(job.number, tuple(self._try(candidate, job) for candidate in job.cohort))

    def _try(self, candidate: Candidate, job: Job) -> Outcome:
        seconds: dict[str, float] = {}
        try:
            self._admit(job.split)
            start = time.perf_counter()
            with self._subjects(candidate, job) as subjects:
                seconds["merge"] = time.perf_counter() - start
                audits = {name: Audit() for name in job.items}
                scores, raced_out = self._race(subjects, audits, job)
                seconds["evaluate"] = time.perf_counter() - start - seconds["merge"]
            measures = {name: audit.measures() for name, audit in audits.items()}
            audit = {name: found for name, found in measures.items() if found}
            return Outcome(candidate.fingerprint, scores, seconds, raced_out=raced_out, audit=audit)
        except EvoMergeException as error:
            return Outcome(candidate.fingerprint, seconds=seconds, failure=str(error))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a user's evaluator may raise anything; it is a result
            return Outcome(candidate.fingerprint, seconds=seconds, failure=describe(error))

    def _admit(self, split: str) -> None:
        """Open the test items for a test; refuse everything else once they are open."""
        if split == SEALED and not self._open:
            self._tasks = {task.name: task for task in build_tasks(self._setup.config)}
            self._open = True
        if split != SEALED and self._open:
            raise EvaluationError(
                "the test items have been read, so nothing can be searched any more",
                "Start a new run",
            )

    @contextmanager
    def _subjects(self, candidate: Candidate, job: Job) -> Iterator[dict[str, Any]]:
        """Give what the evaluators look at, by kind; a folder is there for so long only."""
        kinds = {self._tasks[name].evaluator.subject for name in job.items}
        recipe, setup = candidate.recipe, self._setup
        found: dict[str, Any] = {"recipe": recipe.to_document()}
        with ExitStack() as stack:
            if "model" in kinds:
                self._limit_threads()
                found["model"] = self._live.realise(recipe)
            if "folder" in kinds:
                folder = exported(recipe, seed=setup.config.seed, threads=setup.threads)
                found["folder"] = stack.enter_context(folder)
            yield found

    def _race(
        self, subjects: Mapping[str, Any], audits: Mapping[str, Audit], job: Job
    ) -> tuple[dict[str, dict[str, float]], bool]:
        """Return the scores on all items met, and whether the candidate was dropped on its way."""
        course = Course([self._tasks[name] for name in job.items], job)
        scores: dict[str, dict[str, float]] = {name: {} for name in job.items}
        for leg in course.legs:
            for name, places in leg.items():
                found = self._score(self._tasks[name], subjects, audits[name], job, places)
                scores[name].update(found)
            if course.is_lost(scores):
                return scores, True
        return scores, False

    def _score(
        self,
        task: Task,
        subjects: Mapping[str, Any],
        audit: Audit,
        job: Job,
        places: Sequence[int],
    ) -> dict[str, float]:
        items = [task.items[job.split][place] for place in places]
        scores = task.evaluator.evaluate(subjects[task.evaluator.subject], items, audit)
        return {item.key: score for item, score in zip(items, scores, strict=True)}
