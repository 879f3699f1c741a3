"""A tiny random family of every architecture, through transformers, merged, and loaded again.

Nothing in the package names an architecture: what is shown here is that layers, modules, tied
heads and old spellings are read off names and configurations alone.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig

from evomerge.checkpoints.architecture import read_modules
from evomerge.checkpoints.reader import Checkpoint
from evomerge.engine import merge

TOKENS = {"vocab_size": 40, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
PLAIN = {
    **TOKENS, "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 3,
    "max_position_embeddings": 32,
}  # fmt: skip
GATED = {**PLAIN, "intermediate_size": 24, "num_key_value_heads": 2, "head_dim": 8}
EXPERTS = {**GATED, "num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 8}
SEEING = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "image_size": 8,
          "num_attention_heads": 2, "patch_size": 4}  # fmt: skip
PAIRED = {
    **TOKENS, "d_model": 16, "encoder_layers": 3, "decoder_layers": 2, "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "decoder_start_token_id": 1,
}  # fmt: skip
ROPE = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
KINDS: dict[str, dict[str, Any]] = {
    "llama": GATED,
    "mistral": GATED,
    "qwen2": GATED,
    "qwen3": GATED,
    "gemma2": GATED,
    "gemma3_text": GATED,
    "phi3": GATED,
    "stablelm": GATED,
    "olmo2": GATED,
    "gpt2": {**TOKENS, "n_layer": 3, "n_embd": 16, "n_head": 2, "n_positions": 32},
    "gpt_neox": {**PLAIN, "intermediate_size": 24},
    "opt": {**PLAIN, "ffn_dim": 24, "word_embed_proj_dim": 16},
    "falcon": PLAIN,
    "mixtral": {**GATED, "num_local_experts": 2},
    "qwen2_moe": {**EXPERTS, "shared_expert_intermediate_size": 8},
    "qwen3_moe": EXPERTS,
    "mamba": {**TOKENS, "hidden_size": 16, "num_hidden_layers": 3, "state_size": 4},
    "bert": {**PLAIN, "intermediate_size": 24},
    "roberta": {**PLAIN, "intermediate_size": 24},
    "distilbert": {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 24, "vocab_size": 40},
    "modernbert": {**PLAIN, "intermediate_size": 24},
    "t5": {**TOKENS, "num_layers": 3, "num_decoder_layers": 2, "d_model": 16, "d_ff": 24,
           "d_kv": 8, "num_heads": 2},
    "bart": PAIRED,
    "whisper": {**PAIRED, "num_mel_bins": 8, "max_source_positions": 16,
                "max_target_positions": 16},
    "llava": {"text_config": {**GATED, "model_type": "llama"},
              "vision_config": {**SEEING, "model_type": "clip_vision_model"}},
    "qwen2_vl": {
        "text_config": {**GATED, "model_type": "qwen2_vl_text", "rope_parameters": ROPE},
        "vision_config": {"depth": 2, "embed_dim": 16, "hidden_size": 16, "num_heads": 2,
                          "patch_size": 4}},
    "gemma3": {"text_config": {**GATED, "model_type": "gemma3_text"},
               "vision_config": {**SEEING, "model_type": "siglip_vision_model"},
               "mm_tokens_per_image": 1},
}  # fmt: skip
PAIR = {"encoder", "decoder"}
SENSES = {"text_decoder", "vision_tower", "multi_modal_projector"}
MODULES = {
    "t5": PAIR | {"shared"},
    "bart": PAIR | {"shared"},
    "whisper": PAIR,
    "llava": SENSES,
    "qwen2_vl": SENSES,
    "gemma3": SENSES,
}
"""What models of several stacks are made of; all others have one stack, 'default'."""

MASKED = ("bert", "roberta", "distilbert", "modernbert")
STACKED = [kind for kind in KINDS if kind not in MODULES]
Make = Callable[..., Path]
Tensors = dict[str, Tensor]


def door(kind: str) -> Any:
    if kind in MASKED:
        return transformers.AutoModelForMaskedLM
    if kind == "whisper":
        return transformers.AutoModelForSpeechSeq2Seq
    if kind in ("t5", "bart"):
        return transformers.AutoModelForSeq2SeqLM
    seeing = kind in MODULES
    return transformers.AutoModelForImageTextToText if seeing else transformers.AutoModelForCausalLM


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Return make(kind, member, **config) -> folder; member 0 is the base of the others."""
    made: dict[tuple[Any, ...], Path] = {}

    def make(kind: str, member: int, **settings: Any) -> Path:
        key = (kind, member, *settings.items())
        if key not in made:
            made[key] = save_member(tmp_path_factory.mktemp(kind), kind, member, settings)
        return made[key]

    return make


def save_member(folder: Path, kind: str, member: int, settings: dict[str, Any]) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = AutoConfig.for_model(kind, **{**KINDS[kind], **settings})
        model = door(kind).from_config(config)
        for parameter in model.parameters():  # biases and norms start alike; make them differ
            torch.nn.init.normal_(parameter, std=0.1)
        torch.manual_seed(member)
        for parameter in model.parameters() if member else ():
            parameter.data += 0.02 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return folder


def tensors_of(folder: Path) -> Tensors:
    return load_file(folder / "model.safetensors")


def respelled(source: Path, target: Path, change: Callable[[Tensors], Tensors]) -> Path:
    """Save a model's tensors once more, under other names or with others beside them."""
    target.mkdir()
    (target / "config.json").write_bytes((source / "config.json").read_bytes())
    tensors = {name: tensor.clone() for name, tensor in change(tensors_of(source)).items()}
    save_file(tensors, target / "model.safetensors", {"format": "pt"})
    return target


def recipe(
    method: str, models: list[Path], base: Path | None = None, **rest: Any
) -> dict[str, Any]:
    document = {"merge_method": method, "models": [{"model": str(m)} for m in models], **rest}
    return document | ({"base_model": str(base)} if base else {})


def weighted(models: list[Path], *weights: float) -> dict[str, Any]:
    document = recipe("linear", models)
    for entry, weight in zip(document["models"], weights, strict=True):
        entry["parameters"] = {"weight": weight}
    return document


def assert_loads(kind: str, folder: Path) -> Any:
    """Load a folder: transformers finds every tensor, and none that it does not know."""
    model, told = door(kind).from_pretrained(folder, output_loading_info=True)
    assert not any(told.values()), {key: value for key, value in told.items() if value}
    assert all(torch.isfinite(p).all() for p in model.parameters())
    return model


def assert_close(merged: Tensors, expected: Tensors) -> None:
    assert merged.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(
            merged[name].double(), tensor, rtol=1e-6, atol=1e-7, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("kind", KINDS)
def test_linear_is_the_weighted_sum_of_every_tensor(
    family: Make, tmp_path: Path, kind: str
) -> None:
    models = [family(kind, member) for member in (1, 2)]
    out = merge(weighted(models, 0.3, 0.7), tmp_path / "out")
    first, second = map(tensors_of, models)
    expected = {n: 0.3 * first[n].double() + 0.7 * second[n].double() for n in first}
    assert_close(tensors_of(out), expected)
    assert_loads(kind, out)


@pytest.mark.parametrize("kind", KINDS)
def test_slerp_goes_with_depth_from_one_parent_to_the_other(
    family: Make, tmp_path: Path, kind: str
) -> None:
    models = [family(kind, member) for member in (1, 2)]
    t = [{"filter": "norm", "value": 0.0}, {"value": [0.0, 1.0]}]
    document = recipe("slerp", models, models[0], parameters={"t": t})
    out = merge(document, tmp_path / "out")
    assert_loads(kind, out)
    merged, (first, second) = tensors_of(out), map(tensors_of, models)
    layouts = [m for m in read_modules(Checkpoint(str(out)).config, merged) if m.layers]
    assert {layout.module for layout in layouts} == (
        MODULES.get(kind, {"default"}) - {"shared", "multi_modal_projector"}
    )
    for layout in layouts:
        for layer, parent in ((0, first), (layout.layers - 1, second)):
            for name in (layout.name(layer, part) for part in layout.parts):
                if name in merged:
                    source = first if "norm" in name else parent
                    torch.testing.assert_close(merged[name], source[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_ties_keeps_what_the_elected_sign_agrees_with(
    family: Make, tmp_path: Path, kind: str
) -> None:
    base, *models = (family(kind, member) for member in (0, 1, 2))
    settings = {"weight": 1.0, "density": 1.0, "normalize": True}
    out = merge(recipe("ties", models, base, parameters=settings), tmp_path / "out")
    assert_loads(kind, out)
    start, others = tensors_of(base), list(map(tensors_of, models))
    expected = {}
    for name in start:
        deltas = torch.stack([(other[name] - start[name]).double() for other in others])
        agree = deltas.sign() == deltas.sum(0).sign()
        mean = (deltas * agree).sum(0) / agree.sum(0).clamp(min=1)
        expected[name] = start[name].double() + mean
    assert_close(tensors_of(out), expected)


@pytest.mark.parametrize("kind", STACKED)
def test_a_stack_of_two_models_has_the_layers_of_both(
    family: Make, tmp_path: Path, kind: str
) -> None:
    models = [family(kind, member) for member in (1, 2)]
    slices = [
        {"sources": [{"model": str(model), "layer_range": layers}]}
        for model, layers in zip(models, ([0, 2], [1, 3]), strict=True)
    ]
    out = merge({"merge_method": "passthrough", "slices": slices}, tmp_path / "out")
    assert_loads(kind, out)
    merged, (first, second) = tensors_of(out), map(tensors_of, models)
    (layout,) = read_modules(Checkpoint(str(out)).config, merged)
    assert layout.layers == 4
    origins = [(first, 0), (first, 1), (second, 1), (second, 2)]
    for layer, (source, origin) in enumerate(origins):
        for part in layout.parts:
            if layout.name(origin, part) in source:
                taken = source[layout.name(origin, part)]
                assert torch.equal(merged[layout.name(layer, part)], taken)


@pytest.mark.parametrize("spans", [([0, 3], [0, 3]), ([1, 3], [0, 1])])
def test_what_only_first_layers_have_is_had_by_the_results_first(
    family: Make, tmp_path: Path, spans: tuple[list[int], ...]
) -> None:
    model = str(family("t5", 1))
    slices = [{"sources": [{"model": model, "layer_range": span}]} for span in spans]
    modules: dict[str, Any] = {key: {"models": [{"model": model}]} for key in MODULES["t5"]}
    modules |= {"encoder": {"slices": slices}}
    out = merge({"merge_method": "passthrough", "modules": modules}, tmp_path / "out")
    assert_loads("t5", out)
    bias = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    assert torch.equal(tensors_of(out)[bias], tensors_of(Path(model))[bias])


@pytest.mark.parametrize(
    ("kind", "module", "depth"),
    [
        ("llava", "text_decoder", 3),
        ("gemma3", "text_decoder", 3),
        ("qwen2_vl", "text_decoder", 3),
        ("t5", "decoder", 2),
        ("bart", "encoder", 3),
        ("whisper", "encoder", 3),
    ],
)
def test_one_module_is_stacked_and_the_others_are_merged(
    family: Make, tmp_path: Path, kind: str, module: str, depth: int
) -> None:
    models = [family(kind, member) for member in (1, 2)]
    slices = [
        {"sources": [{"model": str(models[0]), "layer_range": span}]}
        for span in ([0, depth], [depth - 1, depth])
    ]
    plain = {"models": [{"model": str(models[0])}]}
    modules = dict.fromkeys(MODULES[kind], plain) | {module: {"slices": slices}}
    out = merge({"merge_method": "passthrough", "modules": modules}, tmp_path / "out")
    loaded = assert_loads(kind, out)
    merged = tensors_of(out)
    layouts = {m.module: m for m in read_modules(Checkpoint(str(out)).config, merged)}
    layout = layouts[module]
    assert layout.layers == depth + 1
    for part in layout.parts:
        if layout.name(depth, part) in merged:
            taken = merged[layout.name(depth - 1, part)]
            assert torch.equal(merged[layout.name(depth, part)], taken)
    assert sum(p.numel() for p in loaded.parameters()) > 0


# --------------------------------------------------------------------- other spellings, tied heads


def without(prefix: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name.removeprefix(prefix): t for name, t in tensors.items()}


def replaced(*pairs: tuple[str, str]) -> Callable[[Tensors], Tensors]:
    def change(tensors: Tensors) -> Tensors:
        renamed = {}
        for name, tensor in tensors.items():
            new = name
            for old, other in pairs:
                new = other + new.removeprefix(old) if new.startswith(old) else new
            renamed[new] = tensor
        return renamed

    return change


def old_bert(tensors: Tensors) -> Tensors:
    """Spell as the first BERT checkpoints do, their second head and buffers included."""
    words = tensors["bert.embeddings.word_embeddings.weight"]
    old = {
        n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        if "LayerNorm" in n else n: t for n, t in tensors.items()
    }  # fmt: skip
    return old | {
        "cls.predictions.decoder.weight": words,
        "cls.seq_relationship.weight": torch.ones(2, 16),
        "bert.pooler.dense.weight": torch.ones(16, 16),
        "bert.embeddings.position_ids": torch.arange(32)[None],
    }


def old_gpt2(tensors: Tensors) -> Tensors:
    bare = without("transformer.")(tensors)
    mask = torch.ones(1, 1, 32, 32).tril()
    return bare | {f"h.{i}.attn.bias": mask for i in range(3)}


def shared_thrice(tensors: Tensors) -> Tensors:
    shared = tensors["shared.weight"]
    copies = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
    return tensors | dict.fromkeys(copies, shared)


OTHERWISE: dict[str, tuple[str, Callable[[Tensors], Tensors]]] = {
    "gpt2 without prefix, with masks": ("gpt2", old_gpt2),
    "bert of 2018": ("bert", old_bert),
    "roberta without prefix": ("roberta", without("roberta.")),
    "opt without prefix": ("opt", without("model.")),
    "gpt-neox as transformers 5 names it": ("gpt_neox", replaced(("embed_out.", "lm_head."))),
    "llava as transformers 5 names it": (
        "llava",
        replaced(
            ("language_model.model.", "model.language_model."),
            ("language_model.lm_head.", "lm_head."),
            ("vision_tower.", "model.vision_tower."),
            ("multi_modal_projector.", "model.multi_modal_projector."),
        ),
    ),
    "llava of 2023": ("llava", replaced(("vision_tower.", "vision_tower.vision_model."))),
    "qwen2-vl as transformers 5 names it": (
        "qwen2_vl", replaced(("model.", "model.language_model."), ("visual.", "model.visual."))
    ),
    "t5 with every copy of its embedding": ("t5", shared_thrice),
    "bart without prefix": ("bart", without("model.")),
}  # fmt: skip


@pytest.mark.parametrize("which", OTHERWISE)
@pytest.mark.parametrize("first", [False, True], ids=["a parent", "the leading parent"])
def test_a_parent_may_spell_its_tensors_otherwise(
    family: Make, tmp_path: Path, which: str, first: bool
) -> None:
    kind, change = OTHERWISE[which]
    models = [family(kind, member) for member in (1, 2)]
    place = 0 if first else 1
    mixed = list(models)
    mixed[place] = respelled(models[place], tmp_path / "otherwise", change)
    regular = tensors_of(merge(weighted(models, 0.3, 0.7), tmp_path / "regular"))
    out = merge(weighted(mixed, 0.3, 0.7), tmp_path / "out")
    loaded, expected = (door(kind).from_pretrained(f) for f in (out, tmp_path / "regular"))
    for name, tensor in expected.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    if not first:
        assert tensors_of(out).keys() == regular.keys()
        assert_loads(kind, out)


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_a_parent_may_be_a_pytorch_file(family: Make, tmp_path: Path, kind: str) -> None:
    models = [family(kind, member) for member in (1, 2)]
    regular = tensors_of(merge(weighted(models, 0.3, 0.7), tmp_path / "regular"))
    folder = respelled(models[1], tmp_path / "pickled", dict)
    (folder / "model.safetensors").unlink()
    torch.save(tensors_of(models[1]), folder / "pytorch_model.bin")
    out = merge(weighted([models[0], folder], 0.3, 0.7), tmp_path / "out")
    merged = tensors_of(out)
    assert merged.keys() == regular.keys()
    assert all(torch.equal(merged[name], regular[name]) for name in regular)


@pytest.mark.parametrize("tied_first", [True, False])
def test_a_tied_parent_lends_its_embedding_to_the_head_of_an_untied_one(
    family: Make, tmp_path: Path, tied_first: bool
) -> None:
    tied, untied = (family("llama", 1, tie_word_embeddings=tie) for tie in (True, False))
    order = [tied, untied] if tied_first else [untied, tied]
    out = merge(weighted(order, 0.3, 0.7), tmp_path / "out")
    model = assert_loads("llama", out)
    assert model.config.tie_word_embeddings is False
    first, second = map(tensors_of, order)
    embedding = "model.embed_tokens.weight"
    heads = [parent.get("lm_head.weight", parent[embedding]).double() for parent in (first, second)]
    torch.testing.assert_close(
        model.lm_head.weight.double(), 0.3 * heads[0] + 0.7 * heads[1], rtol=1e-6, atol=1e-7
    )
    mixed = 0.3 * first[embedding].double() + 0.7 * second[embedding].double()
    found = model.model.embed_tokens.weight.double()
    torch.testing.assert_close(found, mixed, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", ["gemma2", "gpt2", "bert", "t5", "whisper"])
def test_two_untied_parents_keep_their_heads(family: Make, tmp_path: Path, kind: str) -> None:
    models = [family(kind, member, tie_word_embeddings=False) for member in (1, 2)]
    out = merge(weighted(models, 0.5, 0.5), tmp_path / "out")
    assert tensors_of(out).keys() == tensors_of(models[0]).keys()
    head = assert_loads(kind, out).get_output_embeddings().weight
    parents = [door(kind).from_pretrained(m).get_output_embeddings().weight for m in models]
    torch.testing.assert_close(head, (parents[0] + parents[1]) / 2, rtol=1e-6, atol=1e-7)


def test_experts_that_transformers_5_keeps_in_one_tensor_are_merged_as_they_are(
    family: Make, tmp_path: Path
) -> None:
    models = []
    for member in (1, 2):
        folder = family("qwen3_moe", member)
        state = door("qwen3_moe").from_pretrained(folder).state_dict()
        fused = respelled(folder, tmp_path / f"fused-{member}", lambda _, state=state: state)
        models.append(fused)
    out = merge(weighted(models, 0.5, 0.5), tmp_path / "out")
    assert "model.layers.2.mlp.experts.gate_up_proj" in tensors_of(out)
    loaded = assert_loads("qwen3_moe", out).state_dict()
    first, second = map(tensors_of, models)
    assert_close(loaded, {n: (first[n].double() + second[n].double()) / 2 for n in first})
