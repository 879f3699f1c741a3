"""Genomes of a path's scales: the layers stay, one number a hop is sought."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.errors import ConfigError, RecipeError
from evomerge.genome.path_scales import PathScaleSpace
from evomerge.recipe import Recipe, parse_recipe
from evomerge.recipe.path import Hop, find_hops, make_path
from evomerge.search.catcma import CatCMA

PATH = make_path(
    [Hop("a", 0), Hop("a", 1, 1.25), Hop("b", 1), Hop("a", 2, 3.0)],
    input_scale_target="delta",
    dtype="bfloat16",
)


def test_a_search_begins_at_the_scales_that_the_path_has() -> None:
    free, grid = PathScaleSpace(PATH), PathScaleSpace(PATH, grid=[1.0, 0.5, 1.5])
    assert [gene.start for gene in free.space.genes] == [1.0, 1.25, 1.0, 1.5]
    assert [gene.start for gene in grid.space.genes] == [1.0, 1.0, 1.0, 1.5]
    assert all(gene.choices == (0.5, 1.0, 1.5) for gene in grid.space.genes)


def test_on_a_grid_the_scale_that_a_hop_has_is_likely_and_its_neighbours_less() -> None:
    grid = [0.25, 0.5, 1.0, 1.25, 3.0, 4.0]
    for gene in PathScaleSpace(PATH, grid=grid).space.genes:
        home = gene.choices.index(gene.start)  # type: ignore[arg-type]  # it has one
        for outwards in (gene.chances[home:], gene.chances[home::-1]):
            assert list(outwards) == sorted(set(outwards), reverse=True)
        assert gene.chances[home] == 0.8
        assert sum(gene.chances) == pytest.approx(1.0)


def test_catcma_begins_on_a_grid_near_the_path_that_it_refines() -> None:
    path = make_path([Hop("a", layer, 1.25 if layer % 2 else 1.0) for layer in range(12)])
    genome = PathScaleSpace(path, grid=[0.5, 0.8, 1.0, 1.25, 1.5])
    own = [hop.scale for hop in find_hops(path)]
    kept = [
        hop.scale == scale
        for point in CatCMA(genome.space, seed=1, population=60).ask()
        for hop, scale in zip(find_hops(genome.decode(point)), own, strict=True)
    ]
    assert sum(kept) / len(kept) == pytest.approx(0.8, abs=0.06)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.sampled_from([(), (0.8, 1.0, 1.25)]))
def test_every_point_is_the_path_with_other_scales(
    point: list[float], grid: tuple[float, ...]
) -> None:
    genome = PathScaleSpace(PATH, scale_range=(0.4, 1.6), grid=grid)
    recipe = genome.decode(point)  # type: ignore[arg-type]  # a list will do
    before, after = find_hops(PATH), find_hops(recipe)
    assert [(h.model, h.layer) for h in after] == [(h.model, h.layer) for h in before]
    assert [h.scale for h in after] == [float(v) for v in genome.space.decode(point).values()]  # type: ignore[arg-type]  # likewise
    assert all(h.scale in grid if grid else 0.4 <= h.scale <= 1.6 for h in after)
    scaled = any(hop.scale != 1.0 for hop in after)
    assert recipe.input_scale_target == ("delta" if scaled else "stream")
    assert recipe.dtype == "bfloat16"
    assert parse_recipe(recipe.to_document())[0] == recipe


def test_a_path_without_scales_is_told_what_they_multiply() -> None:
    plain = make_path([Hop("a", 0), Hop("a", 1)])
    genome = PathScaleSpace(plain, target="delta")
    assert genome.decode(genome.space.encode({"scale.0": 1.0, "scale.1": 1.0})) == plain
    found = genome.decode(genome.space.encode({"scale.0": 1.0, "scale.1": 0.75}))
    assert found == make_path([Hop("a", 0), Hop("a", 1, 0.75)], input_scale_target="delta")


@pytest.mark.parametrize(
    ("grid", "span", "message"),
    [
        ((1.0,), (0.5, 1.5), r"genome.scale_grid: expected at least two .*, not \[1.0\]"),
        ((0.0, 1.0), (0.5, 1.5), "genome.scale_grid: expected at least two different numbers > 0"),
        ((), (0.0, 1.5), "genome.scale_range: expected 0 < low"),
        ((), (0.5, math.nan), "genome.scale_range: expected 0 < low"),
    ],
)
def test_a_grid_or_range_that_cannot_be_is_refused(
    grid: tuple[float, ...], span: tuple[float, float], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        PathScaleSpace(PATH, grid=grid, scale_range=span)


def test_what_is_no_path_is_refused() -> None:
    whole: Recipe = parse_recipe({"merge_method": "passthrough", "models": [{"model": "a"}]})[0]
    with pytest.raises(RecipeError, match="this is no path"):
        PathScaleSpace(whole)
