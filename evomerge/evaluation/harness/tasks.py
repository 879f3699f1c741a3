"""A task of the harness: built once, its documents by split, its examples for every question."""

import inspect
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any

from evomerge.errors import EvaluationError
from evomerge.evaluation.harness.catalogue import Entry
from evomerge.evaluation.harness.data_sets import from_cache, place_data
from evomerge.evaluation.harness.documents import SEED, split_documents
from evomerge.evaluation.harness.explanation import explained

STRUCTURE = ("tag", "group", "task_list")
GREEDY = {"until", "do_sample", "temperature", "top_p", "top_k", "max_gen_toks"}
"""Generation arguments that greedy search heeds, or may pass over."""


def build_task(entry: Entry, num_fewshot: int | None, gen_kwargs: Mapping[str, Any] | None) -> Any:
    """Make the harness' task object and load its documents.

    Args:
        entry: its configuration.
        num_fewshot: examples before every question; a task that says 0 keeps it.
        gen_kwargs: set beside, and instead of, the task's own generation arguments.

    Raises:
        EvaluationError: the data set is out of reach, a split is missing or empty, or the harness
            cannot make the task.
    """
    kind = entry.config.get("class")
    stated = {"dataset_path": getattr(kind, "DATASET_PATH", None)} if kind else {}
    config = place_data(entry.name, {**stated, **entry.config}, entry.folder)
    settings = {key: value for key, value in config.items() if key not in STRUCTURE}
    with explained(entry):
        with from_cache(config):
            task = _make(kind, settings)
        if gen_kwargs and task.get_config("output_type") == "generate_until":
            task.set_config(key="generation_kwargs", value=dict(gen_kwargs), update=True)
        _check_documents(entry.name, task)
        _check_parts(kind, task)
    own = task.get_config("num_fewshot")
    shots = own if num_fewshot is None or own == 0 else num_fewshot
    if type(shots or 0) is not int or (shots or 0) < 0:
        raise EvaluationError(f"task {entry.name}: num_fewshot is {shots!r}", "Make it 0 or more")
    task.set_config(key="num_fewshot", value=shots or 0)
    return task


def _make(kind: Any, settings: dict[str, Any]) -> Any:
    from lm_eval.api.task import ConfigurableTask

    if kind is None:
        return ConfigurableTask(config=settings)
    takes_config = "config" in inspect.signature(kind.__init__).parameters
    return kind(config=settings) if takes_config else kind()


def _check_documents(name: str, task: Any) -> None:
    for split, documents in split_documents(task).items():
        if not len(documents):
            raise EvaluationError(f"task {name}: its {split} split is empty", "Check its data")


def _check_parts(kind: Any, task: Any) -> None:
    """Make now what the harness makes when the first answers are there."""
    if kind is None and task.OUTPUT_TYPE == "multiple_choice":
        task.doc_to_choice(task.task_docs[0])
    for ensemble in task._filters:
        for part in ensemble.filters:
            part()


class Examples:
    """The examples before every question of a split, drawn as the harness draws them.

    The harness draws for one question after the other with one generator. So it is done here, for
    all questions of a split, whichever of them are asked: a question has the same examples in every
    run, and those that the harness would give it. Unlike there, a question never stands among its
    own examples.

    Args:
        name: of the task.
        task: the harness' task.
        documents: of one split, in order.
        pool: what to draw from; as the task has it, if absent.

    Raises:
        EvaluationError: there are fewer examples than the task asks for.
    """

    def __init__(
        self, name: str, task: Any, documents: Sequence[Any], pool: Sequence[Any] | None = None
    ) -> None:
        self._task = task
        self._drawn: list[list[Any]] | None = None
        count = task.get_config("num_fewshot")
        if not count or not hasattr(task, "sampler"):
            return
        task.set_fewshot_seed(SEED)
        sampler = task.sampler
        if pool is not None:
            sampler = copy(sampler)
            sampler.df, sampler.fewshot_indices = list(pool), None
        pool = list(sampler.fewshot_docs())
        if len(pool) <= count:
            raise EvaluationError(
                f"task {name}: num_fewshot is {count}, but there are {len(pool)} documents to draw",
                "Ask for fewer, and at least one less than there are",
            )
        apart = sampler is not task.sampler or task.fewshot_cfg.split != task.config.test_split
        self._drawn = [
            _without(document, sampler.sample(count, None if apart else document), pool)
            for document in documents
        ]

    @contextmanager
    def of(self, place: int) -> Iterator[None]:
        """Let the task give the examples of one question, by its place in the split."""
        if self._drawn is None:
            self._task.set_fewshot_seed(SEED + place)  # tasks that are classes draw by themselves
            yield
            return
        before = self._task.sampler
        self._task.sampler = _Drawn(self._drawn[place])
        try:
            yield
        finally:
            self._task.sampler = before


class _Drawn:
    """What the harness takes for a sampler."""

    def __init__(self, examples: list[Any]) -> None:
        self._examples = examples

    def sample(self, n: int, eval_doc: Any = None, df: Any = None) -> list[Any]:
        """Return what was drawn."""
        del n, eval_doc, df
        return self._examples


def _without(document: Any, examples: Sequence[Any], pool: Sequence[Any]) -> list[Any]:
    """Replace a question among its own examples by another document of the pool."""
    kept = [example for example in examples if example != document]
    if len(kept) < len(examples):
        spare = [other for other in pool if other != document and other not in kept]
        kept += random.Random(SEED).sample(spare, min(len(spare), len(examples) - len(kept)))
    return kept


def check_kind(name: str, task: Any, *, confirm_run_unsafe_code: bool) -> None:
    """Check that a task is one for language models and runs no foreign code unasked.

    Raises:
        EvaluationError: it is not, or it does.
    """
    if getattr(task, "MULTIMODAL", False):
        raise EvaluationError(f"task {name} asks about images or sound", "Take one of text alone")
    if getattr(task, "UNSAFE_CODE", False) and not confirm_run_unsafe_code:
        raise EvaluationError(
            f"task {name} runs code that the model has written, on this machine",
            "If that is wanted: confirm_run_unsafe_code: true",
        )


def check_generation(name: str, task: Any) -> None:
    """Check that our own scorer can generate what a task asks for.

    Raises:
        EvaluationError: it asks for more than greedy search.
    """
    arguments = task.get_config("generation_kwargs")
    if task.get_config("output_type") != "generate_until" or not arguments:
        return
    try:
        greedy_arguments(arguments)
    except EvaluationError as error:
        raise EvaluationError(f"task {name}: {error.what}", error.hint) from None


def greedy_arguments(arguments: Mapping[str, Any], default: int = 256) -> dict[str, Any]:
    """Return generation arguments as the harness normalises them.

    Args:
        arguments: as the task states them.
        default: most new tokens, where it states none.

    Raises:
        EvaluationError: they ask for more than greedy search.
    """
    from lm_eval.models.utils import normalize_gen_kwargs

    found = dict(normalize_gen_kwargs(dict(arguments), default))
    asked = ["do_sample"] if found.get("do_sample") else []
    asked += sorted(set(found) - GREEDY)
    if asked:
        raise EvaluationError(
            f"generation with {asked[0]}: {found[asked[0]]} is not greedy",
            "Leave it out, or let the harness generate with scorer: harness",
        )
    return found
