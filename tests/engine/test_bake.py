"""Baked paths: stock checkpoints that compute what layers with scaled inputs compute."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from evomerge.engine import Models, make_plan, merge
from evomerge.engine.compact import plan_compact
from evomerge.errors import RecipeError
from evomerge.recipe import Recipe, parse_recipe
from evomerge.recipe.path import Hop, find_hops, make_path

TOKENS = {"vocab_size": 40, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
PLAIN = {**TOKENS, "hidden_size": 16, "num_attention_heads": 2, "max_position_embeddings": 32}
GATED = {**PLAIN, "intermediate_size": 24, "num_key_value_heads": 2, "head_dim": 8}
EXPERTS = {**GATED, "num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 8}
TIED, UNTIED = {"tie_word_embeddings": True}, {"tie_word_embeddings": False}
SLIDING = {**GATED, "sliding_window": 4}
KINDS: dict[str, dict[str, Any]] = {
    "llama": GATED,
    "mistral": {**GATED, **TIED},
    "qwen2": GATED,
    "qwen3": {**GATED, **TIED},
    "phi3": GATED,
    "gemma": GATED,
    "gemma2": SLIDING,
    "gemma3_text": {**SLIDING, **UNTIED},
    "gpt_neox": {**PLAIN, "intermediate_size": 24},
    "gpt2": {**TOKENS, "n_embd": 16, "n_head": 2, "n_positions": 32},
    "opt": {**PLAIN, "ffn_dim": 24, "word_embed_proj_dim": 16},
    "olmo2": {**GATED, "attention_bias": True},
    "olmo3": SLIDING,
    "stablelm": GATED,
    "granite": {**GATED, "residual_multiplier": 0.5, "embedding_multiplier": 3.0},
    "cohere": GATED,
    "smollm3": GATED,
    "starcoder2": GATED,
    "phi": {**GATED, "partial_rotary_factor": 0.5},
    "falcon": PLAIN,
    "mixtral": {**GATED, "num_local_experts": 2},
    "qwen2_moe": {**EXPERTS, "shared_expert_intermediate_size": 8},
    "qwen3_moe": EXPERTS,
}
DEPTHS = {"gpt2": "n_layer"}
BEHIND = {
    "gemma2": "post_feedforward_layernorm",
    "gemma3_text": "post_feedforward_layernorm",
    "olmo2": "post_feedforward_layernorm",
    "olmo3": "post_feedforward_layernorm",
    "opt": "fc2",
}
"""What gives the MLP's part of the stream, where it is not called `mlp`."""

Make = Callable[..., str]
IDS = torch.randint(0, 40, (2, 9), generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="session")
def member(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Return make(kind, seed, layers, **config) -> folder of a random model."""
    made: dict[tuple[Any, ...], str] = {}

    def make(kind: str, seed: int, layers: int, **more: Any) -> str:
        key = (kind, seed, layers, *more.items())
        if key not in made:
            depth = {DEPTHS.get(kind, "num_hidden_layers"): layers}
            config = AutoConfig.for_model(kind, **{**KINDS[kind], **depth, **more})
            folder = tmp_path_factory.mktemp(kind)
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                model = AutoModelForCausalLM.from_config(config)
                for parameter in model.parameters():
                    nn.init.normal_(parameter, std=0.3)
            model.save_pretrained(folder)
            made[key] = str(folder)
        return made[key]

    return make


def load(folder: Path | str, epsilon: float | None = 0.0) -> Any:
    """Load a model with another epsilon in every norm, or their own if None."""
    model, told = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(told.values()), told
    for module in model.modules():
        for name in ("eps", "variance_epsilon"):
            if epsilon is not None and hasattr(module, name):
                setattr(module, name, epsilon)
    return model.eval()


def layers_of(model: Any) -> nn.ModuleList:
    stacks = (m for m in model.modules() if isinstance(m, nn.ModuleList))
    return next(stack for stack in stacks if len(stack) == model.config.num_hidden_layers)


def scale_input(layer: nn.Module, scale: float) -> None:
    layer.register_forward_pre_hook(lambda _, given: (given[0] * scale, *given[1:]))


def scale_output(part: nn.Module, scale: float) -> None:
    def hook(_: nn.Module, __: Any, out: Any) -> Any:
        return (out[0] * scale, *out[1:]) if isinstance(out, tuple) else out * scale

    part.register_forward_hook(hook)


def run_scaled(
    plain: Path, kind: str, target: str, scales: Sequence[float], epsilon: float | None = 0.0
) -> Tensor:
    """Run the stacked layers as they are, with what the scales say done from outside."""
    model = load(plain, epsilon)
    layers = layers_of(model)
    for index, scale in enumerate(scales):
        if target == "stream" or index == 0:
            scale_input(layers[index], scale)
        else:
            scale_output(layers[index - 1].get_submodule(BEHIND.get(kind, "mlp")), scale)
    return logits(model)


@torch.no_grad()
def logits(model: Any) -> Tensor:
    found: Tensor = model(IDS, use_cache=False).logits
    return found


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def path_of(first: str, second: str, scales: Sequence[float], target: str) -> Recipe:
    places = [(first, 0), (second, 3), (second, 4), (first, 1), (first, 1), (second, 0), (first, 2)]
    hops = [Hop(*place, scale) for place, scale in zip(places, scales, strict=True)]
    return make_path(hops, input_scale_target=target)


def without_scales(recipe: Recipe) -> dict[str, Any]:
    document = recipe.to_document()
    document.pop("input_scale_target", None)
    for part in document["slices"]:
        part.pop("input_scale", None)
    return document


SCALES = (1.3, 0.7, 1.0, 1.2, 0.9, 1.25, 0.6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_baked_path_computes_what_scaled_layers_compute(
    member: Make, tmp_path: Path, kind: str
) -> None:
    first, second = member(kind, 1, 3), member(kind, 2, 5)
    plain = merge(without_scales(path_of(first, second, SCALES, "stream")), tmp_path / "plain")
    for target in ("stream", "delta"):
        baked = merge(path_of(first, second, SCALES, target), tmp_path / target)
        assert distance(logits(load(baked)), run_scaled(plain, kind, target, SCALES)) < 1e-5


@pytest.mark.parametrize("target", ["stream", "delta"])
def test_a_baked_path_computes_what_a_loop_over_both_models_layers_computes(
    member: Make, tmp_path: Path, target: str
) -> None:
    folders = member("llama", 1, 3), member("llama", 2, 5)
    recipe = path_of(*folders, SCALES, target)
    models = {folder: load(folder) for folder in folders}
    home = models[folders[0]].model
    hidden, added = torch.zeros(()), home.embed_tokens(IDS)
    angles = home.rotary_emb(added, torch.arange(IDS.shape[1])[None])
    mask = torch.full((1, 1, 9, 9), float("-inf")).triu(1)
    for hop in find_hops(recipe):
        layer = models[str(hop.model)].model.layers[hop.layer]
        hidden = (hop.scale if target == "stream" else 1.0) * hidden + hop.scale * added
        found = layer.self_attn(layer.input_layernorm(hidden), angles, mask)
        hidden = hidden + found[0]
        added = layer.mlp(layer.post_attention_layernorm(hidden))
    expected = models[folders[0]].lm_head(home.norm(hidden + added)).detach()
    baked = load(merge(recipe, tmp_path / "baked"))
    assert distance(logits(baked), expected) < 1e-5
    unscaled = load(merge(without_scales(recipe), tmp_path / "plain"))
    assert distance(logits(unscaled), expected) > 0.05


@settings(deadline=None, max_examples=15)
@given(st.lists(st.floats(0.3, 3.0), min_size=7, max_size=7), st.sampled_from(["stream", "delta"]))
def test_any_positive_scales_are_baked(
    member: Make, tmp_path_factory: pytest.TempPathFactory, scales: list[float], target: str
) -> None:
    folder = tmp_path_factory.mktemp("any")
    recipe = path_of(member("qwen2", 1, 3), member("qwen2", 2, 5), scales, target)
    baked = load(merge(recipe, folder / "baked"))
    plain = merge(without_scales(recipe), folder / "plain")
    assert distance(logits(baked), run_scaled(plain, "qwen2", target, scales)) < 2e-5


def test_with_the_models_own_epsilon_delta_is_exact_and_stream_nearly(
    member: Make, tmp_path: Path
) -> None:
    first, second = member("llama", 1, 3), member("llama", 2, 5)
    found = {}
    for target in ("stream", "delta"):
        recipe = path_of(first, second, SCALES, target)
        plain = merge(without_scales(recipe), tmp_path / f"plain {target}")
        expected = run_scaled(plain, "llama", target, SCALES, epsilon=None)
        baked = load(merge(recipe, tmp_path / target), epsilon=None)
        found[target] = distance(logits(baked), expected)
    assert found["delta"] < 2e-6
    assert 2e-6 < found["stream"] < 1e-2


# ------------------------------------------------------------------------------ what is written


def plan(recipe: Recipe) -> Recipe:
    return make_plan(recipe, Models()).recipe


def test_a_path_is_baked_into_scale_filters_of_as_few_slices_as_can_be(member: Make) -> None:
    first, second = member("llama", 1, 3), member("llama", 2, 5)
    hops = [
        Hop(first, 0),
        Hop(first, 1, 2.0),
        Hop(first, 2),
        Hop(second, 3, 0.25),
        Hop(first, 2, 2.0),
    ]
    divided = {"parameters": {"scale": [
        {"filter": "self_attn.o_proj.", "value": 0.5}, {"filter": "down_proj", "value": 0.5},
    ]}}  # fmt: skip
    doubled = {"parameters": {"scale": [
        {"filter": "self_attn.o_proj.", "value": 2.0}, {"filter": "down_proj", "value": 2.0},
    ]}}  # fmt: skip
    assert plan(make_path(hops)).to_document() == {
        "merge_method": "passthrough",
        "slices": [
            {"sources": [{"model": first, "layer_range": [0, 1]}]},
            {"sources": [{"model": first, "layer_range": [1, 3]}], **divided},
            {"sources": [{"model": second, "layer_range": [3, 4]}], **doubled},
            {"sources": [{"model": first, "layer_range": [2, 3]}]},
        ],
    }


def test_delta_scales_the_mlp_before_and_parts_the_head_from_the_embedding(
    member: Make, tmp_path: Path
) -> None:
    tied = member("llama", 1, 3, tie_word_embeddings=True)
    path = make_path(
        [Hop(tied, 0, 2.0), Hop(tied, 1), Hop(tied, 2, 0.5)], input_scale_target="delta"
    )
    out = merge(path, tmp_path / "out")
    source, found = (load_file(Path(p) / "model.safetensors") for p in (tied, out))
    embedding = source["model.embed_tokens.weight"]
    assert torch.equal(found["model.embed_tokens.weight"], 2.0 * embedding)
    assert torch.equal(found["lm_head.weight"], embedding)
    changed = [n for n in source if "embed" not in n and not torch.equal(found[n], source[n])]
    assert changed == ["model.layers.1.mlp.down_proj.weight"]
    assert torch.equal(found[changed[0]], 0.5 * source[changed[0]])
    assert '"tie_word_embeddings": false' in (out / "config.json").read_text()
    assert "input_scale" not in (out / "mergekit_config.yml").read_text()


def test_a_path_without_scales_is_copied(member: Make, tmp_path: Path) -> None:
    folder = member("llama", 1, 3, tie_word_embeddings=True)
    path = make_path([Hop(folder, layer) for layer in range(3)], input_scale_target="delta")
    source = load_file(Path(folder) / "model.safetensors")
    found = load_file(merge(path, tmp_path / "out") / "model.safetensors")
    assert source.keys() == found.keys()
    assert all(torch.equal(found[name], source[name]) for name in source)


def test_a_path_inside_a_recipe_is_baked_too(member: Make, tmp_path: Path) -> None:
    first, second = member("llama", 1, 3), member("llama", 2, 5)
    path = path_of(first, second, SCALES, "stream")
    whole = {"merge_method": "passthrough", "models": [{"model": path.to_document()}]}
    nested = load_file(merge(whole, tmp_path / "nested") / "model.safetensors")
    alone = load_file(merge(path, tmp_path / "alone") / "model.safetensors")
    assert nested.keys() == alone.keys()
    assert all(torch.equal(nested[name], alone[name]) for name in alone)


def test_a_merge_may_be_on_a_path(member: Make, tmp_path: Path) -> None:
    first, second = member("llama", 1, 3), member("llama", 2, 3)
    halves = [{"model": m, "parameters": {"weight": 0.5}} for m in (first, second)]
    mixed = merge({"merge_method": "linear", "models": halves}, tmp_path / "mixed")
    merged, _ = parse_recipe({"merge_method": "linear", "models": halves})
    hops = [(0, first, 1.2), (1, "merge", 0.8), (2, first, 1.1)]
    inside = make_path([Hop(merged if m == "merge" else m, k, s) for k, m, s in hops])
    beside = make_path([Hop(str(mixed) if m == "merge" else m, k, s) for k, m, s in hops])
    folders = [merge(r, tmp_path / n) for n, r in (("inside", inside), ("beside", beside))]
    one, two = (load_file(folder / "model.safetensors") for folder in folders)
    assert all(torch.equal(one[name], two[name]) for name in two)


def test_the_card_shows_the_path_and_what_it_was_baked_into(member: Make, tmp_path: Path) -> None:
    first, second = member("llama", 1, 3), member("llama", 2, 5)
    path = path_of(first, second, SCALES, "delta")
    card = (merge(path, tmp_path / "out") / "README.md").read_text()
    _, asked, baked = card.split("```yaml\n")
    assert "input_scale: 1.3" in asked
    assert "input_scale_target: delta" in asked
    assert "input_scale" not in baked
    assert "filter: down_proj" in baked
    plain = merge(without_scales(path), tmp_path / "plain") / "README.md"
    assert "## Path" not in plain.read_text()


def test_an_unscaled_path_of_unlike_models_is_merged_with_a_warning(member: Make) -> None:
    first, second = member("llama", 1, 3), member("llama", 2, 3, rope_theta=5e5)
    hops = [Hop(first, 0), Hop(second, 1), Hop(first, 2)]
    [warning] = make_plan(make_path(hops), Models()).warnings
    assert "rope_parameters.rope_theta 10000.0" in warning


@pytest.mark.parametrize(
    ("kind", "change", "why"),
    [
        ("llama", {"num_key_value_heads": 4}, "cross-domain merging"),
        ("llama", {"intermediate_size": 48}, "cross-domain merging"),
        ("gemma2", {"sliding_window": 8}, "makes its masks once"),
    ],
)
def test_an_unscaled_path_that_would_not_run_is_refused(
    member: Make, kind: str, change: dict[str, int], why: str
) -> None:
    first, second = member(kind, 1, 3), member(kind, 2, 3, **change)
    recipe = make_path([Hop(first, 0), Hop(second, 1), Hop(first, 2)])
    with pytest.raises(RecipeError, match=f"has {next(iter(change))} .*{why}"):
        make_plan(recipe, Models())


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_layers_that_go_by_their_number_stay_where_they_are(member: Make, scale: float) -> None:
    folder = member("gpt2", 1, 3, scale_attn_by_inverse_layer_idx=True)
    still = make_path([Hop(folder, 0), Hop(folder, 1, scale), Hop(folder, 2)])
    make_plan(still, Models())
    moved = make_path([Hop(folder, 0), Hop(folder, 0, scale), Hop(folder, 2)])
    with pytest.raises(RecipeError, match="scale_attn_by_inverse_layer_idx true: what a layer"):
        make_plan(moved, Models())
    with pytest.raises(RecipeError, match="scale_attn_by_inverse_layer_idx true: what a layer"):
        plan_compact(moved, Models())


# ------------------------------------------------------------------------------- what is refused


def test_a_layer_that_is_not_there_is_named_by_the_slice_that_asks_for_it(
    member: Make, tmp_path: Path
) -> None:
    slices = [
        {"sources": [{"model": member("llama", 1, 3), "layer_range": layers}], "input_scale": 1.5}
        for layers in ([0, 3], [1, 3], [2, 4])
    ]
    document = {"merge_method": "passthrough", "slices": slices, "input_scale_target": "delta"}
    with pytest.raises(
        RecipeError, match=r"slices\[2\]\.sources\[0\]\.layer_range: \[2, 4\] are not"
    ):
        merge(document, tmp_path / "out")


def test_scales_whose_product_leaves_the_range_of_numbers_are_refused(
    member: Make, tmp_path: Path
) -> None:
    folder = member("llama", 1, 3)
    path = make_path([Hop(folder, layer, 1e9) for layer in range(3)])
    with pytest.raises(RecipeError, match=r"product of the scales, 1e\+27, leaves no room"):
        merge(path, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "field", "why"),
    [
        ({"hidden_size": 32}, "hidden_size 16 and .* has 32", "cross-domain merging"),
        ({"num_key_value_heads": 1}, "num_key_value_heads 2 and .* has 1", "cross-domain merging"),
        ({"rope_theta": 5e5}, r"rope_parameters.rope_theta 10000.0 and .* has 500000.0", "stock"),
        ({"rms_norm_eps": 1e-3}, "rms_norm_eps 1e-06 and .* has 0.001", "stock config.json"),
        ({"intermediate_size": 32}, "intermediate_size 24 and .* has 32", "stock checkpoint"),
    ],
)
def test_models_that_no_stock_config_holds_are_refused(
    member: Make, tmp_path: Path, change: dict[str, Any], field: str, why: str
) -> None:
    first, second = member("llama", 1, 3), member("llama", 2, 3, **change)
    path = make_path([Hop(first, 0, 1.5), Hop(second, 1), Hop(first, 2)])
    with pytest.raises(RecipeError, match=f"{first} has {field}: .*{why}"):
        merge(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_settings_that_layers_do_not_see_may_differ(member: Make, tmp_path: Path) -> None:
    first = member("llama", 1, 3)
    second = member("llama", 2, 3, attention_dropout=0.1, max_position_embeddings=64, vocab_size=48)
    merge(make_path([Hop(first, 0, 1.5), Hop(second, 1), Hop(first, 2)]), tmp_path / "out")


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_ends_of_unlike_vocabularies_are_refused(
    member: Make, tmp_path: Path, scale: float
) -> None:
    first, second = member("llama", 1, 3), member("llama", 2, 3, vocab_size=48)
    path = make_path([Hop(first, 0), Hop(second, 1, scale)])
    with pytest.raises(RecipeError, match=f"{first}, which has 40 tokens, and ends in {second}"):
        merge(path, tmp_path / "out")


def test_an_architecture_whose_stream_is_not_known_is_refused(member: Make, tmp_path: Path) -> None:
    after = member("opt", 1, 3, do_layer_norm_before=False)
    with pytest.raises(RecipeError, match="where opt layers write into the residual stream"):
        merge(make_path([Hop(after, 0, 1.5)]), tmp_path / "out")


@pytest.mark.parametrize("kind", ["gemma2", "gemma3_text"])
def test_layers_keep_sliding_where_a_configuration_leaves_that_to_their_numbers(
    member: Make, tmp_path: Path, kind: str
) -> None:
    folder = tmp_path / "old"
    shutil.copytree(member(kind, 1, 3, sliding_window_pattern=2), folder)
    config = json.loads((folder / "config.json").read_text())
    kinds = config.pop("layer_types")
    assert len(set(kinds)) == 2
    (folder / "config.json").write_text(json.dumps(config))
    order = [0, 2, 1, 1, 2]
    out = merge(make_path([Hop(str(folder), layer) for layer in order]), tmp_path / "out")
    written = json.loads((out / "config.json").read_text())
    assert written["layer_types"] == [kinds[layer] for layer in order]


@pytest.mark.parametrize("compact", [True, False])
def test_merges_without_a_name_do_not_hide_each_other(
    member: Make, tmp_path: Path, compact: bool
) -> None:
    settings = {"hidden_size": 32} if compact else {"rope_theta": 5e5}
    folders = member("llama", 1, 3), member("llama", 2, 3, **settings), member("llama", 3, 3)
    merges = [
        parse_recipe({"merge_method": "passthrough", "models": [{"model": folder}]})[0]
        for folder in folders
    ]
    path = make_path([Hop(merges[0], 0, 1.5), Hop(merges[1], 1), Hop(merges[2], 2)])
    with pytest.raises(RecipeError, match=r"a sub-recipe has .* and a sub-recipe has"):
        merge(path, tmp_path / "out", compact=compact)
