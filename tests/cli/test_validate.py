"""`evomerge validate` tells in a line each what is merged of what."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., Any]

DOCUMENTS = """
name: soup
merge_method: linear
models:
  - {{model: {0}, parameters: {{weight: 1}}}}
  - {{model: {1}, parameters: {{weight: 1}}}}
---
merge_method: slerp
base_model: {0}
models: [{{model: soup}}]
parameters: {{t: 0.3}}
"""


def test_each_step_of_several_documents_is_told(
    evomerge: Run, tmp_path: Path, tiny_llama: Callable[[int], Path]
) -> None:
    first, second = tiny_llama(0), tiny_llama(1)
    (tmp_path / "two.yml").write_text(DOCUMENTS.format(first, second))
    answer = evomerge("validate", "two.yml")
    told, sentence, *_ = answer.out.splitlines()
    assert told == f"soup: linear of {first}, {second}"
    assert sentence == f"the result: slerp of soup on {first}"
    steps = json.loads(evomerge("validate", "two.yml", "--json").out)["steps"]
    assert [(step["name"], step["models"]) for step in steps] == [
        ("soup", [str(first), str(second)]),
        ("the result", ["soup"]),
    ]


def test_what_is_merged_is_told_even_where_a_model_is_missing(
    evomerge: Run, tmp_path: Path
) -> None:
    stack = "{slices: [{sources: [{model: ./gone, layer_range: [0, 2]}]}]}"
    (tmp_path / "r.yml").write_text(f"merge_method: passthrough\nmodules: {{text: {stack}}}")
    answer = evomerge("validate", "r.yml")
    assert answer.out == "the result: passthrough of ./gone in the modules text in 1 slices\n"
    assert answer.code == 1


def test_a_merge_of_adapters_is_checked_without_its_models(evomerge: Run, tmp_path: Path) -> None:
    extract = ("extract-lora", "zoo:sort", "zoo:base", "lora", "--max-rank", "2", "-i", "mlp")
    assert evomerge(*extract).code == 0
    recipe = "{merge_method: linear, models: [{model: %s, parameters: {weight: 1}}], output: lora}"
    (tmp_path / "r.yml").write_text(recipe % "./lora")
    (tmp_path / "gone.yml").write_text(recipe % "./gone")
    answer = evomerge("validate", "r.yml")
    assert answer.out.splitlines()[-1].endswith("method linear, adapters 1, modules 12")
    assert "there is no adapter folder ./gone" in evomerge("validate", "gone.yml").err


def test_too_few_items_are_told(evomerge: Run, tmp_path: Path) -> None:
    task = {"name": "sort", "evaluator": "exact_match", "data": "zoo:sort"}
    run = {
        "genome": {"models": ["zoo:sort", "zoo:reverse"], "merge_method": "linear"},
        "tasks": [task],
        "items": {"search": 100000},
    }
    (tmp_path / "run.yml").write_text(json.dumps(run))
    told = evomerge("validate", "run.yml").out.splitlines()[-1]
    assert re.fullmatch(r"Fewer items than asked for: sort \(search \d+ of 100000\)\.", told)
    assert json.loads(evomerge("validate", "run.yml", "--json").out)["notes"] == [told]
