"""A group of the harness: what stands below it, and one number for all of that.

https://github.com/EleutherAI/lm-evaluation-harness/blob/main/docs/new_task_guide.md
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from evomerge.errors import EvaluationError, describe


@dataclass(frozen=True)
class Grouping:
    """A group as its YAML says.

    Attributes:
        name: of the group; `outer::inner` where it is written down within another one.
        alias: what people call it.
        version: as its metadata say, or 'N/A'.
        members: names of the tasks and groups right below it.
        aggregates: how it sums up the tasks below it: `metric`, `filter_list`, `weight_by_size`.
    """

    name: str
    alias: str
    version: str
    members: tuple[str, ...]
    aggregates: tuple[Mapping[str, Any], ...]


def read_grouping(name: str, group: Mapping[str, Any], members: Sequence[str]) -> Grouping:
    """Read what a group's YAML says of the group itself.

    Args:
        name: of the group.
        group: its keys and values.
        members: names of the tasks and groups right below it.

    Raises:
        EvaluationError: the harness does not know how to sum up like that.
    """
    from lm_eval.config.group import AggMetricConfig

    stated = group.get("aggregate_metric_list") or ()
    aggregates = listed(name, "aggregate_metric_list", stated, Mapping)
    try:
        [AggMetricConfig(**entry) for entry in aggregates]
    except (TypeError, ValueError) as error:
        raise EvaluationError(
            f"task group {name}: aggregate_metric_list: {describe(error)}", "Mend its YAML file"
        ) from error
    metadata = group.get("metadata")
    version = metadata.get("version") if isinstance(metadata, Mapping) else None
    return Grouping(
        name,
        str(group.get("group_alias") or name),
        "N/A" if version is None else str(version),
        tuple(dict.fromkeys(members)),
        tuple(aggregates),
    )


def listed(group: str, key: str, value: Any, kinds: Any) -> list[Any]:
    """Return what a group lists under a key, which may be one thing alone.

    Raises:
        EvaluationError: it is no list of these kinds.
    """
    found = [value] if isinstance(value, kinds) else value
    if not isinstance(found, (list, tuple)) or not all(isinstance(v, kinds) for v in found):
        raise EvaluationError(
            f"task group {group}: {key} is {value!r:.60}", "Make it a list, one entry for each"
        )
    return list(found)


def sum_up_group(
    group: Grouping, leaves: Sequence[str], results: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what the harness reports of a group, by the harness' own arithmetic.

    Tasks count by the number of documents asked, or alike with `weight_by_size: false`.

    Args:
        group: as its YAML says.
        leaves: names of all tasks below it.
        results: task -> what is reported of it: `metric,filter`, `metric_stderr,filter`,
            `sample_len`.
    """
    from lm_eval.api.group import Group
    from lm_eval.config.group import AggMetricConfig

    aggregates = [AggMetricConfig(**entry) for entry in group.aggregates]
    total: Any = Group(group.name, group.alias, aggregates)
    total.get_all_tasks = lambda: [SimpleNamespace(task_name=name) for name in leaves]
    found: Mapping[str, Any] = total.aggregate(results)
    return {name: v.item() if hasattr(v, "item") else v for name, v in found.items()}
