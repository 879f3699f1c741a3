"""Names are found as the harness finds them, in a hundredth of the time."""

import shutil
from pathlib import Path

import pytest
from lm_eval.tasks import TaskManager

from evomerge.errors import EvaluationError
from evomerge.evaluation.harness import catalogue
from evomerge.evaluation.harness.catalogue import Catalogue


@pytest.fixture
def own(tmp_path: Path, tasks: Path) -> Path:
    """Return a copy of the tests' tasks, to be changed."""
    return Path(shutil.copytree(tasks, tmp_path / "own"))


def names(listed: str, *folders: Path) -> list[str]:
    found = Catalogue([str(folder) for folder in folders]).find(listed)
    return [entry.name for entry in found.tasks]


@pytest.mark.parametrize("name", ["arc_easy", "boolq", "mgsm_direct_ja", "winogrande"])
def test_builtin_task_is_read_with_its_includes(name: str) -> None:
    (entry,) = Catalogue().find(name).tasks
    index = TaskManager(include_path=str(entry.folder), include_defaults=False).task_index
    assert entry.builtin
    assert entry.config["task"] == name
    assert index[name].yaml_path.parent == entry.folder
    assert entry.config["dataset_path"] == index[name].cfg["dataset_path"]


def test_builtin_group_of_groups_of_tags() -> None:
    listing = Catalogue().find("mmlu")
    root = catalogue._root() / "mmlu" / "default"
    index = TaskManager(include_path=str(root), include_defaults=False).task_index
    leaves = {name for name, entry in index.items() if entry.kind.name == "TASK"}
    assert {entry.name for entry in listing.tasks} == leaves
    assert len(listing.tasks) == 57
    assert listing.aggregates == ({"metric": "acc", "weight_by_size": True},)


def test_tag_stands_for_its_tasks() -> None:
    assert names("ai2_arc") == ["arc_challenge", "arc_easy"]


def test_task_of_the_user_comes_before_a_builtin_one(own: Path) -> None:
    yaml = own / "yes_no.yaml"
    yaml.write_text(yaml.read_text().replace("task: yes_no", "task: arc_easy"))
    (entry,) = Catalogue([str(own)]).find("arc_easy").tasks
    assert not entry.builtin
    assert entry.folder == own


def test_group_of_the_user_may_have_builtin_members_and_each_once(own: Path) -> None:
    (own / "both.yaml").write_text("group: both\ntask: [yes_no, arc_easy, letters]\n")
    assert names("both", own) == ["yes_no", "arc_easy", "reverse_choice"]


def test_group_within_a_group_and_what_each_hands_down(own: Path) -> None:
    (own / "nested.yaml").write_text(
        "group: nested\nnum_fewshot: 1\ntask:\n"
        "  - {group: inner, task: [yes_no, {task: sort_words, num_fewshot: 3}]}\n"
        "  - prose\n"
    )
    found = Catalogue([str(own)]).find("nested").tasks
    assert {entry.name: entry.config["num_fewshot"] for entry in found} == {
        "yes_no": 1,
        "sort_words": 3,
        "prose": 1,
    }


def test_tag_of_the_user(own: Path) -> None:
    for name in ("yes_no", "prose"):
        yaml = own / f"{name}.yaml"
        yaml.write_text(yaml.read_text() + "tag: [mine]\n")
    assert names("mine", own) == ["prose", "yes_no"]


def test_changed_file_is_read_anew(own: Path) -> None:
    assert names("yes_no", own) == ["yes_no"]
    yaml = own / "yes_no.yaml"
    yaml.write_text(yaml.read_text().replace("task: yes_no", "task: yes_not"))
    assert names("yes_not", own) == ["yes_not"]
    with pytest.raises(EvaluationError, match=r"no task 'yes_no' \(did you mean 'yes_not'"):
        names("yes_no", own)


def test_member_that_is_not_there(own: Path) -> None:
    (own / "both.yaml").write_text("group: both\ntask: [yes_no, reverse_chioce]\n")
    with pytest.raises(EvaluationError, match=r"'reverse_chioce' \(did you mean 'reverse_choice'"):
        names("both", own)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("group: mine\n", "task group mine has no tasks"),
        ("group: mine\ntask: 7\n", "task group mine: task is 7"),
        ("group: mine\ntask: [null]\n", r"task group mine: task is \[None\]"),
        ("group: mine\ntask: [{num_fewshot: 1}]\n", "task group mine has the member"),
        ("group: mine\ntask: [prose]\naggregate_metric_list: 7\n", "aggregate_metric_list is 7"),
        ("task: mine\n  foo: [1\n", "broken.yaml cannot be read: ScannerError"),
        ("task: mine\ninclude: broken.yaml\n", "broken.yaml cannot be read: .*cycle"),
        ("task: 3\n", "cannot be listed"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(own: Path, text: str, complaint: str) -> None:
    (own / "broken.yaml").write_text(text)
    with pytest.raises(EvaluationError, match=complaint):
        names("mine", own)


def test_function_that_leaves_while_it_is_imported(own: Path) -> None:
    (own / "leaving.py").write_text("raise SystemExit(3)\n")
    (own / "mine.yaml").write_text("task: mine\ndoc_to_text: !function leaving.text\n")
    with pytest.raises(EvaluationError, match="SystemExit: 3"):
        names("mine", own)


def test_groups_stand_before_what_is_below_them(own: Path) -> None:
    (own / "outer.yaml").write_text(
        "group: outer\ngroup_alias: all of it\nmetadata: {version: 3}\n"
        "task: [letters, {group: inner, task: [{task: sort_words, num_fewshot: 2}]}]\n"
    )
    listing = Catalogue([str(own)]).find("outer")
    outer, letters, inner = listing.groups
    assert (outer.alias, outer.version) == ("all of it", "3")
    assert outer.members == ("letters", "outer::inner")
    assert (letters.members, letters.version) == (("reverse_choice", "yes_no"), "1.0")
    assert (inner.name, inner.members) == ("outer::inner", ("sort_words",))
    assert Catalogue([str(own)]).find("letters").metrics == ["acc"]


def test_aggregation_that_the_harness_does_not_know_is_told_at_once(own: Path) -> None:
    (own / "odd.yaml").write_text(
        "group: odd\ntask: [yes_no]\naggregate_metric_list: [{metric: acc, aggregation: worst}]\n"
    )
    with pytest.raises(EvaluationError, match=r"task group odd: aggregate_metric_list: .*worst"):
        names("odd", own)
