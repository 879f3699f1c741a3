"""A worker's job: make the live model the candidate, ask it item by item.

Sources are opened once and the model is built once per worker; a candidate costs one pass over
the parameters and its forward passes. Nothing is written to disk.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evomerge.engine import Models, Resident, make_plan
from evomerge.errors import EvoMergeException
from evomerge.evaluation import Task
from evomerge.evolve.build import Setup, build_tasks, needs_models
from evomerge.recipe.fingerprint import hash_values
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
        self._tasks = {task.name: task for task in build_tasks(setup.config)}
        self._models = Models()
        self._live: tuple[str, Any, Resident] | None = None
        self._needs_model = needs_models(setup.config)
        if self._needs_model:
            import torch

            torch.set_num_threads(setup.threads)

    def __call__(self, job: Job) -> JobResult:
        """Try every candidate of the job's cohort."""
        return JobResult(job.number, tuple(self._try(candidate, job) for candidate in job.cohort))

    def _try(self, candidate: Candidate, job: Job) -> Outcome:
        seconds: dict[str, float] = {}
        try:
            start = time.perf_counter()
            model = self._realise(candidate) if self._needs_model else None
            seconds["merge"] = time.perf_counter() - start
            scores = {
                name: self._score(self._tasks[name], model, candidate, job, places)
                for name, places in job.items.items()
            }
            seconds["evaluate"] = time.perf_counter() - start - seconds["merge"]
            return Outcome(candidate.fingerprint, scores, seconds)
        except EvoMergeException as error:
            return Outcome(candidate.fingerprint, seconds=seconds, failure=str(error))
        except (
            Exception,
            SystemExit,
        ) as error:  # a user's evaluator may raise anything; it is a result
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            return Outcome(candidate.fingerprint, seconds=seconds, failure=reason)

    def _realise(self, candidate: Candidate) -> Any:
        plan = make_plan(candidate.recipe, self._models, seed=self._setup.config.seed)
        tokenizer = plan.tokenizer.materialise(self._models)
        key = hash_values([plan.config, plan.dtype, str(tokenizer)])
        if self._live is None or self._live[0] != key:
            self._live = None  # let go of the old model before the new one is built
            self._live = (key, *self._build(plan, tokenizer))
        _, model, resident = self._live
        resident.write(plan)
        return model

    def _build(self, plan: Any, tokenizer: Path) -> tuple[Any, Resident]:
        from evomerge.checkpoints.loading import build_model, find_arithmetic, load_tokenizer
        from evomerge.inference.transformers_model import TransformersModel

        device = self._setup.device
        asked = self._setup.config.executor.arithmetic
        module = build_model(plan.config, asked or find_arithmetic(plan.dtype, device), device)
        model = TransformersModel(module, load_tokenizer(tokenizer))
        return model, Resident(module, self._models)

    def _score(
        self, task: Task, model: Any, candidate: Candidate, job: Job, places: Sequence[int]
    ) -> dict[str, float]:
        items = [task.items[job.split][place] for place in places]
        subject = model if task.evaluator.subject == "model" else candidate.recipe.to_document()
        scores = task.evaluator.evaluate(subject, items)
        return {item.key: score for item, score in zip(items, scores, strict=True)}
