"""One number per question, out of metrics that the harness sums up in its own ways."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evomerge.errors import EvaluationError
from evomerge.registry import suggest


@dataclass(frozen=True)
class Metric:
    """A metric as a task gives it.

    Attributes:
        name: 'acc', 'exact_match' ….
        filter: which of the task's filters the answers pass before they are judged.
        aggregation: name under which the harness sums the metric up.
        higher_is_better: its direction.
    """

    name: str
    filter: str
    aggregation: str
    higher_is_better: bool

    def of_item(self, value: Any, aggregate: Callable[[list[Any]], float]) -> float:
        """Return one question's score, given what the task made of its answer.

        Args:
            value: a number, or what the aggregation takes: (log-likelihood, bytes), (gold, answer).
            aggregate: the harness' function for the aggregation.
        """
        rule = RULES[self.aggregation]
        return float(rule(value)) if rule else float(aggregate([value]))


DEFAULT = "acc,none"
RULES: Mapping[str, Callable[[Any], float] | None] = {
    "mean": float,
    "nanmean": float,
    "perplexity": lambda nats: -nats,
    "weighted_perplexity": lambda pair: -pair[0] / pair[1],
    "bits_per_byte": lambda pair: -pair[0] / pair[1] / math.log(2),
    "brier_score": None,
    "bleu": None,
    "chrf": None,
    "chrf++": None,
    "ter": None,
}
"""Aggregation -> a question's own number; None for the aggregation of that question alone."""


def find_metrics(task: Any) -> dict[str, Metric]:
    """Return what a task gives per question, 'metric,filter' -> metric, the first one first."""
    found, directions = {}, task.higher_is_better()
    for name, function in task.aggregation().items():
        aggregation = _spell(function)
        for ensemble in task._filters if aggregation in RULES else ():
            metric = Metric(name, ensemble.name, aggregation, bool(directions[name]))
            found[f"{name},{ensemble.name}"] = metric
    return found


def choose_metric(name: str, task: Any, wanted: str | None) -> Metric:
    """Find a metric among those a task gives.

    Args:
        name: of the task.
        task: the harness' task.
        wanted: 'metric,filter', or 'metric' where the task has one filter (or one called 'none');
            None for accuracy, or else the first metric there is.

    Raises:
        EvaluationError: the task does not give it, or it exists for all questions together only.
    """
    usable = find_metrics(task)
    known = ", ".join(usable) or "none"
    if wanted is None and usable:
        return usable.get(DEFAULT, next(iter(usable.values())))
    if wanted is None:
        given = ", ".join(f"{m} ({_spell(f)})" for m, f in task.aggregation().items())
        raise EvaluationError(
            f"task {name} gives no number per question, only {given or 'nothing'}",
            "Check metric_list in its YAML file",
        )
    metric, _, chosen = (wanted or DEFAULT).partition(",")
    filters = [ensemble.name for ensemble in task._filters]
    full = f"{metric},{chosen or ('none' if 'none' in filters else filters[0])}"
    if full in usable:
        return usable[full]
    if metric in task.aggregation() and (not chosen or chosen in filters):
        raise EvaluationError(
            f"task {name}: {metric!r} exists for all questions together only "
            f"({_spell(task.aggregation()[metric])}), not for each",
            f"Per question it gives {known}",
        )
    raise EvaluationError(
        f"task {name} does not give the metric {wanted!r}{suggest(full, list(usable))}",
        f"It gives {known}",
    )


def collect(task: Any, questions: Sequence[Sequence[Any]]) -> dict[str, list[Any]]:
    """Return 'metric,filter' -> what a task makes of the filtered answers to each question."""
    graded: dict[str, list[Any]] = {}
    for ensemble in task._filters:
        for question in questions:
            answers = [instance.filtered_resps[ensemble.name] for instance in question]
            for name, value in task.process_results(question[0].doc, answers).items():
                graded.setdefault(f"{name},{ensemble.name}", []).append(value)
    return graded


def sum_up(task: Any, graded: Mapping[str, Sequence[Any]]) -> dict[str, float]:
    """Return 'metric,filter' -> one number for all questions, by the harness' own aggregation."""
    functions = task.aggregation()
    known = {full: functions.get(full.partition(",")[0]) for full in graded}
    return {full: _total(made, known[full]) for full, made in graded.items() if known[full]}


def _total(made: Sequence[Any], function: Callable[[list[Any]], float]) -> float:
    try:
        return float(function(list(made)))
    except OverflowError:  # the perplexity of a model that has lost its way
        return math.inf


def _spell(function: Callable[..., Any] | None) -> str:
    """Return the name under which the harness knows an aggregation; else the function's own."""
    from lm_eval.api.registry import AGGREGATION_REGISTRY

    known = {entry: name for name, entry in AGGREGATION_REGISTRY.items()}
    if function is None:
        return "an aggregation that the harness does not know"
    own = getattr(function, "__qualname__", type(function).__name__)
    return str(known.get(function, f"a function {own!r}"))
