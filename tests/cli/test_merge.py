"""`evomerge merge` of paths: baked or compact, and what is told of the difference."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evomerge.recipe import Hop, make_path, write_yaml

Run = Callable[..., Any]
MakeModel = Callable[..., Path]


@pytest.fixture
def recipe(tmp_path: Path, tiny_llama: MakeModel) -> str:
    models = [str(tiny_llama(seed, dtype="float32", rms_norm_eps=0.1)) for seed in (1, 2)]
    hops = [Hop(models[0], 0), Hop(models[1], 2, 0.5), Hop(models[0], 3, 3.0)]
    (tmp_path / "path.yml").write_text(write_yaml(make_path(hops).to_document()))
    return "path.yml"


def test_the_drift_of_a_baked_path_is_told_unless_that_is_declined(
    evomerge: Run, recipe: str, tmp_path: Path
) -> None:
    answer = evomerge("merge", recipe, "out", "--quiet")
    assert answer.code == 0
    assert answer.out == "out\n"
    assert answer.err.startswith("warning: baked scales change the logits by up to ")
    assert answer.err.count("\n") == 1
    assert json.loads((tmp_path / "out" / "drift.json").read_text())["largest"] > 1e-3
    answer = evomerge("merge", recipe, "again", "--quiet", "--no-check-drift")
    assert (answer.code, answer.err) == (0, "")
    assert not (tmp_path / "again" / "drift.json").exists()


def test_a_drift_that_was_asked_for_and_cannot_be_measured_is_a_failure(
    evomerge: Run, recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr("evomerge.evolve.drift_record.measure_drift", fail)
    for number, (flags, code) in enumerate([([], 0), (["--check-drift"], 1)]):
        answer = evomerge("merge", recipe, f"out{number}", "--quiet", *flags)
        assert (answer.code, answer.out) == (code, f"out{number}\n")
        assert "was not measured: MemoryError: no room" in answer.err
        assert (tmp_path / f"out{number}" / "config.json").exists()


def test_a_compact_path_is_the_path_and_its_card_says_how_to_load_it(
    evomerge: Run, recipe: str, tmp_path: Path
) -> None:
    answer = evomerge("merge", recipe, "out", "--quiet", "--compact")
    assert (answer.code, answer.err) == (0, "")
    assert not (tmp_path / "out" / "drift.json").exists()
    assert "trust_remote_code=True" in (tmp_path / "out" / "README.md").read_text()


def test_what_cannot_be_baked_is_told_with_the_flag_that_writes_it(
    evomerge: Run, tmp_path: Path, tiny_llama: MakeModel
) -> None:
    first, second = str(tiny_llama(1)), str(tiny_llama(2, num_key_value_heads=2))
    hops = [Hop(first, 0), Hop(second, 2, 0.5), Hop(first, 3)]
    (tmp_path / "path.yml").write_text(write_yaml(make_path(hops).to_document()))
    answer = evomerge("merge", "path.yml", "out", "--quiet")
    assert answer.code == 2
    assert "num_key_value_heads 4 and" in answer.error
    assert "`evomerge merge --compact`" in answer.error
    assert evomerge("merge", "path.yml", "out", "--quiet", "--compact").code == 0


def test_the_drift_of_other_recipes_is_nobody_s_business(
    evomerge: Run, tmp_path: Path, tiny_llama: MakeModel
) -> None:
    whole = {"merge_method": "passthrough", "models": [{"model": str(tiny_llama(1))}]}
    (tmp_path / "whole.yml").write_text(write_yaml(whole))
    answer = evomerge("merge", "whole.yml", "out", "--quiet", "--check-drift")
    assert (answer.code, answer.err) == (0, "")
    assert not (tmp_path / "out" / "drift.json").exists()
