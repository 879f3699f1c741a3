"""From a merge back to its genome: what mergekit-evolve wrote, what we wrote, what fits nowhere."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.checkpoints.architecture import Layout
from evomerge.errors import ConfigError
from evomerge.genome import ParameterSpace, begin_at, encode, to_tensor
from evomerge.methods import METHODS
from evomerge.recipe import Recipe, parse_recipe
from evomerge.recipe.yaml_document import read_all_yaml

PARTS = (
    "input_layernorm.weight", "mlp.down_proj.weight", "mlp.up_proj.weight",
    "self_attn.k_proj.weight", "self_attn.q_proj.weight",
)  # fmt: skip
LAYOUT = Layout(
    "model.layers.", 4, PARTS, ("model.embed_tokens.weight",),
    ("lm_head.weight", "model.norm.weight"), None,
)  # fmt: skip
WRITTEN = read_all_yaml((Path(__file__).parent / "best_configs.yml").read_text(), "best_configs")
SEARCHABLE = [n for n, spec in METHODS.items() if any(p.search for p in spec.parameters.values())]


def make(method: str = "task_arithmetic", **changes: Any) -> ParameterSpace:
    spec = METHODS.get(method)
    models = ["b"] if spec.max_models == 1 else ["a", "b"]
    base = None if spec.base == "none" else "base"
    return ParameterSpace(models, method, LAYOUT, **{"base_model": base, **changes})


def read(document: dict[str, Any]) -> Recipe:
    return parse_recipe(document, lenient=True)[0]


def merge(method: str = "task_arithmetic", **changes: Any) -> Recipe:
    document: dict[str, Any] = {
        "merge_method": method,
        "base_model": "base",
        "models": [
            {"model": "a", "parameters": {"weight": 0.25}},
            {"model": "b", "parameters": {"weight": 0.75}},
        ],
    }
    return read({k: v for k, v in (document | changes).items() if v is not None})


@settings(deadline=None, max_examples=40)
@given(
    method=st.sampled_from(SEARCHABLE),
    changes=st.fixed_dictionaries(
        {
            "layer_granularity": st.integers(0, 5),
            "own_embeddings": st.booleans(),
            "smooth": st.booleans(),
            "filters": st.sampled_from([{}, {"x": ["self_attn"]}, {"x": ["norm"], "y": ["mlp"]}]),
        }
    ),
    seed=st.integers(0, 99),
)
def test_a_merge_made_of_a_genome_gives_the_genome_back(
    method: str, changes: dict[str, Any], seed: int
) -> None:
    space = make(method, **changes)
    rng = np.random.default_rng(seed)
    recipe = space.decode(rng.uniform(0.01, 1.0, len(space.space)))
    found, notes = encode(space, read(recipe.to_document()), LAYOUT)
    assert notes == ()
    if space.spec.limits is None:
        assert space.decode(found) == recipe
    else:  # what is moved to where the method takes it is rounded, too
        again, _ = encode(space, space.decode(found), LAYOUT)
        assert again == pytest.approx(found, abs=1e-5)


@pytest.mark.parametrize("written", WRITTEN, ids=lambda w: str(w["genome"]["merge_method"]))
def test_what_mergekit_evolve_wrote_is_read_with_its_own_genotype(written: dict[str, Any]) -> None:
    genome = dict(written["genome"])
    method, models = genome.pop("merge_method"), genome.pop("models")
    if method == "slerp":
        genome["base_model"] = models[0]
    filters = {part: [part] for part in genome.pop("filters", [])}
    genome["parameters"] = {k: genome.pop(k) for k in ("normalize",) if k in genome}
    space = ParameterSpace(models, method, LAYOUT, own_embeddings=False, filters=filters, **genome)
    point, notes = encode(space, read(written["best_config"]), LAYOUT)
    assert notes == ()
    if method == "slerp":  # in the second group the models change places, and t is turned
        parts = [part["parameters"]["t"] for part in written["best_config"]["slices"]]
        assert list(point) == pytest.approx([parts[0], 1.0 - parts[1]], abs=1e-6)
    else:
        assert to_tensor(space, point) == pytest.approx(np.array(written["tensor"]), abs=1e-6)


def test_a_search_begins_at_the_merge_and_knows_it_as_its_only_point() -> None:
    space = begin_at(make(filters={"x": ["mlp"]}, layer_granularity=2), merge(), LAYOUT)
    assert space.decode(space.space.start()).slices[0].sources[0].parameters
    values = space.space.decode(space.space.start())
    assert {v for name, v in values.items() if ".0/" in name} == {0.25}
    assert {v for name, v in values.items() if ".1/" in name} == {0.75}
    (known,) = space.space.known.values()
    assert list(known) == list(space.space.start())


def test_copies_that_mergekit_evolve_makes_and_folders_elsewhere_are_known_by_their_names() -> None:
    names = {"a": "/old/input_models/a_123456", "b": "./b", "base": "org/input_models/base_1_2"}
    recipe = merge().rename_models(lambda model: names[str(model)])
    point, _ = encode(make(own_embeddings=False), recipe, LAYOUT)
    assert list(point) == [0.25, 0.75]


def test_values_beyond_their_range_are_clipped_and_told_of_once() -> None:
    recipe = merge(
        models=[
            {"model": "a", "parameters": {"weight": 1.7}},
            {"model": "b", "parameters": {"weight": -0.5}},
        ]
    )
    point, notes = encode(make(own_embeddings=False), recipe, LAYOUT)
    assert list(point) == [1.0, 0.0]
    assert notes == (
        "2 of 2 values lie beyond their ranges and are clipped: "
        "weight.0/layers 0-3/rest is 1.7 there, and sought in [0, 1]",
    )


def test_what_has_no_gene_and_another_value_is_told_of() -> None:
    _, notes = encode(make(own_embeddings=False), merge(parameters={"lambda": 0.5}), LAYOUT)
    assert notes == (
        "lambda is 0.5 there and 1 in the genome, unless `genome.parameters` says otherwise",
    )


HALVES = [
    {
        "sources": [
            {"model": m, "layer_range": span, "parameters": {"weight": w}} for m in ("a", "b")
        ]
    }
    for span, w in (([0, 2], 0.2), ([2, 4], 0.4))
]
STACKED = [
    {
        "sources": [{"model": m, "layer_range": span} for m in ("a", "b")],
        "parameters": {"weight": 1},
    }
    for span in ([0, 2], [0, 2])
]
INSIDE = merge().to_document()
SHORT = [{"sources": [{**s, "layer_range": [0, 2]} for s in HALVES[0]["sources"]]}]


@pytest.mark.parametrize(
    ("recipe", "changes", "message"),
    [
        (merge("ties"), {}, "its merge_method is ties, the genome's is task_arithmetic"),
        (
            merge(models=None, slices=HALVES),
            {"own_embeddings": False},
            r"weight of a is 0.4 at model.layers.2.\S+, and 0.2 in the nearest genome: "
            "layer_granularity, filters or smooth differ",
        ),
        (merge(models=None, slices=STACKED), {}, "it stacks layers, and the genome leaves every"),
        (merge(models=None, slices=SHORT), {}, "it has 2 layers, and the models have 4"),
        (
            merge(models=[{"model": m, "parameters": {"weight": 1}} for m in ("a", "c")]),
            {},
            "it merges c, which is no model of the genome",
        ),
        (
            merge(models=[{"model": "a", "parameters": {"weight": 1}}]),
            {},
            "it does not merge b, which the genome does",
        ),
        (
            merge(models=[{"model": "a"}, {"model": INSIDE}], parameters={"weight": 1}),
            {},
            "it merges the results of other recipes, and a genome merges models",
        ),
        (
            merge(base_model="a", models=[{"model": "b"}, {"model": "base"}],
                  parameters={"weight": 1}),
            {},
            "its base model is a, the genome's is base",
        ),
    ],
)  # fmt: skip
def test_merge_of_another_kind_is_refused_and_why(
    recipe: Recipe, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"genome.start: no genome is this merge: {message}"):
        encode(make(**changes), recipe, LAYOUT)


def test_model_without_a_value_is_refused() -> None:
    whole = merge()
    first, second = whole.slices[0].sources
    part = replace(whole.slices[0], sources=(first, replace(second, parameters=())))
    with pytest.raises(ConfigError, match="it says nothing of weight of b at"):
        encode(make(), replace(whole, slices=(part,)), LAYOUT)
