"""The founders' inner products: what they say of merges is what the merges' weights say."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from evomerge.engine import Models
from evomerge.engine.stream import merge
from evomerge.evolve import geometry
from evomerge.evolve.geometry import measure_founders
from evomerge.genome import AncestrySpace

MakeModel = Callable[..., Path]


def make(tiny_llama: MakeModel, **shape: bool) -> AncestrySpace:
    models = Models()
    founders = [str(tiny_llama(seed, dtype="float32", **shape)) for seed in (1, 2, 3)]
    layout = models.layout(founders[0])
    return AncestrySpace(founders, layout, measure=partial(measure_founders, models=models))


@pytest.mark.parametrize("tied", [True, False])
def test_inner_products_of_merges_follow_from_the_metric(
    tiny_llama: MakeModel, tmp_path: Path, tied: bool
) -> None:
    ancestry = make(tiny_llama, tie_word_embeddings=tied)
    space, rng = ancestry.space, np.random.default_rng(4)
    points = [rng.random(len(space)) for _ in range(2)]
    values = [np.array(list(space.decode(point).values()), dtype=float) for point in points]
    weights = []
    for k, point in enumerate(points):
        merge(ancestry.decode(point), tmp_path / f"{k}")
        tensors = load_file(tmp_path / f"{k}" / "model.safetensors")
        weights.append(torch.cat([t.double().flatten() for t in tensors.values()]))
    metric = space.metric
    assert metric is not None
    for i, j in ((0, 0), (0, 1), (1, 1)):
        assert values[i] @ metric @ values[j] == pytest.approx(float(weights[i] @ weights[j]))


def test_layer_groups_have_nothing_in_common(tiny_llama: MakeModel) -> None:
    ancestry = make(tiny_llama)
    metric = ancestry.space.metric
    assert metric is not None
    assert np.array_equal(metric, metric.T)
    groups = np.arange(len(metric)) // 3
    assert np.array_equal(metric != 0.0, groups[:, None] == groups)


def test_bits_do_not_depend_on_threads(
    tiny_llama: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for threads in (1, 4):
        monkeypatch.setattr(geometry, "count_cores", lambda threads=threads: threads)
        found.append(make(tiny_llama).space.metric)
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].tobytes() == found[1].tobytes()
