"""Genomes decode to recipes that read back, whatever the layout, the method and the settings."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.checkpoints.architecture import Layout
from evomerge.engine import Models, make_plan
from evomerge.errors import ConfigError, UnknownName
from evomerge.genome import ParameterSpace
from evomerge.methods import METHODS
from evomerge.recipe import Recipe, parse_recipe
from evomerge.recipe.check import lookup, resolve

PARTS = (
    "input_layernorm.weight", "mlp.down_proj.weight", "mlp.up_proj.weight",
    "self_attn.k_proj.weight", "self_attn.q_proj.weight",
)  # fmt: skip
ATTENTION_MLP = {"attention": ["self_attn"], "mlp": ["mlp"]}


def layout(layers: int = 4, *, tied: bool = True, stack: str = "model.layers.") -> Layout:
    head = ("model.norm.weight",) if tied else ("lm_head.weight", "model.norm.weight")
    parts = PARTS if layers else ()
    return Layout(
        stack if layers else "", layers, parts, ("model.embed_tokens.weight",), head, None
    )


def make(
    method: str = "task_arithmetic", where: Layout | None = None, **changes: Any
) -> ParameterSpace:
    models = ["b"] if METHODS.get(method).max_models == 1 else ["a", "b", "base"]
    base = None if METHODS.get(method).base == "none" else "base"
    return ParameterSpace(models, method, where or layout(), **{"base_model": base, **changes})


def value_at(
    recipe: Recipe, layer: int | None, part: str, model: int = 0, name: str = "weight"
) -> Any:
    """Look a parameter up as the engine does; layer None is a tensor outside the layers."""
    slices = recipe.slices
    tensor = part if layer is None else f"model.layers.{layer}.{part}"
    chosen, depth = (slices[-1] if "embed" not in part else slices[0]), 0.0
    for slice_ in slices if layer is not None else ():
        first, last = slice_.sources[0].layers or (0, 4)
        if layer is not None and first <= layer < last:
            chosen = slice_
            depth = (layer - first) / (last - first - 1) if last - first > 1 else 1.0
    source = (
        chosen.sources[model] if METHODS.get(recipe.method).parameters[name].per_model else None
    )
    return resolve(lookup(recipe, chosen, source, name), tensor, depth)


GENERAL = "generalized_task_arithmetic"
SEARCHABLE = [n for n, spec in METHODS.items() if any(p.search for p in spec.parameters.values())]
SPACES = st.fixed_dictionaries(
    {
        "method": st.sampled_from(SEARCHABLE),
        "where": st.builds(layout, st.integers(0, 7), tied=st.booleans()),
        "layer_granularity": st.integers(0, 8),
        "own_embeddings": st.booleans(),
        "smooth": st.booleans(),
        "dtype": st.sampled_from([None, "bfloat16"]),
        "filters": st.sampled_from([{}, {"a": ["embed"]}, {"a": ["norm"], "b": ["embed", "norm"]}]),
    }
)


@settings(deadline=None, max_examples=120)
@given(choices=SPACES, seed=st.integers(0, 999))
def test_every_point_is_a_recipe_that_reads_back(choices: dict[str, Any], seed: int) -> None:
    space = make(**choices)
    recipe = space.decode(np.random.default_rng(seed).uniform(0.01, 1, len(space.space)))
    document = recipe.to_document()
    back, warnings = parse_recipe(document)
    assert back.to_document() == document
    assert warnings == []
    if not recipe.merges_whole_models:
        assert back == recipe


@settings(deadline=None, max_examples=60)
@given(choices=SPACES, point=st.randoms(use_true_random=False))
def test_every_gene_has_an_effect(choices: dict[str, Any], point: Any) -> None:
    space = make(**{**choices, "where": layout(4), "filters": ATTENTION_MLP})
    genome = np.full(len(space.space), 0.5)
    before = space.decode(genome).to_document()
    genome[point.randrange(len(genome))] = 0.75
    assert space.decode(genome).to_document() != before


@pytest.mark.parametrize("method", SEARCHABLE)
def test_the_corners_of_the_cube_decode(method: str) -> None:
    space = make(method)
    for corner in (0.0, 1.0):
        recipe = space.decode(np.full(len(space.space), corner))
        assert recipe.method == method


@pytest.mark.parametrize(
    ("changes", "genes"),
    [
        ({}, 2 * (1 + 1)),  # 2 models × (embeddings, all layers)
        ({"own_embeddings": False}, 2),
        ({"layer_granularity": 1}, 2 * (1 + 4)),
        ({"layer_granularity": 3}, 2 * (1 + 2)),  # layers 0-2 and 3-3
        ({"layer_granularity": 99}, 2 * (1 + 1)),
        ({"where": layout(tied=False)}, 2 * (2 + 1)),  # the head has a group of its own
        ({"filters": ATTENTION_MLP}, 2 * (1 + 3)),  # attention, mlp, rest (the norm)
        ({"filters": {**ATTENTION_MLP, "norm": ["norm"]}}, 2 * (1 + 3)),  # nothing is left
        ({"filters": ATTENTION_MLP, "layer_granularity": 2}, 2 * (1 + 2 * 3)),
        ({"method": "ties"}, 2 * 2 * 2),  # weight and density
        ({"method": "ties", "parameters": {"density": 0.5}}, 2 * 2),
        ({"method": "slerp", "layer_granularity": 1}, 1 + 4),
        ({"method": "linear"}, 3 * 2),  # the base counts as a model
        ({"method": "della"}, 2 * 2 * 3),  # weight, density and epsilon
        ({"method": GENERAL}, 2 * 2 * 4 + 2 * 2),  # and gamma; sparsifier, consensus of all models
        ({"method": GENERAL, "parameters": {"sparsifier": "random"}}, 2 * 2 * 4 + 2),
        ({"method": GENERAL, "ranges": {"normalize": (False, True)}}, 2 * 2 * 4 + 2 * 3),
        ({"ranges": {"lambda": (0.5, 1.5)}}, 2 * 2 + 2),  # nothing that would be sought by itself
        ({"method": "dare_ties", "ranges": {"rescale": ("paper", True, False)}}, 2 * 2 * 2 + 2),
        ({"where": layout(0)}, 2 * (1 + 1)),
    ],
)
def test_genes_are_groups_times_components_times_models(
    changes: dict[str, Any], genes: int
) -> None:
    space = make(**changes)
    assert len(space.space) == len({gene.name for gene in space.space.genes}) == genes


def test_each_layer_component_and_model_gets_its_own_value() -> None:
    space = make(filters=ATTENTION_MLP, layer_granularity=3, where=layout(tied=False))
    genome = np.linspace(0.01, 0.99, len(space.space))
    values, recipe = space.space.decode(genome), space.decode(genome)
    assert [part.sources[0].layers for part in recipe.slices] == [(0, 3), (3, 4)]
    for model in range(2):
        for layer, group in ((0, "layers 0-2"), (2, "layers 0-2"), (3, "layers 3-3")):
            for part, component in (
                ("self_attn.k_proj.weight", "attention"),
                ("mlp.up_proj.weight", "mlp"),
                ("input_layernorm.weight", "rest"),
            ):
                name = f"weight.{model}/{group}/{component}"
                assert value_at(recipe, layer, part, model) == values[name]
        for tensor, group in (
            ("model.embed_tokens.weight", "embeddings"),
            ("lm_head.weight", "head"),
            ("model.norm.weight", "head"),
        ):
            assert value_at(recipe, None, tensor, model) == values[f"weight.{model}/{group}"]


def test_a_tied_head_and_the_final_norm_go_with_the_embeddings() -> None:
    space = make(layer_granularity=2)
    genome = np.linspace(0.01, 0.99, len(space.space))
    values, recipe = space.space.decode(genome), space.decode(genome)
    for tensor in ("model.embed_tokens.weight", "model.norm.weight"):
        assert value_at(recipe, None, tensor) == values["weight.0/embeddings"]


def test_without_genes_of_their_own_embeddings_and_head_follow_the_outer_layers() -> None:
    space = make(layer_granularity=2, own_embeddings=False, where=layout(tied=False))
    genome = np.linspace(0.01, 0.99, len(space.space))
    values, recipe = space.space.decode(genome), space.decode(genome)
    assert value_at(recipe, None, "model.embed_tokens.weight") == values["weight.0/layers 0-1/rest"]
    assert value_at(recipe, None, "lm_head.weight") == values["weight.0/layers 2-3/rest"]


def test_smooth_interpolates_between_groups() -> None:
    space = make(layer_granularity=2, smooth=True, own_embeddings=False)
    recipe = space.decode(np.array([0.0, 0.9, 0.5, 0.5]))
    assert recipe.merges_whole_models
    found = [value_at(recipe, layer, "mlp.up_proj.weight") for layer in range(4)]
    assert found == pytest.approx([0.0, 0.3, 0.6, 0.9])


def test_smooth_embeddings_and_final_norm_follow_the_first_group() -> None:
    models = Models()
    space = ParameterSpace(
        ["zoo:sort"], "task_arithmetic", models.layout("zoo:base"), base_model="zoo:base",
        layer_granularity=2, smooth=True, own_embeddings=False,
    )  # fmt: skip
    plan = make_plan(space.decode(np.array([0.2, 0.9])), models)
    found = {tensor.name: tensor.values["weight"] for tensor in plan.tensors}
    assert found["model.embed_tokens.weight"] == (0.2,)
    assert found["model.norm.weight"] == (0.2,)  # mergekit, too, has t = 0 behind the layers


def test_negative_weights_are_sought_only_when_allowed() -> None:
    assert {g.low for g in make("ties").space.genes} == {0.0, 0.05}
    genes = make("ties", allow_negative_weights=True).space.genes
    assert {(g.low, g.high) for g in genes} == {(-1.0, 1.0), (0.05, 1.0)}  # densities stay
    wide = make(allow_negative_weights=True, ranges={"weight": (0.0, 2.0)}).space.genes
    assert {(g.low, g.high) for g in wide} == {(-2.0, 2.0)}
    mine = make(allow_negative_weights=True, ranges={"weight": (-0.5, 2.0)}).space.genes
    assert {(g.low, g.high) for g in mine} == {(-0.5, 2.0)}


def test_fixed_parameters_are_not_searched_and_reach_the_recipe() -> None:
    space = make("ties", parameters={"density": 0.25, "normalize": False, "lambda": 0.8})
    recipe = space.decode(space.space.start())
    assert all(gene.name.startswith("weight") for gene in space.space.genes)
    assert value_at(recipe, 1, "mlp.up_proj.weight", name="density") == 0.25
    assert recipe.to_document()["parameters"] == {
        "density": 0.25,
        "lambda": 0.8,
        "normalize": False,
    }


def test_settings_reach_the_recipe() -> None:
    recipe = make(dtype="bfloat16", tokenizer_source="a").decode(np.full(4, 0.5))
    assert (recipe.dtype, recipe.tokenizer_source, recipe.base_model) == ("bfloat16", "a", "base")
    assert recipe.models == ("base", "a", "b")


@pytest.mark.parametrize("method", SEARCHABLE)
@pytest.mark.parametrize(
    "changes", [{}, {"layer_granularity": 3}, {"smooth": True, "layer_granularity": 1}]
)
def test_the_engine_can_carry_out_what_is_decoded(method: str, changes: dict[str, Any]) -> None:
    models = Models()
    base = None if METHODS.get(method).base == "none" else "zoo:base"
    names = ["zoo:sort", "zoo:reverse"][: METHODS.get(method).max_models]
    space = ParameterSpace(
        names, method, models.layout("zoo:base"), base_model=base, filters=ATTENTION_MLP, **changes
    )
    plan = make_plan(space.decode(space.space.start()), models)
    assert {tensor.name for tensor in plan.tensors} == set(models["zoo:base"].entries)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"ranges": {"density": (0, 1)}},
            "genome.ranges.density: task_arithmetic has no parameter",
        ),
        ({"ranges": {"wieght": (0, 1)}}, r"ranges.wieght: .* \(did you mean 'weight'\?\)"),
        ({"method": "ties", "ranges": {"density": (0.0, 1.5)}}, r"density must stay in \[0, 1\]"),
        ({"ranges": {"weight": (0.5,)}}, r"ranges.weight: expected \[low, high\], not 1 numbers"),
        ({"ranges": {"weight": ("a", "b")}}, "ranges.weight: weight must be a number, not 'a'"),
        ({"ranges": {"normalize": (True,)}}, "normalize: expected at least two different choices"),
        ({"ranges": {"normalize": (True, True)}}, "expected at least two different choices"),
        ({"ranges": {"normalize": (0.2, 0.8)}}, "normalize must be true or false, not 0.2"),
        (
            {"method": GENERAL, "ranges": {"sparsifier": ("magnitude", "rnadom")}},
            "genome.ranges.sparsifier: sparsifier must be 'none' or 'magnitude' or 'random'",
        ),
        (
            {"ranges": {"weight": (0, 1)}, "parameters": {"weight": 0.5}},
            "genome.ranges.weight: weight has a fixed value, too",
        ),
        (
            {"method": "della", "parameters": {"epsilon": 0.15}},
            r"genome.parameters.epsilon: epsilon must be in \[0, 0.05\), not 0.15.*narrow its",
        ),
        (
            {
                "method": "della",
                "parameters": {"epsilon": 0.15},
                "ranges": {"density": (0.5, 1.0)},  # 1 itself would do
            },
            "genome.parameters.epsilon: epsilon must be in",
        ),
        ({"ranges": {"weight": (1.0, 0.5)}}, "weight: low must be < high"),
        ({"ranges": {"weight": (0.0, float("inf"))}}, r"weight must stay in \(-inf, inf\)"),
        ({"method": "passthrough"}, "passthrough has nothing to search"),
        ({"parameters": {"weight": 1.0}}, "task_arithmetic has nothing to search"),
        (
            {"filters": {"attention": ["self_atn"]}},
            r"attention: no tensor's name contains 'self_atn' \(did you mean 'self_attn'\?\)",
        ),
        ({"filters": {"mlp": []}}, "genome.filters.mlp: names no part of a tensor's name"),
        (
            {"filters": {"rest": ["mlp"]}},
            "genome.filters.rest: this name stands for what no filter",
        ),
        (
            {"base_model": "a", "method": "slerp", "where": layout(), "ranges": {"t": (2, 1)}},
            "t: low",
        ),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**changes)


def test_only_a_base_leaves_nothing_to_merge() -> None:
    with pytest.raises(ConfigError, match=r"genome\.models: there is no model besides the base"):
        ParameterSpace(["base"], "ties", layout(), base_model="base")


def test_all_problems_come_at_once() -> None:
    changes: dict[str, Any] = {"ranges": {"x": (0, 1), "weight": (1, 0)}, "filters": {"m": ["xyz"]}}
    with pytest.raises(ConfigError, match="genome: 3 problems"):
        make(**changes)


def test_an_unknown_method_is_met_with_the_closest_one() -> None:
    with pytest.raises(UnknownName, match="did you mean 'ties'"):
        ParameterSpace(["a"], "tise", layout())


def test_choices_reach_the_recipe() -> None:
    ranges = {"sparsifier": ("magnitude", "random"), "normalize": (False, True)}
    space = make(GENERAL, ranges=ranges, layer_granularity=2, own_embeddings=False)
    genes = {gene.name: gene for gene in space.space.genes}
    assert genes["sparsifier/layers 0-1/rest"].choices == ("magnitude", "random")
    assert genes["consensus/layers 2-3/rest"].choices == ("none", "sum", "count")
    values = {name: gene.value(0.0) for name, gene in genes.items()}
    values |= {"sparsifier/layers 2-3/rest": "random", "normalize/layers 0-1/rest": True}
    recipe = space.decode(space.space.encode(values))
    found = [
        [value_at(recipe, layer, "mlp.up_proj.weight", name=name) for layer in range(4)]
        for name in ("sparsifier", "normalize", "consensus")
    ]
    assert found[0] == ["magnitude", "magnitude", "random", "random"]
    assert found[1] == [True, True, False, False]
    assert found[2] == ["none"] * 4
    values |= {name: 0.5 for name in values if name.startswith("weight")}
    recipe = space.decode(space.space.encode(values))
    assert parse_recipe(recipe.to_document())[0] == recipe


def test_smooth_choices_are_taken_from_the_nearer_group() -> None:
    space = make(GENERAL, smooth=True, layer_granularity=2, own_embeddings=False)
    values = {gene.name: gene.value(0.0) for gene in space.space.genes}
    values["sparsifier/layers 2-3/rest"] = "outliers"
    recipe = space.decode(space.space.encode(values))
    found = [value_at(recipe, i, "mlp.up_proj.weight", name="sparsifier") for i in range(4)]
    assert found == ["none", "none", "outliers", "outliers"]


def test_true_and_false_may_be_written_as_numbers() -> None:
    space = make(ranges={"normalize": (0, 1.0)})
    flags = [gene.choices for gene in space.space.genes if gene.choices]
    assert flags == [(False, True)] * 2
    assert all(isinstance(choice, bool) for pair in flags for choice in pair)


@pytest.mark.parametrize(
    ("method", "expected"),
    [("dare_linear", "paper"), ("dare_ties", "paper"), ("della", "paper"), (GENERAL, "paper"),
     ("ties", None), ("breadcrumbs", None)],
)  # fmt: skip
def test_genomes_rescale_as_the_papers_do(method: str, expected: str | None) -> None:
    space = make(method)
    document = space.decode(space.space.start()).to_document()
    assert document.get("parameters", {}).get("rescale") == expected
    mine = make(method, parameters={"rescale": True})
    assert value_at(mine.decode(mine.space.start()), 0, "w", name="rescale") is True
    sought = make(method, ranges={"rescale": (True, False)}, own_embeddings=False)
    names = {gene.name.partition("/")[0] for gene in sought.space.genes}
    assert "rescale" in names
    assert sought.decode(np.zeros(len(sought.space))).parameters == ()


@settings(deadline=None, max_examples=60)
@given(
    method=st.sampled_from(["della", "della_linear", GENERAL]),
    smooth=st.booleans(),
    fixed=st.sampled_from([{}, {"density": 0.9}, {"sparsifier": "rank"}]),
    seed=st.integers(0, 999),
)
def test_what_does_not_go_together_is_moved_to_what_does(
    method: str, smooth: bool, fixed: dict[str, Any], seed: int
) -> None:
    fixed = {k: v for k, v in fixed.items() if k in METHODS.get(method).parameters}
    where = {"layer_granularity": 2, "filters": ATTENTION_MLP, "smooth": smooth}
    space = make(method, parameters=fixed, ranges={"epsilon": (0.0, 0.9)}, **where)
    recipe = space.decode(np.random.default_rng(seed).random(len(space.space)))
    again, _ = parse_recipe(recipe.to_document())  # which refuses density ± epsilon beyond (0, 1)
    assert again.to_document() == recipe.to_document()
    rank = "sparsifier" not in METHODS.get(method).parameters
    for layer in range(4):
        for model in range(2):
            density, epsilon = (
                value_at(recipe, layer, "mlp.up_proj.weight", model, name)
                if name not in fixed
                else fixed[name]
                for name in ("density", "epsilon")
            )
            if rank or (smooth and density < 1.0):
                assert density - epsilon > 0.0
                assert density + epsilon < 1.0 or density == 1.0


def test_a_fixed_epsilon_goes_with_a_range_that_leaves_it_room() -> None:
    space = make("della", parameters={"epsilon": 0.15}, ranges={"density": (0.2, 0.8)})
    for corner in (1e-6, 1.0):
        parse_recipe(space.decode(np.full(len(space.space), corner)).to_document())
