"""What is written down: what the harness writes of the same, and where its readers look."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evomerge.evolve.measurement.results_file import name_file, write_results
from evomerge.evolve.measurement.side_by_side import SideBySide, measure

Options = dict[str, Any]
OF_THE_MACHINE = {"pretty_env_info", "git_hash", "upper_git_hash"}
"""What the harness writes of where it ran; we write nothing of that."""
OF_CHANCE = {"random_seed", "numpy_seed", "torch_seed", "bootstrap_iters"}
"""Global generators and bootstraps, which are not used here."""


def test_results_stand_where_the_harness_puts_them(found: SideBySide) -> None:
    document = write_results(found)[1]
    scores = np.array(list(found.models[1].scores["sort"].values()))
    assert document["results"]["sort"] == {
        "name": "sort",
        "alias": "sort",
        "sample_len": 30,
        "score,none": pytest.approx(scores.mean()),
        "score_stderr,none": pytest.approx(scores.std(ddof=1) / math.sqrt(30)),
    }
    assert document["n-samples"]["sort"]["effective"] == 30
    assert document["n-samples"]["sort"]["original"] > 30
    assert document["higher_is_better"] == {"reverse": {"score": True}, "sort": {"score": True}}
    assert document["config"]["model_args"] == {"pretrained": "zoo:sort"}
    assert document["config"]["model_dtype"] == found.models[1].facts["model_dtype"]
    own = document["evomerge"]
    assert own["compared_with"] == "zoo:reverse"
    assert own["tasks"]["sort"]["p_value"] == found.by_task["sort"][1].p_value
    assert own["overall"]["score"]["low"] < own["overall"]["score"]["mean"]
    assert json.loads(json.dumps(document)) == document
    assert name_file(document).startswith("results_20")
    assert ":" not in name_file(document)


def test_a_task_of_the_harness_is_measured_whole_and_by_all_its_metrics(
    options: Options,
) -> None:
    found = measure(["zoo:reverse"], ["reverse_choice", "prose"], options=options)
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
    directions = document["higher_is_better"]
    assert directions["reverse_choice"]["brier_score"] is False
    assert directions["prose"]["word_perplexity_of_documents"] is False
    assert document["group_subtasks"] == {}
    assert "groups" not in document


@pytest.fixture(scope="module")
def theirs(options: Options, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the file that the harness itself writes of a group and of a task."""
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    from evomerge.checkpoints.loading import load_model, load_tokenizer
    from evomerge.checkpoints.locate import locate

    folder, out = locate("zoo:reverse"), tmp_path_factory.mktemp("results")
    module = load_model(folder, arithmetic="float32")
    model = HFLM(pretrained=module, tokenizer=load_tokenizer(folder), batch_size=8)
    manager = TaskManager(include_path=options["task_search_path"], include_defaults=False)
    tracker = EvaluationTracker(output_path=str(out))
    with pytest.MonkeyPatch.context() as patch:  # it reads data files from where it is started
        patch.chdir(options["task_search_path"][0])
        patch.setenv("DISABLE_MULTIPROC", "1")
        found = simple_evaluate(
            model,
            model_args={"pretrained": str(folder)},
            tasks=["letters", "prose"],
            task_manager=manager,
            bootstrap_iters=2,
            evaluation_tracker=tracker,
        )
    tracker.save_results_aggregated(found, found.pop("samples"))
    [file] = out.rglob("results_*.json")
    document: dict[str, Any] = json.loads(file.read_text())
    return document


@pytest.fixture(scope="module")
def ours(options: Options) -> dict[str, Any]:
    """Return what we write of the same."""
    found = measure(["zoo:reverse"], ["letters", "prose"], options=options, arithmetic="float32")
    [document] = write_results(found)
    written: dict[str, Any] = json.loads(json.dumps(document))
    return written


def test_all_that_the_harness_writes_is_written(
    theirs: dict[str, Any], ours: dict[str, Any]
) -> None:
    assert theirs.keys() - ours.keys() == OF_THE_MACHINE
    assert theirs["config"].keys() - ours["config"].keys() == OF_CHANCE
    of_tasks = ("results", "groups", "versions", "n-shot", "n-samples", "configs", "task_hashes")
    for section in (*of_tasks, "group_subtasks", "higher_is_better"):
        assert theirs[section].keys() == ours[section].keys(), section
    for section in ("results", "groups", "higher_is_better", "configs"):
        for name, stated in theirs[section].items():
            assert stated.keys() <= ours[section][name].keys(), (section, name)


def test_what_both_write_is_the_same(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    for name, stated in theirs["results"].items():
        bootstrapped = {m for m in stated if m.startswith("mcc_stderr")}
        same = {m: v for m, v in stated.items() if m not in bootstrapped and "_stderr" not in m}
        errors = {m: v for m, v in stated.items() if "_stderr" in m and isinstance(v, float)}
        numbers = {m: v for m, v in (same | errors).items() if isinstance(v, float)}
        assert numbers
        for metric in numbers.keys() - bootstrapped:
            assert ours["results"][name][metric] == pytest.approx(numbers[metric], rel=1e-5)
        for metric in same.keys() - numbers.keys():
            assert ours["results"][name][metric] == same[metric]
    for section in ("group_subtasks", "versions", "n-shot", "n-samples", "task_hashes"):
        assert ours[section] == theirs[section], section
    for name in ("lm_eval_version", "transformers_version", "max_length", "eot_token_id"):
        assert ours[name] == theirs[name]
    for token in ("pad", "eos", "bos"):
        assert ours[f"tokenizer_{token}_token"] == theirs[f"tokenizer_{token}_token"]


def test_a_group_counts_its_members_as_its_yaml_says(options: Options, tmp_path: Path) -> None:
    for name, by_size in {"sized": True, "alike": False}.items():
        inner = {"group": "inner", "task": ["yes_no"]}
        group = {"group": name, "group_alias": f"the {name}", "task": ["reverse_choice", inner]}
        group["aggregate_metric_list"] = [{"metric": "acc", "weight_by_size": by_size}]
        (tmp_path / f"{name}.yaml").write_text(json.dumps(group))
    folders = {"task_search_path": [*options["task_search_path"], str(tmp_path)]}
    for name, shares in {"sized": (24, 30), "alike": (1, 1)}.items():
        found = measure(["zoo:reverse", "zoo:sort"], [name], options=folders)
        documents = write_results(found)
        for document, standing in zip(documents, found.by_group[name].models, strict=True):
            means = [document["results"][task]["acc,none"] for task in ("reverse_choice", "yes_no")]
            expected = pytest.approx(np.average(means, weights=shares))
            assert document["groups"].keys() == {name}
            assert document["groups"][name]["acc,none"] == expected
            assert document["groups"][name]["alias"] == f"the {name}"
            assert document["group_subtasks"][name] == ["reverse_choice", f"{name}::inner"]
            assert standing.score is not None
            assert standing.score.mean == expected
            assert document["evomerge"]["groups"][name]["score"]["mean"] == expected


def test_the_chat_template_is_written_down_where_it_was_applied(
    options: Options, tmp_path: Path
) -> None:
    import hashlib
    import shutil

    from evomerge.checkpoints.locate import locate

    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    folder = Path(shutil.copytree(locate("zoo:sort"), tmp_path / "chat"))
    (folder / "chat_template.jinja").write_text(template)
    for wanted, expected in ((True, template), (False, None)):
        said = {**options, "apply_chat_template": wanted}
        [document] = write_results(measure([str(folder)], ["yes_no"], limit=2, options=said))
        assert document["chat_template"] == expected
        sha = expected and hashlib.sha256(expected.encode()).hexdigest()
        assert document["chat_template_sha"] == sha


def test_what_reads_the_harness_files_reads_ours(found: SideBySide, ours: dict[str, Any]) -> None:
    from lm_eval.utils import make_table

    document = json.loads(json.dumps(write_results(found)[1]))
    table = make_table(document)
    line = next(row for row in table.splitlines() if row.startswith("|sort"))
    cells = [cell.strip() for cell in line.split("|")]
    value = document["results"]["sort"]["score,none"]
    assert f"{value:.4f}" in cells
    assert "score" in cells
    lines = make_table(ours).splitlines()
    assert any(line.startswith("|letters") and "|acc " in line for line in lines)
    assert any(line.startswith("|letters") for line in make_table(ours, "groups").splitlines())
