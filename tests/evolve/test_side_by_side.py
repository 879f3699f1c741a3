"""Models measured on the same items: what is used, what is compared, what is written down."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evomerge.errors import ConfigError, EvaluationError, EvoMergeException
from evomerge.evaluation.lm_eval_harness import LmEval
from evomerge.evolve.comparison import Estimate
from evomerge.evolve.reported_tasks import find_tasks
from evomerge.evolve.results_file import name_file, write_results
from evomerge.evolve.side_by_side import SideBySide, measure
from evomerge.statistics import mean_interval, wilson_interval

HARNESS_TASKS = str(Path(__file__).parents[1] / "evaluation" / "tasks")
OPTIONS = {"task_search_path": [HARNESS_TASKS]}
WriteTasks = Callable[..., str]
needs_harness = pytest.mark.skipif(
    not __import__("importlib.util").util.find_spec("lm_eval"),
    reason="the harness is an extra: pip install '.[eval]'",
)


@pytest.fixture
def write_tasks(tmp_path: Path) -> WriteTasks:
    """Return write(*tasks, **keys) -> file of tasks of the zoo, by default reverse and sort."""

    def write(*tasks: dict[str, Any], **keys: Any) -> str:
        zoo = [
            {"name": n, "evaluator": "exact_match", "data": f"zoo:{n}", "max_new_tokens": 12}
            for n in ("reverse", "sort")
        ]
        file = tmp_path / "tasks.yml"
        file.write_text(json.dumps({"tasks": [*tasks] or zoo, **keys}))
        return str(file)

    return write


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> SideBySide:
    """Return two specialists measured on 30 items each of what they were trained for."""
    file = tmp_path_factory.mktemp("tasks") / "tasks.yml"
    tasks = [
        {"name": n, "evaluator": "exact_match", "data": f"zoo:{n}", "max_new_tokens": 12}
        for n in ("reverse", "sort")
    ]
    file.write_text(json.dumps({"tasks": tasks}))
    return measure(["zoo:reverse", "zoo:sort"], [str(file)], limit=30)


def test_every_model_meets_the_same_items_and_gets_an_interval(found: SideBySide) -> None:
    reverse, sort = found.lines
    assert (reverse.label, sort.label) == ("zoo:reverse", "zoo:sort")
    for line, model in zip(found.lines, found.models, strict=True):
        for name, estimate in line.tasks.items():
            values = list(model.scores[name].values())
            assert len(values) == 30
            assert estimate == Estimate(float(np.mean(values)), *mean_interval(values))
    assert reverse.tasks["reverse"].mean > sort.tasks["reverse"].mean
    assert reverse.tasks["sort"].mean < sort.tasks["sort"].mean


def test_every_task_is_compared_alone_too(found: SideBySide) -> None:
    for task in found.tasks:
        first, other = found.by_task[task.name]
        assert (first.p_value, first.difference) == (None, None)
        ours, theirs = (list(m.scores[task.name].values()) for m in found.models)
        assert other.wins == sum(a > b for a, b in zip(ours, theirs, strict=True))
        assert other.losses == sum(a < b for a, b in zip(ours, theirs, strict=True))
        assert other.p_value is not None
        assert other.p_value < 0.05
    assert found.lines[1].wins == sum(lines[1].wins for lines in found.by_task.values())


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


def test_bad_input_is_found_before_any_model_is_loaded(
    write_tasks: WriteTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evomerge.evolve import contestants

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(contestants, "load_folder", refuse)
    with pytest.raises(EvoMergeException, match="the zoo has no model"):
        measure(["zoo:sort", "zoo:nobody"], [write_tasks()])
    with pytest.raises(EvoMergeException, match="the zoo has no items 'sorts'"):
        measure(["zoo:sort"], [write_tasks({"name": "x", "evaluator": "exact_match",
                                            "data": "zoo:sorts"})])  # fmt: skip


JUDGE = """
def moody(model, items):
    if "{name}" in str(model.module.config._name_or_path):
        raise RuntimeError("not this one")
    return [0.25] * len(items)
"""


def test_one_model_that_fails_does_not_take_the_others_down(
    write_tasks: WriteTasks, tmp_path: Path
) -> None:
    judge = tmp_path / "judge.py"
    judge.write_text(JUDGE.format(name="reverse"))
    task = {"name": "mood", "evaluator": "python_function", "data": "zoo:sort"}
    file = write_tasks({**task, "function": f"{judge}:moody"}, items={"test": 8})
    found = measure(["zoo:sort", "zoo:reverse", "zoo:base"], [file])
    assert [bool(model.failure) for model in found.models] == [False, True, False]
    assert "not this one" in found.lines[1].failure
    assert found.lines[2].tasks["mood"] == Estimate(0.25, *wilson_interval(0.25, 8))
    assert [doc["model_name"] for doc in write_results(found)] == ["zoo:sort", "zoo:base"]
    with pytest.raises(EvaluationError, match="zoo:reverse: RuntimeError: not this one"):
        measure(["zoo:reverse", "zoo:sort"], [file])


def test_recipes_are_judged_without_a_model(write_tasks: WriteTasks, tmp_path: Path) -> None:
    judge = tmp_path / "judge.py"
    judge.write_text(
        "def count(recipe, items):\n    return [float(len(recipe['models']))] * len(items)\n"
    )
    task = {"name": "models", "evaluator": "python_function", "data": "zoo:sort"}
    file = write_tasks({**task, "function": f"{judge}:count", "subject": "recipe"})
    found = measure(["zoo:sort", "ties"], [file], limit=3)
    assert [line.tasks["models"].mean for line in found.lines] == [1.0, 3.0]


def test_results_stand_where_the_harness_puts_them(found: SideBySide) -> None:
    document = write_results(found)[1]
    scores = np.array(list(found.models[1].scores["sort"].values()))
    assert document["results"]["sort"] == {
        "alias": "sort",
        "score,none": pytest.approx(scores.mean()),
        "score_stderr,none": pytest.approx(scores.std(ddof=1) / math.sqrt(30)),
    }
    assert document["n-samples"]["sort"]["effective"] == 30
    assert document["n-samples"]["sort"]["original"] > 30
    assert document["higher_is_better"] == {"reverse": {"score": True}, "sort": {"score": True}}
    assert document["config"]["model_args"] == "pretrained=zoo:sort"
    own = document["evomerge"]
    assert own["compared_with"] == "zoo:reverse"
    assert own["tasks"]["sort"]["p_value"] == found.by_task["sort"][1].p_value
    assert own["overall"]["overall"]["low"] < own["overall"]["overall"]["mean"]
    assert json.loads(json.dumps(document)) == document
    assert name_file(document).startswith("results_20")
    assert ":" not in name_file(document)


@needs_harness
def test_a_task_of_the_harness_is_measured_whole_and_by_all_its_metrics() -> None:
    found = measure(["zoo:reverse"], ["reverse_choice", "prose"], options=OPTIONS)
    choice, prose = found.tasks
    assert len(choice.items["test"]) == 24
    [document] = write_results(found)
    result = document["results"]["reverse_choice"]
    assert {"acc,none", "acc_stderr,none", "acc_norm,none", "brier_score,none"} <= set(result)
    assert document["configs"]["reverse_choice"]["output_type"] == "multiple_choice"
    assert document["versions"]["reverse_choice"] == 1.0
    per_document = document["results"]["prose"]  # the harness' perplexity is another number
    assert "word_perplexity_of_documents,none" in per_document
    assert prose.direction == -1


@needs_harness
def test_all_that_the_harness_reports_is_reported_and_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    from evomerge.checkpoints.loading import load_model, load_tokenizer
    from evomerge.checkpoints.locate import locate

    names = ["reverse_choice", "prose"]
    found = measure(["zoo:reverse"], names, options=OPTIONS, arithmetic="float32")
    [document] = write_results(found)
    folder = locate("zoo:reverse")
    module = load_model(folder, arithmetic="float32")
    model = HFLM(pretrained=module, tokenizer=load_tokenizer(folder), batch_size=8)
    monkeypatch.chdir(HARNESS_TASKS)  # the harness reads data files from where it is started
    manager = TaskManager(include_path=HARNESS_TASKS, include_defaults=False)
    wanted = simple_evaluate(model, tasks=names, task_manager=manager, bootstrap_iters=0)
    assert wanted is not None
    for name in names:
        theirs = {m: v for m, v in wanted["results"][name].items() if ",none" in m}
        ours = document["results"][name]
        numbers = {m: v for m, v in theirs.items() if "_stderr" not in m}
        assert {m: ours[m] for m in numbers} == pytest.approx(numbers, rel=1e-5)
        assert theirs.keys() <= ours.keys()


@needs_harness
def test_what_reads_the_harness_files_reads_ours(found: SideBySide) -> None:
    from lm_eval.utils import make_table

    document = json.loads(json.dumps(write_results(found)[1]))
    table = make_table(document)
    line = next(row for row in table.splitlines() if row.startswith("|sort"))
    cells = [cell.strip() for cell in line.split("|")]
    value = document["results"]["sort"]["score,none"]
    assert f"{value:.4f}" in cells
    assert "score" in cells


@needs_harness
def test_the_harness_own_scorer_gives_the_same_table() -> None:
    tables = [
        measure(["zoo:sort"], ["sort_words", "yes_no"], options={**OPTIONS, "scorer": scorer})
        for scorer in ("own", "harness")
    ]
    assert tables[0].lines == tables[1].lines


@needs_harness
def test_unknown_tasks_are_told_of_with_the_nearest_name() -> None:
    with pytest.raises(EvoMergeException, match=r"no task 'sort_word' \(did you mean 'sort_words'"):
        find_tasks(["sort_word"], options=OPTIONS)


@needs_harness
def test_what_is_said_on_the_command_line_holds_for_run_files_too(write_tasks: WriteTasks) -> None:
    file = write_tasks({"name": "yes_no"}, task_search_path=[HARNESS_TASKS])
    [task] = find_tasks([file], options={"scorer": "harness", "num_fewshot": 2})
    assert isinstance(task.evaluator, LmEval)
    assert task.evaluator.scorer == "harness"
    assert task.evaluator.description["num_fewshot"] == 2
