"""From a run file's tasks to items and evaluators: options, shares, splits, and what is refused."""

import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, cast

import pytest

from evomerge.checkpoints.locate import locate
from evomerge.config import RunConfig, parse_config
from evomerge.errors import EvaluationError
from evomerge.evaluation import Task
from evomerge.evolve.forecast import describe_items
from evomerge.evolve.live import load_folder
from evomerge.evolve.tasks import build_tasks

HARNESS_TASKS = Path(__file__).parents[1] / "evaluation" / "tasks"
Document = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of the tests' lm-eval tasks, to be changed."""
    return Path(shutil.copytree(HARNESS_TASKS, tmp_path / "lm_eval_tasks"))


@pytest.fixture
def config(folder: Path) -> Callable[..., RunConfig]:
    """Return make(*tasks, **changes) -> a run on lm-eval tasks of our own."""

    def make(*tasks: Document, **changes: Any) -> RunConfig:
        return parse_config(
            {
                "seed": 3,
                "genome": {"models": ["zoo:sort", "zoo:reverse"], "merge_method": "linear"},
                "tasks": list(tasks),
                "task_search_path": [str(folder)],
                **changes,
            }
        )

    return make


MakeConfig = Callable[..., RunConfig]


def test_validation_split_is_shared_by_search_and_validation(config: MakeConfig) -> None:
    (task,) = build_tasks(config({"name": "reverse_choice"}))
    sizes = {split: len(items) for split, items in task.items.items()}
    assert sizes["test"] == 24
    assert sizes["search"] + sizes["validation"] == 40
    assert sizes["search"] > 15
    assert sizes["validation"] > 8
    places = [item.fields["place"] for item in task.items["search"] + task.items["validation"]]
    assert sorted(places) == sorted(f"validation:{k}" for k in range(40))
    assert {item.fields["place"].partition(":")[0] for item in task.items["test"]} == {"test"}
    assert not task.divided


def test_one_split_is_divided_by_seed_and_says_so(config: MakeConfig) -> None:
    (task,) = build_tasks(config({"name": "yes_no"}))
    assert sum(map(len, task.items.values())) == 30
    assert task.divided
    (other,) = build_tasks(config({"name": "yes_no"}, seed=4))
    assert other.items != task.items


def test_items_in_a_file_are_divided_unless_it_names_splits(
    config: MakeConfig, tmp_path: Path
) -> None:
    data = tmp_path / "items.jsonl"
    rows = [f'{{"prompt": "{k}", "target": "x"}}\n' for k in range(30)]
    data.write_text("".join(rows))
    plain = {"name": "a", "evaluator": "exact_match", "data": str(data)}
    named = {"name": "b", "evaluator": "exact_match", "data": "zoo:sort"}
    assert [task.divided for task in build_tasks(config(plain, named, task_search_path=[]))] == [
        True,
        False,
    ]


def test_keys_of_the_run_reach_every_task_that_does_not_say_otherwise(config: MakeConfig) -> None:
    tasks = build_tasks(
        config(
            {"name": "reverse_choice"},
            {"name": "mine", "task": "reverse_choice", "num_fewshot": 1},
            num_fewshot=2,
        )
    )
    shots = [getattr(task.evaluator, "description")["num_fewshot"] for task in tasks]  # noqa: B009 - an evaluator's own attribute
    assert shots == [2, 1]
    assert tasks[0].key != tasks[1].key


def test_limit_is_of_search_items(config: MakeConfig) -> None:
    (task,) = build_tasks(config({"name": "reverse_choice"}, limit=5))
    assert len(task.items["search"]) == 5
    assert len(task.items["validation"]) > 8


def test_group_becomes_its_members_with_their_shares(config: MakeConfig) -> None:
    tasks = build_tasks(config({"name": "letters", "weight": 2.0}))
    assert [task.name for task in tasks] == ["reverse_choice", "yes_no"]
    assert [task.weight for task in tasks] == pytest.approx([2 * 24 / 54, 2 * 30 / 54])


def test_group_under_another_name(config: MakeConfig, folder: Path) -> None:
    group = folder / "letters.yaml"
    group.write_text("num_fewshot: 1\n" + group.read_text())
    tasks = build_tasks(config({"name": "mine", "task": "letters"}))
    assert [task.name for task in tasks] == ["reverse_choice", "yes_no"]
    assert getattr(tasks[0].evaluator, "description")["num_fewshot"] == 1  # noqa: B009 - an evaluator's own attribute


def test_negative_weight_of_a_metric_that_is_better_when_lower_means_the_same(
    config: MakeConfig,
) -> None:
    rate = {"name": "prose", "metric": "bits_per_byte"}
    (positive,) = build_tasks(config(rate))
    (negative,) = build_tasks(config({**rate, "weight": -1.0}))
    assert positive.direction == negative.direction == -1.0
    assert positive.weight == negative.weight == 1.0
    (minimised,) = build_tasks(config({"name": "yes_no", "weight": -1.0}))
    assert (minimised.direction, minimised.weight) == (-1.0, 1.0)


def test_member_that_stands_alone_too_is_refused(config: MakeConfig) -> None:
    with pytest.raises(EvaluationError, match="two tasks are called yes_no"):
        build_tasks(config({"name": "letters"}, {"name": "yes_no"}))


def test_where_the_tasks_stand_makes_no_difference_to_their_scores(
    config: MakeConfig, folder: Path, tmp_path: Path
) -> None:
    (here,) = build_tasks(config({"name": "yes_no"}))
    there = shutil.copytree(folder, tmp_path / "elsewhere")
    (moved,) = build_tasks(config({"name": "yes_no"}, task_search_path=[str(there)]))
    assert moved.fingerprint == here.fingerprint


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a data set of the hub where `hf download` puts it; return the folder of a task on it."""
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    home = tmp_path / "hub" / "datasets--someone--words"
    snapshot = home / "snapshots" / commit
    snapshot.mkdir(parents=True)
    shutil.copy(folder / "yes_no.jsonl", snapshot / "validation.jsonl")
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    text = (folder / "yes_no.yaml").read_text()
    head, _, tail = text.partition("dataset_path: json\n")
    (folder / "yes_no.yaml").write_text(
        head + "dataset_path: someone/words\n" + tail[tail.index("output_type") :]
    )
    return folder


@pytest.mark.usefixtures("hub")
def test_public_test_set_is_refused_unless_that_is_said(config: MakeConfig) -> None:
    with pytest.raises(
        EvaluationError,
        match=r"task yes_no: all its items are the public test set of someone/words; what is "
        r"searched on it can no longer be measured with it\. Take a task with a validation or "
        r"a train split, or items of your own; if you must: --i-know-this-is-the-test-set",
    ):
        build_tasks(config({"name": "yes_no"}))
    (task,) = build_tasks(config({"name": "yes_no"}, i_know_this_is_the_test_set=True))
    assert task.mark == "yes_no was searched on items of a public test set (someone/words)"
    assert sum(map(len, task.items.values())) == 30


def test_files_of_ones_own_are_not_public(config: MakeConfig) -> None:
    assert [task.mark for task in build_tasks(config({"name": "yes_no"}))] == [""]


def test_too_few_items_are_told_with_how_many_were_asked_for(config: MakeConfig) -> None:
    limits = {"search": 1000, "validation": 5, "test": 25}
    tasks = build_tasks(config({"name": "reverse_choice"}, {"name": "yes_no"}, items=limits))
    choice, yes_no = ({split: len(found) for split, found in t.items.items()} for t in tasks)
    assert choice["test"] == 24
    assert next(describe_items(tasks)) == (
        f"Fewer items than asked for: reverse_choice (search {choice['search']} of 1000, test 24 "
        f"of 25), yes_no (search {yes_no['search']} of 1000, test {yes_no['test']} of 25)."
    )


def test_as_many_items_as_asked_for_are_no_news(config: MakeConfig) -> None:
    assert not list(describe_items(build_tasks(config({"name": "reverse_choice"}, limit=15))))


def test_number_for_all_items_is_never_too_few(config: MakeConfig, tmp_path: Path) -> None:
    (tmp_path / "judge.py").write_text("def judge(model, tokenizer):\n    return {'score': 1.0}\n")
    judge = {"evaluator": "python_function", "function": f"{tmp_path}/judge.py:judge"}
    tasks = build_tasks(
        config(
            {"name": "mine", "metrics": ["score"], **judge},
            items={"search": 9},
            task_search_path=[],
        )
    )
    assert not list(describe_items(tasks))


@pytest.fixture
def trained(folder: Path) -> Callable[..., Path]:
    """Return make(count) -> a task with a train split of so many questions and a test split."""

    def make(count: int) -> Path:
        words = ("".join(letters) for letters in product("abcde", repeat=4))
        rows = [f'{{"word": "{w}", "choices": ["x", "{w[::-1]}"], "answer": 1}}\n' for w in words]
        (folder / "choice_train.jsonl").write_text("".join(rows[:count]))
        place = folder / "reverse_choice.yaml"
        text = place.read_text().replace("validation_split: validation\n", "")
        place.write_text(text.replace("    validation: choice_validation.jsonl\n", ""))
        return place

    return make


def sources(task: Task) -> dict[str, set[str]]:
    return {
        split: {item.fields["place"].partition(":")[0] for item in items}
        for split, items in task.items.items()
    }


@pytest.mark.parametrize("shots", [0, 3])
def test_train_split_is_shared_by_search_and_validation_where_there_is_none(
    config: MakeConfig, trained: Callable[..., Path], shots: int
) -> None:
    trained(200)
    (task,) = build_tasks(config({"name": "reverse_choice"}, num_fewshot=shots))
    assert sources(task) == {"search": {"train"}, "validation": {"train"}, "test": {"test"}}
    sizes = {split: len(items) for split, items in task.items.items()}
    assert sizes["search"] + sizes["validation"] == (180 if shots else 200)
    assert sizes["test"] == 24
    assert not task.divided
    (note,) = describe_items([task])
    assert note.startswith("Search and validation items come from the train split, on which models")
    assert note.endswith(": reverse_choice.")


def test_question_of_the_train_split_is_shown_to_no_other(
    config: MakeConfig, trained: Callable[..., Path]
) -> None:
    trained(150)
    (task,) = build_tasks(config({"name": "reverse_choice"}, num_fewshot=3))
    asked = {
        item.fields["prompt"] for split in ("search", "validation") for item in task.items[split]
    }
    judge = cast("Any", task.evaluator)
    drawn = judge._examples["train"]._drawn
    shown = {f"r {example['word']}=" for examples in drawn for example in examples}
    assert len(shown) > 10
    assert not shown & asked


def test_questions_of_the_train_split_are_scored_as_the_harness_model_does(
    config: MakeConfig, trained: Callable[..., Path]
) -> None:
    trained(150)
    place = Path(locate("zoo:reverse"))
    model = load_folder(place, "cpu", "float32")
    found = []
    for scorer in ("own", "harness"):
        run = config({"name": "reverse_choice"}, num_fewshot=2, scorer=scorer, limit=12)
        (task,) = build_tasks(run)
        found.append(task.evaluator.evaluate(model, task.items["search"]))
    assert found[0] == found[1]
    assert len(found[0]) == 12


def test_train_split_of_a_few_examples_is_not_searched_on(
    config: MakeConfig, trained: Callable[..., Path]
) -> None:
    trained(99)
    (task,) = build_tasks(config({"name": "reverse_choice"}))
    assert task.divided
    assert sources(task) == {split: {"test"} for split in ("search", "validation", "test")}


def test_public_task_with_a_train_split_can_be_searched(
    hub: Path, config: MakeConfig, tmp_path: Path
) -> None:
    (home,) = tmp_path.glob("hub/*/snapshots/*")
    rows = [f'{{"word": "{"".join(w)}", "label": 0}}\n' for w in product("abcde", repeat=4)]
    (home / "train.jsonl").write_text("".join(rows[:120]))
    with (hub / "yes_no.yaml").open("a") as file:
        file.write("training_split: train\n")
    (task,) = build_tasks(config({"name": "yes_no"}))
    assert not task.mark
    assert sources(task) == {"search": {"train"}, "validation": {"train"}, "test": {"validation"}}


@pytest.mark.parametrize(
    ("name", "mark"),
    [
        ("sort_words", "sort_words was searched on items of its test split"),
        ("reverse_choice", ""),
        ("yes_no", ""),
    ],
)
def test_file_for_mergekit_evolve_is_marked_where_a_test_split_is_searched_on(
    folder: Path, name: str, mark: str
) -> None:
    config = parse_config(
        {
            "genome": {"models": ["zoo:sort", "zoo:reverse"], "merge_method": "linear"},
            "tasks": [{"name": name, "metric": "exact_match" if name == "sort_words" else "acc"}],
        }
    )
    assert config.i_know_this_is_the_test_set
    (task,) = build_tasks(config.model_copy(update={"task_search_path": [str(folder)]}))
    assert task.mark == mark


def test_misspelt_metric_is_refused_before_any_data_are_read(
    config: MakeConfig, folder: Path
) -> None:
    (folder / "yes_no.jsonl").unlink()
    with pytest.raises(
        EvaluationError,
        match=r"task reverse_choice does not give the metric 'acx' \(did you mean 'acc,none'\?\)\. "
        r"It gives acc,none, acc_norm,none, brier_score,none",
    ):
        build_tasks(config({"name": "yes_no"}, {"name": "reverse_choice", "metric": "acx"}))
