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
BRIER = "brier_score"
RULES: Mapping[str, Callable[[Any], float] | None] = {
    "mean": float,
    "nanmean": float,
    "perplexity": lambda nats: -nats,
    "weighted_perplexity": lambda pair: -pair[0] / pair[1],
    "bits_per_byte": lambda pair: -pair[0] / pair[1] / math.log(2),
    BRIER: None,
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
        if aggregation == BRIER and getattr(task, "multiple_target", False):
            continue  # the harness' own number is of arrays that do not fit each other
        for ensemble in task._filters if aggregation in RULES else ():
            metric = Metric(name, ensemble.name, aggregation, bool(directions[name]))
            found[f"{name},{ensemble.name}"] = metric
    return found


def choose_metric(
    name: str, task: Any, wanted: str | None, preferred: Sequence[str] = ()
) -> Metric:
    """Find a metric among those a task gives.

    Args:
        name: of the task.
        task: the harness' task.
        wanted: 'metric,filter', or 'metric' where the task has one filter (or one called 'none');
            None for the first of those preferred, accuracy, and all others, that there is.
        preferred: 'metric,filter', or 'metric' with any filter.

    Raises:
        EvaluationError: the task does not give it, or it exists for all questions together only.
    """
    usable = find_metrics(task)
    known = ", ".join(usable) or "none"
    if wanted is None and usable:
        begun = [f"{like}," for like in (*preferred, DEFAULT)]
        liked = [name for begin in begun for name in usable if f"{name},".startswith(begin)]
        return usable[(liked or list(usable))[0]]
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
        way = _spell(task.aggregation()[metric])
        reason = f"exists for all questions together only ({way}), not for each"
        if way == BRIER:
            reason = f"means nothing where targets are lists ({way} of several right choices)"
        raise EvaluationError(f"task {name}: {metric!r} {reason}", f"Per question it gives {known}")
    raise _not_given(name, full, wanted or DEFAULT, list(usable))


def check_metric(name: str, config: Mapping[str, Any], wanted: str | None) -> None:
    """Check by a task's YAML alone, before its data are read, that it lists a metric.

    What the YAML leaves open (a class, the usual metrics of its kind) is left to `choose_metric`.

    Args:
        name: of the task.
        config: its keys and values.
        wanted: as there.

    Raises:
        EvaluationError: the YAML lists metrics, or filters, and the wanted one is not among them.
    """
    entries = [entry for entry in _mappings(config.get("metric_list")) if "metric" in entry]
    if wanted is None or not entries or config.get("class"):
        return
    metrics = {_name(entry["metric"]): entry.get("aggregation", "mean") for entry in entries}
    filters = [str(part.get("name")) for part in _mappings(config.get("filter_list"))] or ["none"]
    metric, _, chosen = wanted.partition(",")
    if metric not in metrics or (chosen and chosen not in filters):
        usable = [m for m, way in metrics.items() if isinstance(way, str) and way in RULES]
        full = f"{metric},{chosen or filters[0]}"
        raise _not_given(name, full, wanted, [f"{m},{f}" for m in usable for f in filters])


def _mappings(stated: Any) -> list[Mapping[str, Any]]:
    return [e for e in stated if isinstance(e, Mapping)] if isinstance(stated, list) else []


def _name(metric: Any) -> str:
    return metric.__name__ if callable(metric) else str(metric)


def _not_given(name: str, full: str, wanted: str, known: Sequence[str]) -> EvaluationError:
    return EvaluationError(
        f"task {name} does not give the metric {wanted!r}{suggest(full, list(known))}",
        f"It gives {', '.join(known) or 'none'}",
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
