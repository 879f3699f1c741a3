"""`evomerge extract-lora` takes mergekit's flags or three places, and says what it kept."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.mark.parametrize(
    "arguments",
    [
        ["zoo:sort", "zoo:base", "lora"],
        ["--model", "zoo:sort", "--base-model", "zoo:base", "--out-path", "lora"],
        ["zoo:sort", "lora", "--base-model", "zoo:base"],
    ],
)
def test_models_are_named_by_place_or_by_flag(
    evomerge: Run, tmp_path: Path, arguments: list[str]
) -> None:
    answer = evomerge("extract-lora", *arguments, "--max-rank", "4", "-i", r"mlp", "-e", "layers.0")
    assert answer.code == 0, answer.err
    lines = [line.split() for line in answer.out.splitlines()]
    assert lines[0][:3] == ["modules", "count", "rank"]
    assert ["down_proj", "3", "4"] in [line[:3] for line in lines]
    assert ["all", "9", "4"] in [line[:3] for line in lines]
    assert answer.out.rstrip().endswith("lora")
    config = json.loads((tmp_path / "lora" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (4, 4)
    assert config["base_model_name_or_path"] == "zoo:base"
    assert (tmp_path / "lora" / "README.md").read_text().startswith("---\nbase_model: zoo:base\n")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["zoo:sort", "zoo:base"], 2, "name MODEL, BASE and OUT, each once"),
        (["a", "b", "c", "d"], 2, "name MODEL, BASE and OUT, each once"),
        (["zoo:sort", "zoo:bse", "lora"], 1, "the zoo has no model 'bse'"),
        (["zoo:sort", "zoo:base", "lora", "--max-rank", "0"], 2, "Invalid value for '--max-rank'"),
        (["zoo:sort", "zoo:base", "lora", "-e", "("], 1, "'(' is no regular expression"),
        (["zoo:sort", "zoo:base", "lora", "-i", "nothing"], 1, "no module is left to decompose"),
    ],
)
def test_bad_input_is_told_and_leaves_nothing(
    evomerge: Run, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    answer = evomerge("extract-lora", *arguments)
    assert answer.code == code
    assert message in " ".join(answer.err.split())
    assert not (tmp_path / "lora").exists()
