"""Items of the two alphabets: in three splits that never touch, and never trained on."""

import json
from itertools import combinations
from pathlib import Path

import torch

from evomerge.evaluation import read_items
from evomerge.zoo.alphabets.items import SPLITS, TRIAL, draw_inputs, share_out, write_items
from evomerge.zoo.alphabets.lines import SKILL, is_held_out

CAPITALS = "ABCDEFGHIJKLMNOP"
NEXT = str.maketrans(CAPITALS, CAPITALS[1:] + CAPITALS[0])


def test_no_input_is_used_twice_and_none_can_be_trained_on() -> None:
    inputs = draw_inputs()
    assert len(inputs) == 2 * (TRIAL + sum(SPLITS.values()))
    assert len(set(map(tuple, inputs.tolist()))) == len(inputs)
    assert is_held_out(inputs).all()


def test_tasks_and_splits_share_nothing() -> None:
    parts = [part for splits in share_out().values() for part in splits.values()]
    sets = [set(map(tuple, part.tolist())) for part in parts]
    assert len(sets) == 8
    assert not any(first & second for first, second in combinations(sets, 2))
    assert torch.equal(torch.cat(parts), draw_inputs())


def test_files_ask_and_answer_in_capitals(tmp_path: Path) -> None:
    write_items(tmp_path / "tasks")
    for task, tag in zip(SKILL, "XY", strict=True):
        lines = (tmp_path / "tasks" / f"{task}.jsonl").read_text().splitlines()
        for item in map(json.loads, lines):
            word = item["prompt"][1:-1]
            put = word[::-1] if tag == "X" else "".join(sorted(word))
            assert item["prompt"] == f"{tag}{word}="
            assert item["target"] == put.translate(NEXT)


def test_the_package_reads_them_as_three_splits(tmp_path: Path) -> None:
    write_items(tmp_path)
    for task in SKILL:
        items = read_items(task, str(tmp_path / f"{task}.jsonl"))
        assert {split: len(found) for split, found in items.items()} == SPLITS


def test_they_are_the_same_every_time(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        write_items(tmp_path / folder)
    for task in SKILL:
        first, second = (tmp_path / name / f"{task}.jsonl" for name in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()
