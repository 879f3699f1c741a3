"""A worker's job: make live models the candidates, ask them item by item.

Sources are opened once and a model is built once per worker; a merge costs one pass over the
parameters and its forward passes, a path over resident layers only the latter. Paths of one job
meet their items side by side, so that what they begin with is computed once. Nothing is written
to disk.

The test items are withheld: a worker reads them with its first job of the test stage, and does
nothing for the search from then on.
"""

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from evomerge.errors import EvaluationError
from evomerge.evaluation import Audit, Task
from evomerge.evaluation.python_function import PythonFunction
from evomerge.evaluation.task import SEALED
from evomerge.evolve.attempt import Attempt
from evomerge.evolve.baselines import pass_through
from evomerge.evolve.build import Setup, build_tasks, is_compact_form, needs_models
from evomerge.evolve.live import LiveModel, QuantizedModel, exported
from evomerge.evolve.live_paths import LivePaths, find_merges
from evomerge.evolve.racing import Course
from evomerge.recipe import is_path
from evomerge.records import Job, JobResult

if TYPE_CHECKING:
    from evomerge.inference.prefix_tree import Population


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
        config, device = setup.config, setup.device
        self._tasks = {task.name: task.without(SEALED) for task in build_tasks(config)}
        self._open = False
        arithmetic = config.executor.arithmetic
        self._live: LiveModel | QuantizedModel = LiveModel(device, arithmetic, seed=config.seed)
        self._paths: LivePaths | None = None
        if config.executor.bits:
            self._live = QuantizedModel(device, config.executor.bits, seed=config.seed)
        elif config.genome.has_paths:
            models = {name: pass_through(config.genome, name) for name in config.genome.models}
            self._paths = LivePaths(models, device, arithmetic, seed=config.seed)
        self._cold = needs_models(config)

    def prepare(self, job: Job) -> None:
        """Do what takes its time but is no candidate's: read the items, load the models."""
        self._admit(job.split)
        if self._cold:
            self._cold = False
            self._limit_threads()
            if self._paths is not None:
                self._realise([Attempt(job.cohort[0], job)])
            else:
                self._live.prepare(job.cohort[0].recipe)

    def _limit_threads(self) -> None:
        """Set the number of threads, on which the last bits depend; a judge may have changed it."""
        import torch

        torch.set_num_threads(self._setup.threads)

    def __call__(self, job: Job) -> JobResult:
        """Try every candidate of the job's cohort."""
        attempts = [Attempt(candidate, job) for candidate in job.cohort]
        for group in self._divide(attempts, job):
            self._try(group, job)
        return JobResult(job.number, tuple(attempt.outcome() for attempt in attempts))

    def _divide(self, attempts: Sequence[Attempt], job: Job) -> Iterable[list[Attempt]]:
        """Return who is tried side by side: paths with the same merges on them, others alone."""
        kinds = self._kinds(job)
        shared = "model" in kinds and "folder" not in kinds and not self._are_looked_into(job)
        groups: dict[Hashable, list[Attempt]] = {}
        for number, attempt in enumerate(attempts):
            together = shared and self._is_live_path(attempt)
            key: Hashable = find_merges(attempt.candidate.recipe) if together else number
            groups.setdefault(key, []).append(attempt)
        return groups.values()

    def _try(self, group: Sequence[Attempt], job: Job) -> None:
        """Make candidates what evaluators look at, and let them meet the items."""
        first, population = group[0], None
        with ExitStack() as stack:
            with first.at("merge"):
                self._admit(job.split)
                population = self._make_subjects(group, job, stack)
            if first.failure and len(group) > 1:
                first.failure = ""  # another may be to blame
                for attempt in group:
                    self._try([attempt], job)
                return
            self._race(group, job)
        if population is not None:
            first.layers = population.computed, population.asked

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

    def _make_subjects(
        self, group: Sequence[Attempt], job: Job, stack: ExitStack
    ) -> "Population | None":
        """Make what the evaluators look at, by kind; a folder is there for so long only."""
        kinds, setup = self._kinds(job), self._setup
        population = None
        if "model" in kinds:
            self._limit_threads()
            if self._paths is not None and self._are_looked_into(job):
                self._paths.forget()
            population = self._realise(group)
        for attempt in group:
            recipe = attempt.candidate.recipe
            attempt.subjects["recipe"] = recipe.to_document()
            if "folder" in kinds:
                compact = is_compact_form(recipe, setup.config.genome)
                seed, threads = setup.config.seed, setup.threads
                folder = exported(recipe, seed=seed, threads=threads, compact=compact)
                attempt.subjects["folder"] = stack.enter_context(folder)
        return population

    def _realise(self, group: Sequence[Attempt]) -> "Population | None":
        """Make a candidate live, or several paths."""
        first = group[0]
        if self._paths is None or not self._is_live_path(first):
            recipe = first.candidate.recipe
            resident = self._paths and self._paths.find(recipe)
            first.subjects["model"] = resident or self._live.realise(recipe)
            return None
        population = self._paths.gather([attempt.candidate.recipe for attempt in group])
        for place, attempt in enumerate(group):
            attempt.subjects["model"] = population.member(place)
            attempt.leave = partial(population.drop, place)
        return population

    def _is_live_path(self, attempt: Attempt) -> bool:
        return self._paths is not None and is_path(attempt.candidate.recipe)

    def _kinds(self, job: Job) -> Collection[str]:
        return {self._tasks[name].evaluator.subject for name in job.items}

    def _are_looked_into(self, job: Job) -> bool:
        """Tell whether a user's own function gets the models, and may change what is in them."""
        judges = [self._tasks[name].evaluator for name in job.items]
        return any(isinstance(one, PythonFunction) and one.subject == "model" for one in judges)

    def _race(self, group: Sequence[Attempt], job: Job) -> None:
        """Let candidates meet the items leg by leg, until they have met all or are dropped."""
        courses = [Course([self._tasks[name] for name in job.items], job) for _ in group]
        for leg in courses[0].legs:
            for attempt in group:
                if attempt.goes_on:
                    with attempt.at("evaluate"):
                        self._meet(attempt, leg, job)
            for attempt, course in zip(group, courses, strict=True):
                if attempt.goes_on and course.is_lost(attempt.scores):
                    attempt.drop()

    def _meet(self, attempt: Attempt, leg: Mapping[str, Sequence[int]], job: Job) -> None:
        for name, places in leg.items():
            task, audit = self._tasks[name], attempt.audits[name]
            found = self._score(task, attempt.subjects, audit, job, places)
            attempt.scores[name].update(found)

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
