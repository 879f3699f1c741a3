"""What is known before a run starts: how long its paths are, and how large what it may write."""

from pathlib import Path
from typing import Any

import pytest

from evomerge.config import RunConfig, parse_config
from evomerge.engine import Models, make_plan
from evomerge.errors import ConfigError, StoreError
from evomerge.evolve.baselines import pass_through
from evomerge.evolve.prepare import Preparation, prepare
from evomerge.recipe import find_hops, is_path
from evomerge.store import open_store

MERGE = {"merge_method": "task_arithmetic", "base_model": "zoo:base"}
TASK = {"name": "sort", "evaluator": "exact_match", "data": "zoo:sort"}


def configure(**genome: Any) -> RunConfig:
    models = {"models": ["zoo:sort", "zoo:reverse"]}
    search = {"algorithm": "catcma", "evaluations": 80}
    return parse_config({"genome": models | genome, "tasks": [TASK], "search": search})


def look(**genome: Any) -> Preparation:
    return prepare(configure(**genome), None)


def test_a_rehearsal_goes_from_start_to_start() -> None:
    rehearsal = look(space="data_flow").rehearsal
    layers, grid, free, longest = rehearsal.recipes
    assert layers == grid == free
    assert [(hop.model, hop.layer) for hop in find_hops(layers)] == [
        ("zoo:sort", k) for k in range(4)
    ]
    assert len(find_hops(longest)) == 6
    assert rehearsal.genes == 7


def test_paths_are_counted_as_long_as_a_search_draws_them_first() -> None:
    """Of 4 layers 3.94 are expected, of the 4 others 0.64, and then the end once more."""
    expected = (4 - 3 * 0.02 + 4 * 0.16 + (1 - 0.84**4)) / 4
    for scales in ("none", "slots"):
        found = look(space="data_flow", scales=scales).rehearsal.stretch
        assert found == pytest.approx(expected, abs=0.1)
    assert look(space="data_flow", longest=2).rehearsal.stretch == 0.5


def test_merges_are_as_long_as_a_parent() -> None:
    assert look(**MERGE).rehearsal.stretch == 1.0
    paths = look(space="data_flow", scales="none").rehearsal.stretch
    found = look(space="both", scales="none", **MERGE).rehearsal
    assert found.stretch == pytest.approx((1.0 + paths) / 2, abs=0.1)
    assert not is_path(found.recipes[0])


def test_room_is_made_for_a_path_longer_than_its_models() -> None:
    config = configure(space="data_flow")
    plan = make_plan(pass_through(config.genome, "zoo:sort"), Models())
    size = sum(shape.bytes for shape in plan.shapes)
    assert 1.3 * size < prepare(config, None).model_bytes < 1.5 * size


@pytest.mark.parametrize(
    ("search", "told"),
    [
        ({"descriptors": ["codng"]}, r"descriptors\[0\]: no task is called 'codng' \(did you mean"),
        ({"ranges": [[0, 1]]}, r"ranges: expected one for each of .*perplexity.*: 7, not 1"),
        ({"algorithm": "cycle_qd", "ranges": [[0, 1]]}, r"ranges: expected one for each of .*: 7"),
    ],
)
def test_archives_of_tasks_of_many_parts_are_checked_once_the_parts_are_known(
    search: dict[str, Any], told: str
) -> None:
    genome = {"models": ["zoo:sort", "zoo:reverse"], "merge_method": "linear"}
    tasks = [{"name": "suite", "evaluator": "suite"}]
    search = {"algorithm": "map_elites", "evaluations": 20, **search}
    config = parse_config({"genome": genome, "tasks": tasks, "search": search})
    with pytest.raises(ConfigError, match=told):
        prepare(config, None)


@pytest.mark.parametrize("name", ["config.yml", "best_config.yaml", "best"])
def test_what_a_run_would_replace_is_refused_and_stays(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    told = f"holds {name}, which a run would replace. Name another folder, or move them away"
    with pytest.raises(StoreError, match=told):
        prepare(configure(**MERGE), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_false_start_leaves_nothing_that_is_taken_for_someones_file(tmp_path: Path) -> None:
    with open_store(tmp_path, write=True) as store:
        store.create("a", config={}, seed=0, models={}, versions={}, tasks={})
        store.finish("failed")
    for name in ("config.yml", "best_config.yaml"):
        (tmp_path / name).write_text("of the run that failed")
    prepare(configure(**MERGE), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["lock"]
    prepare(configure(**MERGE), tmp_path)
