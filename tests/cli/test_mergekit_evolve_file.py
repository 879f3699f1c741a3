"""A file written for mergekit-evolve, and nothing else, evolves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evomerge.recipe import load_recipe, name_bases, parse_recipe
from evomerge.store import open_store

pytestmark = pytest.mark.slow

TASKS = Path(__file__).parents[1] / "evaluation" / "tasks"
FILE = """
genome:
  models:
    - zoo:sort
    - zoo:reverse
  merge_method: dare_ties
  base_model: zoo:base
  tokenizer_source: null
  layer_granularity: 2
  normalize: false
  allow_negative_weights: false
  smooth: false
  filters:
    - self_attn
    - mlp
tasks:
  - name: reverse_choice
    weight: 1.0
    metric: "acc_norm,none"
  - name: prose
    weight: -0.1
    metric: "bits_per_byte,none"
limit: 2
shuffle: true
random_init: true
"""


def test_file_and_flags_for_mergekit_evolve_run_as_they_are(
    evomerge: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "config.yml").write_text(FILE)
    answer = evomerge(
        "evolve", "config.yml", "--storage-path", "P", "--strategy", "serial", "--in-memory",
        "--max-fevals", "20", "--sigma0", "0.2", "--force-population-size", "5",
        "--random-seed", "3", "--task-search-path", str(TASKS), "--set", "finalists=1",
        "--set", "items.validation=4", "--set", "items.test=4",
        "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert answer.err.count("is written for mergekit-evolve") == 1
    assert answer.err.count("without effect: --in-memory (") == 1
    found = json.loads(answer.out)
    assert found["folder"] == str(tmp_path / "P")
    assert (tmp_path / "P" / "best" / "model.safetensors").is_file()
    assert set(found["verdict"]["lines"][0]["tasks"]) == {"reverse_choice", "prose"}
    with open_store(tmp_path / "P") as store:
        rows, (test, *_) = store.candidates("search"), store.candidates("test")
    assert len(rows) == 20
    assert all(row.state == "raced out" or row.items == 4 for row in rows)
    assert len(rows[0].genome or ()) == 2 * 2 * 3 * 2  # their layout: groups, models, sets, values
    best = load_recipe(tmp_path / "P" / "best_config.yaml")
    assert best == name_bases(parse_recipe(dict(test.recipe))[0])


def test_task_folder_on_the_command_line(evomerge: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "old.yml").write_text(FILE)
    answer = evomerge("validate", "old.yml", "--task-search-path", str(TASKS), "--json")
    assert answer.code == 0, answer.err
    assert '"search items": 4' in answer.out
    answer = evomerge("validate", "old.yml")
    assert answer.code == 1
    assert "lm-evaluation-harness has no task 'reverse_choice'" in answer.err
    answer = evomerge("evolve", "old.yml", "--task-search-path", "nowhere")
    assert answer.code == 1
    assert "task_search_path: there is no folder" in answer.err
    assert not list(tmp_path.rglob("store.db"))
