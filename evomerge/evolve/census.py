"""How many scores a user's function gives, or which numbers: asked once, of the first model.

Where a function owns its items, only its answer tells what they are. What is found out becomes part
of the run file as it is stored, so that every later answer can be held against it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evomerge.config import RunConfig, TaskSettings
from evomerge.errors import EvaluationError
from evomerge.evaluation import Task
from evomerge.evolve.attempt import Attempt
from evomerge.evolve.baselines import parent_trials
from evomerge.evolve.build import Setup, build_executor
from evomerge.evolve.candidate import Worker
from evomerge.records import Candidate, Job, JobResult

WORK = "evomerge.evolve.census:make_work"


def take_census(config: RunConfig, tasks: Sequence[Task]) -> RunConfig:
    """Return the run file with what its functions answer declared; the same if nothing is open.

    Raises:
        EvaluationError: a function cannot answer for the first model.
    """
    unknown = [task.name for task in tasks if task.evaluator.undeclared]
    if not unknown:
        return config
    parent = parent_trials(config.genome)[0]
    job = Job(0, (Candidate("", parent.recipe),), dict.fromkeys(unknown, ()))
    with build_executor(config, WORK) as executor:
        (result,) = executor.run([job])
    if reason := result.outcomes[0].failure:
        raise EvaluationError(
            f"{parent.label} cannot be evaluated: {reason}", "Mend the task or the model"
        )
    assert isinstance(result, Census)
    found = [_declare(task, result.options.get(task.name, {})) for task in config.tasks]
    return config.model_copy(update={"tasks": found})


def make_work(setup: Setup) -> "Registrar":
    """Make the worker that asks."""
    return Registrar(setup)


@dataclass(frozen=True, slots=True)
class Census(JobResult):
    """What was found out: task name -> options that declare it."""

    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Registrar(Worker):
    """A worker that asks functions what they answer with, and forgets the scores."""

    def __call__(self, job: Job) -> JobResult:
        """Ask of one model; a failure is an outcome, as of any candidate."""
        self._options: dict[str, Mapping[str, Any]] = {}
        outcomes = super().__call__(job).outcomes
        return Census(job.number, outcomes, self._options)

    def _race(self, group: Sequence[Attempt], job: Job) -> None:
        for attempt in group:
            if attempt.goes_on:
                with attempt.at("evaluate"):
                    self._ask(attempt, job)

    def _ask(self, attempt: Attempt, job: Job) -> None:
        for name in job.items:
            found = self._tasks[name].evaluator.find_out(name, attempt.subjects["model"])
            self._options[name] = found


def _declare(task: TaskSettings, options: Mapping[str, Any]) -> TaskSettings:
    return TaskSettings.model_validate({**task.model_dump(), **options})
