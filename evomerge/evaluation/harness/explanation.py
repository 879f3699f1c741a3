"""What went wrong in a task that the harness cannot make: its exceptions, said so that one can act.

A task's functions are a stranger's and may raise anything; of its YAML and data the harness notices
most faults late, by a KeyError without words.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from evomerge.errors import EvaluationError, describe
from evomerge.evaluation.harness.catalogue import Entry
from evomerge.registry import suggest

NEEDED = ("dataset_path", "doc_to_text", "doc_to_target")
SPLITS = ("training_split", "validation_split", "test_split", "fewshot_split")


@contextmanager
def explained(entry: Entry) -> Iterator[None]:
    """Turn whatever is raised while a task is made or read into one sentence.

    Raises:
        EvaluationError: naming the task, the reason and the folder of its YAML file.
    """
    try:
        yield
    except EvaluationError:
        raise
    except (Exception, SystemExit) as error:
        raise EvaluationError(
            f"task {entry.name}: the harness cannot make it: {_explain(error, entry.config)}",
            f"Check its YAML file in {entry.folder} and its data",
        ) from error


@contextmanager
def ungraded(entry: Entry) -> Iterator[None]:
    """Turn whatever a task raises at an answer into one sentence.

    Raises:
        EvaluationError: naming the task, the reason and the folder of its YAML file.
    """
    try:
        yield
    except EvaluationError:
        raise
    except (Exception, SystemExit) as error:
        raise EvaluationError(
            f"task {entry.name}: the harness cannot grade an answer: {describe(error)}",
            f"Check doc_to_target and metric_list in its YAML file in {entry.folder}",
        ) from error


def _explain(error: BaseException, config: Mapping[str, Any]) -> str:
    if type(error).__name__ == "DatasetGenerationError" and error.__cause__ is not None:
        error = error.__cause__  # it says only that there was one
    said = next(iter(str(error).splitlines()), "")
    chosen = ("doc_to_choice",) if config.get("output_type") == "multiple_choice" else ()
    missing = [key for key in (*NEEDED, *chosen) if config.get(key) is None]
    splits = {str(config.get(key)) for key in SPLITS}
    if isinstance(error, StopIteration) or "out of bounds for size 0" in said:
        return "a split is empty"
    if isinstance(error, KeyError) and error.args and str(error.args[0]) in splits - {"None"}:
        return f"its data have no split {error.args[0]!r}"
    if isinstance(error, IndexError) and chosen and said == "list index out of range":
        return "the target of its first question is no index of its choices"
    if isinstance(error, TypeError) and missing:
        return f"it has no {' and no '.join(missing)}"
    if isinstance(error, KeyError) and (unknown := _unknown_metric(config)):
        return unknown
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _unknown_metric(config: Mapping[str, Any]) -> str:
    """Say which metric the harness does not know; empty where it knows all of them."""
    from lm_eval.api.registry import METRIC_REGISTRY

    stated = config.get("metric_list")
    entries = [entry for entry in stated or () if isinstance(entry, Mapping)]
    known = [str(name) for name in METRIC_REGISTRY]
    for metric in (entry.get("metric") for entry in entries):
        if isinstance(metric, str) and metric not in known:
            return f"it asks for the metric {metric!r}, which is unknown{suggest(metric, known)}"
    return ""
