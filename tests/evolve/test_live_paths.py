"""Paths over resident models: the same logits as what is written, and nothing made twice."""

from pathlib import Path

import pytest
import torch

from evomerge.engine import merge
from evomerge.evolve.live import load_folder
from evomerge.evolve.live_paths import LivePaths, find_common_arithmetic, find_merges
from evomerge.recipe import Hop, Recipe, Slice, Source, make_path, parse_recipe

TOKENS = torch.tensor([[1, 5, 7, 9, 11]])


def whole(model: str) -> Recipe:
    return Recipe("passthrough", (Slice((Source(model),)),))


def blend(weight: float) -> Recipe:
    models = [
        {"model": "zoo:sort", "parameters": {"weight": weight}},
        {"model": "zoo:reverse", "parameters": {"weight": 1.0 - weight}},
    ]
    return parse_recipe({"merge_method": "linear", "models": models})[0]


@pytest.fixture
def paths() -> LivePaths:
    models = {name: whole(name) for name in ("zoo:sort", "zoo:reverse")}
    return LivePaths(models, "cpu", "float32")


def read(paths: LivePaths, recipe: Recipe) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = paths.gather([recipe]).member(0).module(TOKENS).logits
    return logits


@pytest.mark.parametrize("merged", [False, True])
def test_a_live_path_is_the_folder_that_is_written_of_it(
    merged: bool, paths: LivePaths, tmp_path: Path
) -> None:
    home = blend(0.25) if merged else "zoo:sort"
    hops = [*(Hop(home, k) for k in range(3)), Hop("zoo:reverse", 1), Hop(home, 2), Hop(home, 3)]
    path = make_path(hops)
    written = load_folder(merge(path, tmp_path / "path"), "cpu", "float32")
    with torch.inference_mode():
        expected = written.module(TOKENS).logits
    assert torch.allclose(read(paths, path), expected, rtol=1e-5, atol=1e-5)


def test_models_are_opened_once_and_a_merge_stays_until_another_takes_its_place(
    paths: LivePaths,
) -> None:
    def path(merged: Recipe) -> Recipe:
        return make_path([Hop(merged, k) for k in range(4)])

    first = read(paths, path(blend(0.25)))
    pool = paths._lend(find_merges(path(blend(0.25))))
    assert paths._lend(find_merges(path(blend(0.25)))) is pool
    other = read(paths, path(blend(0.75)))
    assert not torch.equal(first, other)
    assert torch.equal(read(paths, path(blend(0.25))), first)


def test_a_model_that_stands_in_the_pool_is_not_made_again(paths: LivePaths) -> None:
    found = paths.find(whole("zoo:sort"))
    assert found is not None
    assert paths.find(whole("zoo:sort")) is found
    assert paths._lend(()).models["zoo:sort"] is found
    assert paths.find(whole("zoo:base")) is None
    assert paths.find(blend(0.5)) is None


def test_what_somebody_has_changed_is_made_anew_when_it_is_forgotten(paths: LivePaths) -> None:
    path = make_path([Hop("zoo:sort", k) for k in range(4)])
    expected = read(paths, path)
    module = paths.gather([path]).member(0).module
    for parameter in module.parameters():
        parameter.data.fill_(0.5)
    module.model.layers[1].register_forward_hook(lambda *_: None)
    assert not torch.equal(read(paths, path), expected)
    paths.forget()
    assert torch.equal(read(paths, path), expected)


def test_scales_and_their_target_are_the_recipes(paths: LivePaths) -> None:
    def path(target: str, scale: float) -> Recipe:
        hops = [
            Hop("zoo:sort", 0),
            *(Hop("zoo:sort", k, scale) for k in (1, 2)),
            Hop("zoo:sort", 3),
        ]
        return make_path(hops, input_scale_target=target)

    plain = read(paths, path("stream", 1.0))
    stream, delta = read(paths, path("stream", 0.5)), read(paths, path("delta", 0.5))
    assert not torch.equal(stream, plain)
    assert not torch.equal(delta, plain)
    assert not torch.equal(stream, delta)
    with torch.inference_mode():
        together = paths.gather([path("delta", 1.0), path("delta", 0.5)])
        assert torch.equal(together.member(0).module(TOKENS).logits, plain)
        assert torch.equal(together.member(1).module(TOKENS).logits, delta)


def test_models_of_one_dtype_run_in_it_and_of_several_in_float32(tiny_llama: object) -> None:
    half, full = (whole(str(tiny_llama(0, dtype=d))) for d in ("bfloat16", "float32"))  # type: ignore[operator]  # a fixture
    assert find_common_arithmetic([full], "cpu") == "float32"
    assert find_common_arithmetic([half], "cuda") == "bfloat16"
    assert find_common_arithmetic([half, full], "cuda") == "float32"
