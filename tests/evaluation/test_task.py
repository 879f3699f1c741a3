"""Items come in three splits that never touch, chosen by seed and content alone."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evomerge.errors import EvaluationError
from evomerge.evaluation import SPLITS, read_items
from evomerge.evaluation.task import zoo_tasks
from evomerge.records import Item

Write = Callable[..., Path]


def write(file: Path, rows: list[Any]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def questions(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"question {i}", "target": str(i)} for i in range(count)]


def prompts(items: tuple[Item, ...]) -> list[str]:
    return [item.fields["prompt"] for item in items]


def test_every_zoo_task_has_at_least_300_items_in_each_split() -> None:
    assert set(zoo_tasks()) == {"reverse", "sort", "successor", "duplicate"}
    for name in zoo_tasks():
        items = read_items(name, f"zoo:{name}")
        assert {split: len(found) >= 300 for split, found in items.items()} == dict.fromkeys(
            SPLITS, True
        )
        everything = [item.key for found in items.values() for item in found]
        assert len(everything) == len(set(everything))


@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**40), shuffle=st.integers(0, 100), count=st.integers(40, 120))
def test_the_division_is_disjoint_and_does_not_depend_on_the_order_of_lines(
    tmp_path: Path, seed: int, shuffle: int, count: int
) -> None:
    rows = questions(count)
    first = read_items("t", str(write(tmp_path / "items.jsonl", rows)), seed=seed)
    random.Random(shuffle).shuffle(rows)
    rows += rows[:5]  # a question asked twice is one question
    again = read_items("t", str(write(tmp_path / "items.jsonl", rows)), seed=seed)
    assert first == again
    everything = [prompt for split in SPLITS for prompt in prompts(first[split])]
    assert sorted(everything) == sorted({row["prompt"] for row in rows})


def test_the_division_keeps_its_shares_and_changes_with_the_seed(tmp_path: Path) -> None:
    file = str(write(tmp_path / "items.jsonl", questions(3000)))
    first, second = read_items("t", file, seed=0), read_items("t", file, seed=1)
    for split, share in (("search", 0.4), ("validation", 0.3), ("test", 0.3)):
        assert abs(len(first[split]) / 3000 - share) < 0.04  # > 4 standard deviations
        assert set(prompts(first[split])) != set(prompts(second[split]))


def test_an_item_stays_in_its_split_when_others_come_or_go(tmp_path: Path) -> None:
    few = read_items("t", str(write(tmp_path / "few.jsonl", questions(60))))
    many = read_items("t", str(write(tmp_path / "many.jsonl", questions(200))))
    for split in SPLITS:
        assert set(prompts(few[split])) <= set(prompts(many[split]))


@pytest.mark.parametrize("limit", [1, 7, 50])
def test_limits_choose_by_content_not_by_place_in_the_file(tmp_path: Path, limit: int) -> None:
    rows = [{**row, "split": "search"} for row in questions(100)]
    rows += [{"prompt": f"{split} {i}", "split": split} for split in SPLITS[1:] for i in range(3)]
    forward = read_items("t", str(write(tmp_path / "a", rows)), limits={"search": limit})
    backward = read_items("t", str(write(tmp_path / "b", rows[::-1])), limits={"search": limit})
    assert forward == backward
    assert len(forward["search"]) == limit
    assert len(forward["test"]) == 3
    assert prompts(forward["search"]) != [row["prompt"] for row in rows[:limit]]
    larger = read_items("t", str(write(tmp_path / "a", rows)), limits={"search": limit + 1})
    assert forward["search"] == larger["search"][:limit]


def test_named_splits_and_their_usual_other_names_are_kept(tmp_path: Path) -> None:
    names = ["search", "dev", "val", "valid", "validation", "test", "train"]
    rows = [{"prompt": name, "split": name} for name in names]
    items = read_items("t", str(write(tmp_path / "items.jsonl", rows)))
    assert {split: sorted(prompts(found)) for split, found in items.items()} == {
        "search": ["search"],
        "validation": ["dev", "val", "valid", "validation"],
        "test": ["test"],
    }


def test_a_file_for_each_split_is_read_and_its_other_names_too(tmp_path: Path) -> None:
    data = {
        name: str(write(tmp_path / name, [{"prompt": f"{name} {i}"} for i in range(3)]))
        for name in ("search", "valid", "test", "train")
    }
    items = read_items("t", data)
    assert sorted(prompts(items["validation"])) == ["valid 0", "valid 1", "valid 2"]
    assert [len(items[split]) for split in SPLITS] == [3, 3, 3]


def test_items_that_stand_in_two_splits_are_refused(tmp_path: Path) -> None:
    rows = [{"prompt": "same", "split": "search"}, {"split": "test", "prompt": "same"}]
    rows.append({"prompt": "other", "split": "validation"})
    with pytest.raises(
        EvaluationError, match=r"task t: 1 items stand in both search and test. Split"
    ):
        read_items("t", str(write(tmp_path / "items.jsonl", rows)))


def test_the_same_question_in_two_tasks_is_two_items(tmp_path: Path) -> None:
    file = str(write(tmp_path / "items.jsonl", questions(60)))
    first, second = read_items("a", file), read_items("b", file)
    assert not {i.key for i in first["search"]} & {i.key for i in second["search"]}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            [b'{"prompt": 1}', b"{"],
            "task t: line 2 of .*items.jsonl is not a JSON object. Write on",
        ),
        ([b"", b"  ", b"[1, 2]"], "task t: line 3 of .* is not a JSON object"),
        ([b"3"], "task t: line 1 of .* is not a JSON object"),
        ([b"null"], "task t: line 1 of .* is not a JSON object"),
        ([b"[" * 100_000], "task t: line 1 of .* is not a JSON object"),
        ([b"\xff\xfe"], "task t: .* cannot be read: it is not UTF-8 text"),
        (
            [b'{"split": "tset"}'],
            r"line 1 of .* has the split 'tset' \(did you mean 'test'\?\). Sp",
        ),
        ([b'{"split": ["test"]}'], r"task t: line 1 of .* has the split \['test'\]"),
        ([b'{"split": 3}'], "task t: line 1 of .* has the split 3"),
        ([b""], "task t: its search split is empty. Give items for search, validation and test"),
        ([b'{"split": "search"}'], "task t: its validation split is empty"),
        ([b'{"split": "train"}'], "task t: its search split is empty"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_line(
    tmp_path: Path, lines: list[bytes], message: str
) -> None:
    file = tmp_path / "items.jsonl"
    file.write_bytes(b"\n".join(lines))
    with pytest.raises(EvaluationError, match=message) as caught:
        read_items("t", str(file))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("zoo:revers", r"the zoo has no items 'revers' \(did you mean 'reverse'\?\). It has dup"),
        ("/nowhere/items.jsonl", "task t: /nowhere/items.jsonl cannot be read: No such file"),
        ("/", "task t: / cannot be read: Is a directory"),
        ({"search": "/dev/null"}, "task t: its search split is empty"),
    ],
)
def test_data_that_are_not_there_are_one_clear_line(data: Any, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        read_items("t", data)


def test_an_unknown_split_of_a_table_is_told_with_the_closest_name(tmp_path: Path) -> None:
    file = str(write(tmp_path / "items.jsonl", questions(3)))
    with pytest.raises(
        EvaluationError, match=r"its data have the split 'serch' \(did you mean 'sea"
    ):
        read_items("t", {"serch": file, "validation": file, "test": file})


def test_a_line_separator_within_an_item_does_not_end_its_line(tmp_path: Path) -> None:
    rows = [{"prompt": f"a\u2028b\x85c\x0b {split}", "split": split} for split in SPLITS]
    file = tmp_path / "items.jsonl"
    file.write_bytes("\r\n".join(json.dumps(r, ensure_ascii=False) for r in rows).encode())
    assert prompts(read_items("t", str(file))["test"]) == [rows[2]["prompt"]]
