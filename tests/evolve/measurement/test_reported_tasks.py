"""What is reported on: which items, which of them under a limit, and what is without effect."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evomerge.errors import ConfigError, EvaluationError, EvoMergeException
from evomerge.evaluation.lm_eval_harness import LmEval
from evomerge.evolve.measurement.reported_tasks import find_tasks

WriteTasks = Callable[..., str]
Options = dict[str, Any]


def test_a_run_file_is_measured_on_its_test_items(write_tasks: WriteTasks) -> None:
    tasks = find_tasks([write_tasks(items={"test": 25})])
    again = find_tasks([write_tasks(items={"test": 25}, seed=1)])
    assert [task.name for task in tasks] == ["reverse", "sort"]
    for task, other in zip(tasks, again, strict=True):
        assert len(task.items["test"]) == 25
        assert task.items["test"] != other.items["test"]
        assert all(item.fields["split"] == "test" for item in task.items["test"])


def test_a_limit_draws_by_seed_and_not_the_first(write_tasks: WriteTasks) -> None:
    whole = find_tasks([write_tasks()])[0].items["test"]
    here = find_tasks([write_tasks()], limit=20)[0].items["test"]
    there = find_tasks([write_tasks()], limit=20, seed=1)[0].items["test"]
    assert here == find_tasks([write_tasks()], limit=20)[0].items["test"]
    assert len(set(map(id, here))) == len(here) == 20
    places = [[i.key for i in whole].index(item.key) for item in here]
    assert places == sorted(places)
    assert places != list(range(20))
    assert here != there
    assert find_tasks([write_tasks()], limit=10**6)[0].items["test"] == whole


def test_a_task_is_asked_for_once(write_tasks: WriteTasks, tmp_path: Path) -> None:
    file = write_tasks()
    assert len(find_tasks([file, file])) == 2
    twin = tmp_path / "twin.yml"
    twin.write_text(Path(file).read_text())
    with pytest.raises(EvaluationError, match="task reverse is asked for twice"):
        find_tasks([file, str(twin)])


def test_bad_files_are_told_of_with_every_problem(write_tasks: WriteTasks, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tasks\[0\].evaluator: unknown evaluator 'exact'"):
        find_tasks([write_tasks({"name": "x", "evaluator": "exact", "data": "zoo:sort"})])
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        find_tasks([str(tmp_path / "nowhere.yml")])
    binary = tmp_path / "binary.yml"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match="cannot be read: not UTF-8 text"):
        find_tasks([str(binary)])


def test_unknown_tasks_are_told_of_with_the_nearest_name(options: Options) -> None:
    with pytest.raises(EvoMergeException, match=r"no task 'sort_word' \(did you mean 'sort_words'"):
        find_tasks(["sort_word"], options=options)


def test_what_is_said_on_the_command_line_holds_for_run_files_too(
    write_tasks: WriteTasks, options: Options, caplog: pytest.LogCaptureFixture
) -> None:
    file = write_tasks({"name": "yes_no"}, **options)
    said = {"scorer": "harness", "num_fewshot": 2, "batch_size": 3}
    [task] = find_tasks([file], options=said)
    assert isinstance(task.evaluator, LmEval)
    assert task.evaluator.scorer == "harness"
    assert task.evaluator._batch_size == 3
    assert task.evaluator.description["num_fewshot"] == 2
    assert not caplog.records


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_options_of_the_harness_are_idle_without_its_tasks(
    write_tasks: WriteTasks, caplog: pytest.LogCaptureFixture
) -> None:
    find_tasks([write_tasks()], options={"num_fewshot": 2, "batch_size": 3})
    [warning] = warnings(caplog)
    assert warning.startswith("num_fewshot, batch_size: without effect, no task here is lm-eval")


def test_the_own_scorer_has_no_batch_size(
    options: Options, caplog: pytest.LogCaptureFixture
) -> None:
    find_tasks(["yes_no"], options={**options, "batch_size": 3})
    [warning] = warnings(caplog)
    assert warning == "batch_size: without effect on the own scorer, which batches by length"


def test_a_task_that_says_how_many_examples_is_named(
    write_tasks: WriteTasks, options: Options, caplog: pytest.LogCaptureFixture
) -> None:
    tasks = ({"name": "yes_no", "num_fewshot": 1}, {"name": "sort_words", "metric": "exact_match"})
    find_tasks([write_tasks(*tasks, **options)], options={"num_fewshot": 2})
    [warning] = warnings(caplog)
    assert warning == "num_fewshot: 2 without effect on yes_no: run file or YAML say otherwise"


def test_members_are_measured_by_what_their_group_sums_up(options: Options, tmp_path: Path) -> None:
    group = {"group": "pair", "task": ["reverse_choice", "yes_no"]}
    lists = {"norm": [{"metric": "acc_norm", "filter_list": "none"}], "none": None}
    for name, aggregates in lists.items():
        group |= {"group": name, "aggregate_metric_list": aggregates}
        (tmp_path / f"{name}.yaml").write_text(json.dumps(group))
    folders = {"task_search_path": [*options["task_search_path"], str(tmp_path)]}
    for name, metrics in {"norm": ["acc_norm", "acc"], "none": ["acc", "acc"]}.items():
        tasks = find_tasks([name], options=folders)
        assert [task.evaluator.description["metric"] for task in tasks] == metrics
