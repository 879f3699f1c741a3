"""The engine against results of mergekit 0.1.5 itself: same recipes, same float32 models."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from mergekit_inputs import Array, digest, make_family, reorder_rows
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from evomerge.engine import merge
from evomerge.recipe import Hop, make_path

GOLDEN = Path(__file__).parent / "mergekit"
CASES: dict[str, Any] = yaml.safe_load((GOLDEN / "cases.yml").read_text())
PROVENANCE: dict[str, Any] = yaml.safe_load((GOLDEN / "provenance.yml").read_text())
TOLERANCE = 1e-5
"""Most difference of an element, in units of its tensor's rms."""
METHODS = 16
"""mergekit's twenty names less dare_linear, dare_ties, della, della_linear: those draw masks."""


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("family")
    make_family(folder)
    return folder


@pytest.fixture(scope="module")
def golden() -> dict[str, Array]:
    return dict(load_file(GOLDEN / "values.safetensors"))


def read_tokens(folder: Path) -> list[str]:
    vocabulary = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)


def read_tensors(folder: Path, wanted: list[str]) -> dict[str, Array]:
    """Read a result; bring its embeddings' rows into the order of the wanted tokens, if any."""
    tensors = dict(load_file(folder / "model.safetensors"))
    if not wanted:
        return tensors
    tokens = read_tokens(folder)
    assert sorted(tokens) == sorted(wanted)
    return reorder_rows(tensors, tokens, wanted)


def deviations(tensors: dict[str, Array], samples: Array, sums: Array) -> dict[str, float]:
    """Return each tensor's largest difference from the golden values in units of its rms."""
    found, at, row = {}, 0, 0
    for name, (picked, projected) in digest(tensors).items():
        rms = float(np.sqrt(np.mean(np.square(tensors[name], dtype=np.float64)))) or 1.0
        off = np.abs(picked - samples[at : at + len(picked)]).max()
        missed = np.abs(projected - sums[row : row + len(projected)]).max()
        found[name] = float(max(off, missed)) / rms
        at, row = at + len(picked), row + len(projected)
    return found


@pytest.mark.parametrize("case", PROVENANCE["cases"])
def test_the_recipe_gives_what_mergekit_gives(
    case: str,
    family: Path,
    golden: dict[str, Array],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(family)
    kept = PROVENANCE["cases"][case]
    recipe = {**CASES[case], "dtype": "float32", "out_dtype": "float32"}
    out = merge(recipe, tmp_path / "out", copy_tokenizer_files=bool(kept["tokens"]))
    tensors = read_tensors(out, kept["tokens"])
    layout = {name: list(tensor.shape) for name, tensor in sorted(tensors.items())}
    assert layout == PROVENANCE["layouts"][kept["layout"]]
    assert all(tensor.dtype == np.float32 for tensor in tensors.values())
    off = deviations(tensors, golden[f"{case}/samples"], golden[f"{case}/sums"])
    assert max(off.values()) <= TOLERANCE, {n: x for n, x in off.items() if x > TOLERANCE}


@pytest.mark.parametrize("case", [name for name in PROVENANCE["cases"] if "tokenizer of" in name])
def test_a_tokenizer_taken_from_one_model_keeps_its_numbers(
    case: str, family: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(family)
    out = merge(CASES[case], tmp_path / "out")
    assert read_tokens(out) == PROVENANCE["cases"][case]["tokens"]


PATHS = {
    "a path with scaled inputs, baked": ("stream", 1.0),
    "a path with scaled additions, baked": ("delta", 1.5),
}


@pytest.mark.parametrize("case", PATHS)
def test_mergekit_carries_a_baked_path_out_to_the_same_bits(
    case: str,
    family: Path,
    golden: dict[str, Array],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(family)
    target, first = PATHS[case]
    places = [("a", 0, first), ("a", 1, 1.0), ("b", 1, 0.75), ("b", 2, 1.0), ("a", 3, 1.7)]
    path = make_path([Hop(*place) for place in places], input_scale_target=target)
    out = merge(path, tmp_path / "out")
    written = yaml.safe_load((out / "mergekit_config.yml").read_text())
    assert written == CASES[case]
    samples = [picked for picked, _ in digest(read_tensors(out, [])).values()]
    assert np.array_equal(np.concatenate(samples), golden[f"{case}/samples"])


def test_every_case_of_every_method_that_draws_nothing_is_held() -> None:
    assert set(PROVENANCE["cases"]) == set(CASES)
    assert len({recipe["merge_method"] for recipe in CASES.values()}) == METHODS


def test_one_element_that_is_off_is_seen(family: Path) -> None:
    tensors = dict(load_file(family / "a" / "model.safetensors"))
    samples, sums = (np.concatenate(x) for x in zip(*digest(tensors).values(), strict=True))
    assert max(deviations(tensors, samples, sums).values()) < 1e-7
    for place in (0, 200, 383):
        wrong = tensors["model.layers.1.mlp.up_proj.weight"].copy()
        wrong.reshape(-1)[place] += 0.001
        off = deviations(
            {**tensors, "model.layers.1.mlp.up_proj.weight": wrong},
            samples,
            sums,
        )
        assert [name for name, x in off.items() if x > TOLERANCE] == [
            "model.layers.1.mlp.up_proj.weight"
        ]
