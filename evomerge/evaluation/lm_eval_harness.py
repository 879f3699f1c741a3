"""Tasks of lm-evaluation-harness (Gao et al., 2023), asked of the model that is in memory.

https://zenodo.org/records/12608602

Task, data, prompts, filters and metrics are the harness' own; what computes is our scorer, or the
harness' transformers model with `scorer: harness`. Requests and token ids are made once, kept per
tokenizer, and asked of every candidate again. Nothing reads or sets a global generator: the
harness' `evaluate` functions, which do, are never called; nor are its caches, which cannot tell
candidates apart.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal
from weakref import WeakKeyDictionary

from evomerge.errors import EvaluationError
from evomerge.evaluation.base import Evaluator
from evomerge.evaluation.harness.catalogue import Catalogue, Entry, Listing
from evomerge.evaluation.harness.data_sets import is_public
from evomerge.evaluation.harness.documents import (
    SEED,
    TRAIN,
    check_targets,
    divide_training,
    find_search_split,
    read_question,
    split_documents,
)
from evomerge.evaluation.harness.explanation import explained, ungraded
from evomerge.evaluation.harness.groups import find_shares, pick_task
from evomerge.evaluation.harness.installation import harness_version, plain, require_harness
from evomerge.evaluation.harness.metrics import (
    DEFAULT,
    Metric,
    check_metric,
    choose_metric,
    collect,
    find_metrics,
    sum_up,
)
from evomerge.evaluation.harness.requests import (
    Prompting,
    Requests,
    ask,
    hash_question,
    hash_tokenizer,
)
from evomerge.evaluation.harness.tasks import (
    Examples,
    build_task,
    check_generation,
    check_kind,
)
from evomerge.evaluation.task import SEARCH_AND_VALIDATION, question
from evomerge.records import Item


class LmEval(Evaluator):
    """Scores by a task of lm-evaluation-harness: built-in, or from the user's own task folders.

    Accuracy, exact match and other metrics that the harness averages over documents are what they
    are there. Of the perplexity family a document's own number is used: nats per word or byte, bits
    per byte (nats for `perplexity`), whose mean over documents is averaged. BLEU, chrF and TER are
    taken sentence by sentence. What exists for all documents together only (F1, Matthews'
    correlation) is refused.

    With a validation and a test split, the search gets the first; with one and a train split of at
    least 100 documents, that, less a tenth where examples are drawn from it, too; else all is
    divided.

    Args:
        task: name of the task, the group or the tag; the name in the run file, if absent.
        group: the group that hands its settings down to `task`.
        metric: `metric,filter` as the harness reports it, or `metric` alone; null for what the
            group sums up, or accuracy, or the first metric, whichever the task gives.
        num_fewshot: examples before every question; the task's own number, if absent.
        fewshot_as_multiturn: within a chat template, examples are turns of their own.
        apply_chat_template: yes, no, or `auto`: where the tokenizer has one.
        system_instruction: said before everything else.
        gen_kwargs: generation arguments beside the task's own, a mapping or `key=value,…`.
        task_search_path: folders with tasks of the user's.
        scorer: `own`, or `harness` for its transformers model (slower, the same numbers).
        batch_size: questions that the harness' model computes at once.
        confirm_run_unsafe_code: let a task run code that the model has written.
    """

    paths: ClassVar[tuple[str, ...]] = ("task_search_path",)

    def __init__(  # noqa: PLR0913 - the harness' own options, under its own names
        self,
        task: str,
        *,
        group: str | None = None,
        metric: str | None = DEFAULT,
        num_fewshot: int | None = None,
        fewshot_as_multiturn: bool = True,
        apply_chat_template: bool | Literal["auto"] = False,
        system_instruction: str | None = None,
        gen_kwargs: dict[str, Any] | str | None = None,
        task_search_path: list[str] | None = None,
        scorer: Literal["own", "harness"] = "own",
        batch_size: int = 16,
        confirm_run_unsafe_code: bool = False,
    ) -> None:
        require_harness()
        if num_fewshot is not None and num_fewshot < 0:
            raise ValueError("num_fewshot must be 0 or more")
        listing = _find(group or task, task_search_path)
        entry = pick_task(task, listing)
        arguments = _read_arguments(gen_kwargs)
        self.name, self.scorer, self._batch_size = entry.name, scorer, batch_size
        self._task = build_task(entry, num_fewshot, arguments)
        self._entry, self._groups = entry, listing.groups
        check_kind(entry.name, self._task, confirm_run_unsafe_code=confirm_run_unsafe_code)
        if scorer == "own":
            check_generation(entry.name, self._task)
        self.metric = choose_metric(entry.name, self._task, metric, listing.metrics)
        self.higher_is_better = self.metric.higher_is_better
        self.identity = _identify(entry, self._task)
        with explained(entry):
            self._documents = {s: list(found) for s, found in split_documents(self._task).items()}
            self.search_split = find_search_split(self._task)
            self._examples = {
                split: Examples(entry.name, self._task, found)
                for split, found in self._documents.items()
            }
        self._prompting = Prompting(system_instruction, apply_chat_template, fewshot_as_multiturn)
        self.published = _published(entry) if self.search_split == self.reporting_split else ""
        self._requests: dict[str, Requests] = {}
        self._asked: list[list[Any]] = []
        self._tokenizers: WeakKeyDictionary[Any, str] = WeakKeyDictionary()

    @classmethod
    def parts(cls, task: str, options: Mapping[str, Any]) -> Mapping[str, float]:
        """Return a group's members with their shares, as the group's own aggregation has them.

        Raises:
            EvaluationError: there is no such task, or one does not list the metric; no data are
                read to find out.
        """
        require_harness()
        name = options.get("task", task)
        listing = _find(name, options.get("task_search_path"))
        for entry in listing.tasks:
            check_metric(entry.name, entry.config, options.get("metric", DEFAULT))
        if [entry.name for entry in listing.tasks] == [name]:
            return {task: 1.0}
        return find_shares(listing, options.get("metric") or (*listing.metrics, DEFAULT)[0])

    @property
    def reporting_split(self) -> str:
        """Return the split on which the harness reports: 'test', or else 'validation'."""
        return "test" if "test" in self._documents else "validation"

    @property
    def description(self) -> dict[str, Any]:
        """Return what the harness' own results file says of a task."""
        return {
            "alias": self._task.get_config("task_alias") or self.name,
            "version": self._task.VERSION,
            "num_fewshot": self._task.get_config("num_fewshot"),
            "metric": self.metric.name,
            "filter": self.metric.filter,
            "higher_is_better": self.metric.higher_is_better,
            "original": len(self._documents[self.reporting_split]),
            "aggregations": {n: m.aggregation for n, m in find_metrics(self._task).items()},
            "directions": dict(self._task.higher_is_better()),
            "filters": len(self._task._filters),
            "groups": self._groups,
            "prompting": self._prompting,
            "config": plain(self._task.dump_config()),
        }

    def documents(self) -> Mapping[str | None, Sequence[Mapping[str, Any]]]:
        """Return the documents by split; of a question in both, the test split keeps it."""
        reported = self.reported()
        if self.search_split == self.reporting_split:
            return {None: reported}
        if self.search_split not in self._documents:
            with explained(self._entry):
                asked, shown = divide_training(self._task)
                self._documents[TRAIN] = asked
                self._examples[TRAIN] = Examples(self.name, self._task, asked, shown)
        tested = {question(fields) for fields in reported}
        found = self._fields(self.search_split)
        fresh = [fields for fields in found if question(fields) not in tested]
        return {SEARCH_AND_VALIDATION: fresh, "test": reported}

    def reported(self) -> list[dict[str, Any]]:
        """Return the documents on which the harness reports, in its order."""
        return self._fields(self.reporting_split)

    def _fields(self, split: str) -> list[dict[str, Any]]:
        with explained(self._entry):
            found = [
                {**read_question(self._task, document), "place": f"{split}:{place}"}
                for place, document in enumerate(self._documents[split])
            ]
        check_targets(self.name, self._task, found)
        return found

    def _score(self, subject: Any, items: Sequence[Item]) -> list[float]:
        requests = self._requests_for(subject.tokenizer)
        model = self._harness_model(subject, requests)
        questions = [
            requests.of(split, int(place), model)
            for split, _, place in (item.fields["place"].partition(":") for item in items)
        ]
        instances = [instance for question in questions for instance in question]
        self._ask(model, instances)
        self._asked = questions
        self._filter(self.metric.filter, instances)
        return [self._grade(self.metric, question) for question in questions]

    @property
    def noted(self) -> dict[str, list[float]]:
        """Return 'metric,filter' -> a number per item, for the items that were scored last."""
        found = find_metrics(self._task)
        self._filter_all()
        return {
            name: [self._grade(metric, question) for question in self._asked]
            for name, metric in found.items()
        }

    @property
    def graded(self) -> dict[str, list[Any]]:
        """Return 'metric,filter' -> what the task made of each item that was scored last."""
        self._filter_all()
        return collect(self._task, self._asked)

    @property
    def hashes(self) -> list[str]:
        """Return the harness' hashes of what was asked for each item that was scored last."""
        return [hash_question(self._task, question) for question in self._asked]

    def sum_up(self, graded: Mapping[str, Sequence[Any]]) -> dict[str, float]:
        """Return 'metric,filter' -> the harness' own number for all these items together."""
        return sum_up(self._task, graded)

    def _requests_for(self, tokenizer: Any) -> Requests:
        if tokenizer not in self._tokenizers:
            self._tokenizers[tokenizer] = hash_tokenizer(tokenizer)
        fresh = Requests(self._task, self._documents, self._examples, self._prompting)
        return self._requests.setdefault(self._tokenizers[tokenizer], fresh)

    def _harness_model(self, subject: Any, requests: Requests) -> Any:
        from evomerge.evaluation.harness.language_model import HarnessModel, OwnModel

        if self.scorer == "own":
            return OwnModel(subject, requests.tokens)
        return HarnessModel(
            pretrained=subject.module, tokenizer=subject.tokenizer, batch_size=self._batch_size
        )

    def _ask(self, model: Any, instances: Sequence[Any]) -> None:
        if self.scorer == "own":
            ask(model, instances)
            return
        import torch

        with torch.random.fork_rng():  # it may sample
            torch.manual_seed(SEED)
            ask(model, instances)

    def _filter(self, name: str, instances: Sequence[Any]) -> None:
        """Pass answers through a filter; tell the audit where an extracting one found nothing."""
        ensemble = next(f for f in self._task._filters if f.name == name)
        ensemble.apply(instances)
        failures = [f for part in ensemble.filters if (f := getattr(part(), "fallback", None))]
        for instance in instances if failures and name == self.metric.filter else ():
            self.audit.note_extraction(instance.filtered_resps[name] not in failures)

    def _filter_all(self) -> None:
        """Pass the answers given last through the filters that they have not passed yet."""
        for ensemble in self._task._filters:
            if ensemble.name != self.metric.filter:
                self._filter(ensemble.name, [one for question in self._asked for one in question])

    def _grade(self, metric: Metric, question: Sequence[Any]) -> float:
        answers = [instance.filtered_resps[metric.filter] for instance in question]
        if any(_is_broken(answer) for answer in answers):
            return math.nan  # a broken model gives no answer, not the first choice
        with ungraded(self._entry):
            found = self._task.process_results(question[0].doc, answers)
            if metric.name in found:
                return metric.of_item(found[metric.name], self._task.aggregation()[metric.name])
        raise EvaluationError(
            f"task {self.name} gave no {metric.name!r} for a document",
            f"It gave {', '.join(found)}",
        )


def _find(name: str, search_path: Sequence[str] | None) -> Listing:
    return Catalogue(search_path or ()).find(name)


def _read_arguments(stated: dict[str, Any] | str | None) -> dict[str, Any]:
    if not isinstance(stated, str):
        return dict(stated or {})
    from lm_eval.utils import simple_parse_args_string

    return dict(simple_parse_args_string(stated))


def _identify(entry: Entry, task: Any) -> str:
    """Hash a task's configuration, its functions and the harness' version."""
    values = [plain(entry.config), plain(type(task)), harness_version()]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _published(entry: Entry) -> str:
    if not is_public(entry.config, builtin=entry.builtin):
        return ""
    return str(entry.config.get("dataset_path") or "the harness' own items")


def _is_broken(answer: Any) -> bool:
    """Tell whether a log-likelihood is no number."""
    value = answer[0] if isinstance(answer, tuple) else answer
    return isinstance(value, float) and math.isnan(value)
