"""A file written for mergekit-evolve, and nothing else, evolves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evomerge.config import load_config
from evomerge.evolve import evolve
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
limit: 8
shuffle: true
random_init: true
"""


def test_file_for_mergekit_evolve_runs_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "old.yml").write_text(FILE)
    config = load_config(tmp_path / "old.yml")
    cheap = {
        "task_search_path": [str(TASKS)],
        "search": {"evaluations": 4},
        "finalists": 1,
        "executor": {"name": "local", "threads": 1},
    }
    result = evolve({**config.model_dump(exclude_unset=True), **cheap}, runs=tmp_path)
    assert sum("is written for mergekit-evolve" in line for line in caplog.messages) == 1
    assert set(result.verdict.lines[0].tasks) == {"reverse_choice", "prose"}
    with open_store(result.folder) as store:
        rows = store.candidates("search")
    assert [row.items for row in rows] == [16] * 4
    assert len({row.genome for row in rows}) == 4


def test_task_folder_on_the_command_line(evomerge: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "old.yml").write_text(FILE)
    answer = evomerge("validate", "old.yml", "--task-search-path", str(TASKS), "--json")
    assert answer.code == 0, answer.err
    assert '"search items": 16' in answer.out
    answer = evomerge("validate", "old.yml")
    assert answer.code == 1
    assert "lm-evaluation-harness has no task 'reverse_choice'" in answer.err
    answer = evomerge("evolve", "old.yml", "--task-search-path", "nowhere")
    assert answer.code == 1
    assert "task_search_path: there is no folder" in answer.err
    assert not list(tmp_path.rglob("store.db"))
