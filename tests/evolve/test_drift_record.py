"""What a folder, its card and the log say of the drift of a baked path."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evomerge.config import parse_config
from evomerge.engine import merge
from evomerge.engine.compact import is_compact
from evomerge.evolve.drift import ROWS
from evomerge.evolve.drift_record import CARD, FILE, find_room, record_drift
from evomerge.evolve.finish import export
from evomerge.evolve.verdict import Verdict, read_verdict
from evomerge.recipe import Hop, Recipe, make_path

MakeModel = Callable[..., Path]


def path_of(make: MakeModel, target: str = "stream", epsilon: float = 0.1) -> Recipe:
    first, second = (
        str(make(seed, dtype="float32", rms_norm_eps=epsilon, tie_word_embeddings=False))
        for seed in (1, 2)
    )
    hops = [Hop(first, 0), Hop(second, 2, 0.5), Hop(first, 1, 3.0), Hop(first, 3)]
    return make_path(hops, input_scale_target=target)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def test_a_large_drift_is_told_in_card_and_file_and_warned_about(
    tiny_llama: MakeModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = path_of(tiny_llama)
    folder = merge(path, tmp_path / "out")
    found = record_drift(path, folder)
    assert found is not None
    assert found.largest > 1e-3
    assert (folder / CARD).read_text().count(found.sentence) == 1
    assert f"up to {found.largest:.1e} of the largest" in found.sentence
    assert json.loads((folder / FILE).read_text()) == found.to_values()
    [warning] = warnings_of(caplog)
    assert warning.startswith(f"baked scales change the logits by up to {found.largest:.1e} (the")
    assert warning.endswith("`evomerge merge --compact` is exact")
    assert "\n" not in warning


def test_a_small_drift_is_told_and_nobody_is_warned(
    tiny_llama: MakeModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = path_of(tiny_llama, "delta")
    folder = merge(path, tmp_path / "out")
    found = record_drift(path, folder)
    assert found is not None
    assert found.small
    assert found.sentence in (folder / CARD).read_text()
    assert warnings_of(caplog) == []


def test_what_nobody_wants_measured_is_not_measured(
    tiny_llama: MakeModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = path_of(tiny_llama)
    folder = merge(path, tmp_path / "out")
    assert record_drift(path, folder, wanted=False) is None
    assert "from the path was not measured: nobody asked." in (folder / CARD).read_text()
    assert not (folder / FILE).exists()
    assert warnings_of(caplog) == []


def test_models_too_large_for_memory_are_only_measured_by_those_who_insist(
    tiny_llama: MakeModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = path_of(tiny_llama)
    folder = merge(path, tmp_path / "out", model_card=False)
    assert record_drift(path, folder, room=1000) is None
    [warning] = warnings_of(caplog)
    told = "that takes 314 KB of memory (--check-drift does it all the same)"
    assert warning.endswith(told)  # two models of 39 200 parameters, 4 bytes each
    assert record_drift(path, folder, room=1000, wanted=True) is not None
    assert not (folder / CARD).exists()


def test_a_folder_that_cannot_be_run_is_told_and_not_raised(
    tiny_llama: MakeModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = path_of(tiny_llama)
    folder = merge(path, tmp_path / "out")
    (folder / "config.json").write_text("{}")
    assert record_drift(path, folder, wanted=True) is None
    [warning] = warnings_of(caplog)
    assert "not measured: transformers cannot load" in warning
    assert "transformers cannot load" in (folder / CARD).read_text()


def test_free_memory_is_a_number_of_bytes() -> None:
    room = find_room("cpu")
    assert room is not None
    assert 1_000_000 < room < 10**14


@pytest.mark.parametrize(
    ("scale", "dtype", "reason"),
    [(1e-4, "float16", "overflows float16"), (1e-9, "float32", "leaves no room for numbers")],
)
def test_a_winner_that_cannot_be_baked_is_written_compact_and_not_lost(
    tiny_llama: MakeModel,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    scale: float,
    dtype: str,
    reason: str,
) -> None:
    folder = str(tiny_llama(1, dtype="float32"))
    path = make_path([Hop(folder, layer % 4, scale) for layer in range(5)], dtype=dtype)
    document: dict[str, Any] = {
        "genome": {"models": ["zoo:reverse", "zoo:sort"], "merge_method": "linear"},
        "tasks": [{"name": "reverse", "evaluator": "exact_match", "data": "zoo:reverse"}],
    }
    verdict = Verdict("It is what it is.", False, (), 6, None, None)
    best, told = export(path, tmp_path, parse_config(document), verdict=verdict, scores={})
    assert is_compact(best)
    assert told.drift is None
    [warning] = warnings_of(caplog)
    assert reason in warning
    assert "trust_remote_code=True" in warning
    assert "\n" not in warning
    assert f"It is what it is. {warning}" in (best / CARD).read_text()


@pytest.mark.slow
def test_the_winner_of_a_run_is_held_against_its_path_on_validation_prompts(
    tmp_path: Path,
) -> None:
    document: dict[str, Any] = {
        "genome": {"models": ["zoo:reverse", "zoo:sort"], "merge_method": "linear"},
        "tasks": [{"name": "reverse", "evaluator": "exact_match", "data": "zoo:reverse"}],
        "items": {"search": 6, "validation": 6, "test": 6},
        "executor": {"name": "local", "threads": 1},
    }
    hops = [Hop("zoo:reverse", 0), Hop("zoo:sort", 1, 0.8), Hop("zoo:reverse", 3, 1.3)]
    path = make_path(hops, dtype="float32")
    verdict = Verdict("It is what it is.", False, (), 6, None, None)
    best, told = export(path, tmp_path, parse_config(document), verdict=verdict, scores={})
    assert told.drift is not None
    assert told.drift["prompts"] == "prompts of the run"
    assert told.drift["tokens"] > ROWS - 2  # as many prompts as there are validation items
    assert told.drift["largest"] < 1e-3
    assert json.loads((best / FILE).read_text()) == told.drift
    assert "the likeliest next token is the same" in (best / CARD).read_text()
    assert read_verdict(json.loads(json.dumps(told.to_values()))).drift == told.drift
