"""`evomerge export`: candidates of a run as folders, whose cards name them."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from evomerge.engine import merge
from evomerge.recipe import parse_recipe, read_yaml

Write = Callable[..., Path]


def test_the_front_is_exported_as_models_whose_cards_name_them(
    evomerge: Any, write_goals: Write, tmp_path: Path
) -> None:
    write_goals()
    evomerge("evolve", "first.yml")
    answer = evomerge("export", "first", "out", "--front")
    assert answer.code == 0
    told = json.loads(evomerge("show", "first", "--pareto", "--json").out)
    front = told["fronts"]["validation"]["candidates"]
    folders = [c["candidate"].replace(" ", "-") for c in front]
    assert answer.out.split() == [f"out/{name}" for name in folders]
    for name, candidate in zip(folders, front, strict=True):
        assert (tmp_path / "out" / name / "config.json").is_file()
        card = (tmp_path / "out" / name / "README.md").read_text()
        assert f"{candidate['candidate'].capitalize()} of the evomerge run `first`." in card
        low, high = (candidate["goals"][goal] for goal in ("low", "high"))
        overall = candidate["overall"]
        assert f"- 8 validation items: {overall:.4g} (low {low:.4g}, high {high:.4g})" in card
    again = evomerge("export", "first", "out", "--front")
    assert again.code == 1
    assert f"{folders[0]} exists already. Choose another place, or pass --force" in again.error


def test_a_candidate_is_exported_with_the_weights_of_its_recipe(
    evomerge: Any, write_run: Write, tmp_path: Path
) -> None:
    write_run()
    evomerge("evolve", "first.yml")
    assert evomerge("export", "first", "out", "--candidate", "3", "--candidate", "5").code == 0
    recipe, _ = parse_recipe(read_yaml(evomerge("show", "first", "--recipe", "3").out, "it"))
    expected = merge(recipe, tmp_path / "expected")
    for name in ("model.safetensors", "config.json"):
        found = (tmp_path / "out" / "candidate-3" / name).read_bytes()
        assert found == (expected / name).read_bytes()
    assert (tmp_path / "out" / "candidate-5").is_dir()
    assert evomerge("export", "first", "out", "--candidate", "3", "--force").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "say which: --candidate N, --front or --elites"),
        (["--front", "--elites"], 2, "say which: --candidate N, --front or --elites"),
        (["--candidate", "99"], 2, "the run has no candidate 99. It has 0 to 7"),
        (["--elites"], 1, "the run has no elites: its searcher keeps no archive, or the search"),
    ],
)
def test_what_there_is_not_cannot_be_exported(
    arguments: list[str], code: int, message: str, evomerge: Any, write_run: Write, tmp_path: Path
) -> None:
    write_run()
    evomerge("evolve", "first.yml")
    answer = evomerge("export", "first", "out", *arguments)
    assert answer.code == code
    assert message in answer.err
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_when_one_folder_is_in_the_way(
    evomerge: Any, write_run: Write, tmp_path: Path
) -> None:
    write_run()
    evomerge("evolve", "first.yml")
    (tmp_path / "out" / "candidate-5").mkdir(parents=True)
    (tmp_path / "out" / "candidate-5" / "mine.txt").write_text("keep")
    answer = evomerge("export", "first", "out", "--candidate", "3", "--candidate", "5")
    assert "candidate-5 exists already" in answer.error
    assert not (tmp_path / "out" / "candidate-3").exists()


def test_elites_are_exported_with_why_they_were_kept(
    evomerge: Any, write_run: Write, tmp_path: Path
) -> None:
    write_run()
    evomerge("evolve", "first.yml")
    with closing(sqlite3.connect("runs/first/store.db")) as store, store:
        store.execute("UPDATE candidates SET elite = 'best of near' WHERE label = 'candidate 2'")
    assert evomerge("export", "first", "out", "--elites").out.split() == ["out/candidate-2"]
    card = (tmp_path / "out" / "candidate-2" / "README.md").read_text()
    assert "It was kept because: best of near." in card


def test_models_that_were_changed_are_not_merged(
    evomerge: Any, write_run: Write, tmp_path: Path, tiny_llama: Callable[..., Path]
) -> None:
    mine = Path(shutil.copytree(tiny_llama(1), tmp_path / "mine"))
    write_run(genome={"models": [str(mine), str(tiny_llama(2))]})
    evomerge("evolve", "first.yml")
    shutil.copyfile(tiny_llama(9) / "model.safetensors", mine / "model.safetensors")
    answer = evomerge("export", "first", "out", "--candidate", "0")
    assert "mine was changed since the run 'first' began. Put the old files back" in answer.error
    assert not (tmp_path / "out").exists()
