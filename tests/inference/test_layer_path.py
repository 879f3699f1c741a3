"""Paths through resident layers: a model's own path is that model, any other a loop by hand."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.errors import EvaluationError
from evomerge.inference.caches import Sharing
from evomerge.inference.layer_path import LayerPath, LayerPool
from evomerge.inference.transformers_model import TransformersModel

Make = Callable[..., TransformersModel]
Hops = Sequence[tuple[Any, int, float]]
WINDOWED = ["mistral", "gemma2", "gemma3_text"]
KINDS = ["llama", "qwen2", "qwen3", "phi3", "gpt_neox", "gpt2", "opt", *WINDOWED]
IDS = torch.tensor([[1, 5, 9, 12, 3, 22, 17, 8, 8, 4, 19, 6, 21], [7, 3, *range(4, 15)]])
LIMIT = 48


def make_pair(kind: str, make: Make) -> dict[Any, TransformersModel]:
    """Make a model of two layers and one of four, whose windows and rotary embeddings differ."""
    models = {"A": make(kind, limit=LIMIT), "B": make(kind, limit=LIMIT, deeper=True)}
    assert models["A"].module.config != models["B"].module.config
    return models


def find_parts(module: Any) -> tuple[Any, Any, Any]:
    """Return a model's layers, its final norm and its rotary embedding."""
    if hasattr(module, "transformer"):
        return module.transformer.h, module.transformer.ln_f, None
    if hasattr(module, "gpt_neox"):
        base = module.gpt_neox
        return base.layers, base.final_layer_norm, base.rotary_emb
    if hasattr(module.model, "decoder"):
        return module.model.decoder.layers, module.model.decoder.final_layer_norm, None
    return module.model.layers, module.model.norm, module.model.rotary_emb


def embed(module: Any, ids: torch.Tensor) -> torch.Tensor:
    hidden: torch.Tensor = module.get_input_embeddings()(ids)
    if hasattr(module, "transformer"):
        hidden = hidden + module.transformer.wpe(torch.arange(ids.shape[1]))
    if hasattr(getattr(module, "model", None), "decoder"):
        hidden = hidden + module.model.decoder.embed_positions(torch.ones_like(ids))
    return hidden


def surround(module: Any, layer: int, hidden: torch.Tensor) -> dict[str, Any]:
    """Return mask and rotary embedding of a layer, made by hand."""
    config, places = module.config, torch.arange(hidden.shape[1])
    kinds = getattr(config, "layer_types", None)
    window = getattr(config, "sliding_window", None)
    if kinds and kinds[layer] != "sliding_attention":
        window = None
    distance = places[:, None] - places
    seen = (distance >= 0) & (distance < (window or len(places)))
    mask = torch.zeros(seen.shape, dtype=hidden.dtype).masked_fill(~seen, -1e30)
    found: dict[str, Any] = {"attention_mask": mask.expand(len(hidden), 1, -1, -1)}
    rotary = find_parts(module)[2]
    if rotary is not None:
        kind = [kinds[layer]] if type(rotary).__name__.startswith("Gemma3") else []
        found["position_embeddings"] = rotary(hidden, places[None], *kind)
    return found


def walk_by_hand(
    models: dict[Any, TransformersModel], hops: Hops, target: str, ids: torch.Tensor
) -> torch.Tensor:
    """Return logits: one layer after the other, each told by hand what it sees."""
    first, last = models[hops[0][0]].module, models[hops[-1][0]].module
    hidden, added = embed(first, ids), None
    for model, layer, scale in hops:
        module = models[model].module
        part = find_parts(module)[0][layer]
        if target == "stream":
            hidden = hidden * scale
        else:
            hidden = scale * hidden if added is None else hidden - added + scale * added
        names = ("post_feedforward_layernorm", "mlp", "fc2")
        tail = next(getattr(part, name) for name in names if hasattr(part, name))
        caught: list[torch.Tensor] = []
        hook = tail.register_forward_hook(lambda _, __, out, caught=caught: caught.append(out))
        hidden = part(hidden, **surround(module, layer, hidden))
        hook.remove()
        added = caught[0].view_as(hidden)
    tied = all(model.config.tie_word_embeddings for model in (first, last))
    head = (first if tied else last).get_output_embeddings()
    logits: torch.Tensor = head(find_parts(last)[1](hidden))
    cap = getattr(last.config, "final_logit_softcapping", None)
    return cap * torch.tanh(logits / cap) if cap else logits


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("caching", [False, True])
@torch.inference_mode()
def test_the_path_that_is_a_model_has_its_very_logits(kind: str, caching: bool, make: Make) -> None:
    for key, model in make_pair(kind, make).items():
        count = model.module.config.num_hidden_layers
        path = LayerPath(LayerPool({key: model}), [(key, layer, 1.0) for layer in range(count)])
        for module in (model.module, path.module):
            assert (module(input_ids=IDS, use_cache=caching).past_key_values is not None) == caching
        expected = model.module(input_ids=IDS, use_cache=caching).logits
        assert torch.equal(path.module(input_ids=IDS, use_cache=caching).logits, expected)
        last = path.module(input_ids=IDS, use_cache=caching, logits_to_keep=3).logits
        assert torch.equal(last, expected[:, -3:])


@cache
def in_double(kind: str, make: Make) -> tuple[dict[Any, TransformersModel], LayerPool]:
    models = {
        key: TransformersModel(deepcopy(model.module).double(), model.tokenizer)
        for key, model in make_pair(kind, make).items()
    }
    return models, LayerPool(models)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", ["stream", "delta"])
@settings(deadline=None, max_examples=8)
@given(data=st.data())
def test_any_path_is_a_loop_written_by_hand(
    kind: str, target: str, make: Make, data: st.DataObject
) -> None:
    models, pool = in_double(kind, make)
    layer = st.sampled_from([("A", 0), ("A", 1), ("B", 0), ("B", 1), ("B", 2), ("B", 3)])
    scale = st.sampled_from([1.0, 0.5, 0.8, 1.3])
    hops = data.draw(
        st.lists(st.tuples(layer, scale).map(lambda hop: (*hop[0], hop[1])), min_size=1, max_size=8)
    )
    path = LayerPath(pool, hops, target)
    with torch.inference_mode():
        expected = walk_by_hand(models, hops, target, IDS)
        found = path.module(input_ids=IDS).logits
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)  # norms compute in float32


THRICE = [("A", 0, 1.0), ("B", 2, 0.9), ("B", 2, 0.8), ("A", 1, 1.0), ("B", 2, 1.2), ("A", 1, 1.0)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", ["stream", "delta"])
@torch.inference_mode()
def test_a_layer_that_comes_three_times_has_keys_and_values_of_its_own_each_time(
    kind: str, target: str, make: Make
) -> None:
    module = LayerPath(in_double(kind, make)[1], THRICE, target).module
    whole = module(input_ids=IDS, use_cache=False).logits
    cache, found = None, []
    for start, end in [(0, 7), (7, 8), (8, 9), (9, 13)]:
        out = module(input_ids=IDS[:, start:end], past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        found.append(out.logits)
    torch.testing.assert_close(torch.cat(found, dim=1), whole, rtol=1e-5, atol=1e-5)
    keys = [layer.keys for layer in cache.layers[: len(THRICE)]]
    assert len({key.data_ptr() for key in keys}) == len(THRICE)
    assert all(key.shape[1:2] == keys[0].shape[1:2] for key in keys)


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_text_written_with_a_cache_is_the_text_written_without(kind: str, make: Make) -> None:
    path = LayerPath(in_double(kind, make)[1], THRICE)
    row = IDS[0].tolist()
    for _ in range(12):
        row.append(int(path.module(input_ids=torch.tensor([row])).logits[0, -1].argmax()))
    ids = IDS[:1]
    given = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 12, "pad_token_id": 0}
    by_the_library = path.module.generate(ids, do_sample=False, eos_token_id=None, **given)
    assert by_the_library[0].tolist() == row
    path.prove().alone = True
    ours = path.generate_tokens([IDS[0].tolist()] * 2, max_new_tokens=12)
    end = path.tokenizer.eos_token_id
    written = row[13 : row.index(end, 13)] if end in row[13:] else row[13:]
    assert ours == [path.tokenizer.decode(written, skip_special_tokens=True)] * 2


@pytest.mark.parametrize("kind", KINDS)
def test_scores_along_a_path_are_those_of_plain_passes(
    kind: str, make: Make, naive: Callable[..., float]
) -> None:
    path = LayerPath(in_double(kind, make)[1], THRICE)
    contexts = [[*range(3, 20), k] for k in range(3, 9)]
    requests = [(context, tail) for context in contexts for tail in ([5, 6, 7], [9, 4], [8])]
    for request, found in zip(requests, path.score_tokens(requests), strict=True):
        assert found.log_likelihood == pytest.approx(naive(path, *request), abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_no_weight_is_copied(kind: str, make: Make) -> None:
    models = make_pair(kind, make)
    kept = {p.data_ptr() for model in models.values() for p in model.module.parameters()}
    before = {key: list(model.module.named_modules()) for key, model in models.items()}
    path = LayerPath(LayerPool(models), THRICE)
    assert {parameter.data_ptr() for parameter in path.module.parameters()} <= kept
    assert before == {key: list(model.module.named_modules()) for key, model in models.items()}
    layers = find_parts(path.module)[0]
    for layer, (model, number, _) in zip(layers, THRICE, strict=True):
        own = find_parts(models[model].module)[0][number]
        names = [name for name, _ in own.named_parameters()]
        assert [name for name, _ in layer.named_parameters()] == names
        for mine, theirs in zip(layer.parameters(), own.parameters(), strict=True):
            assert mine is theirs


@torch.inference_mode()
def test_weights_that_change_in_place_change_the_path(make: Make) -> None:
    models = deepcopy(make_pair("llama", make))
    path = LayerPath(LayerPool(models), THRICE)
    before = path.module(input_ids=IDS).logits
    models["B"].module.model.layers[2].mlp.down_proj.weight.mul_(2)
    assert not torch.equal(path.module(input_ids=IDS).logits, before)


@torch.inference_mode()
def test_the_ends_are_those_of_the_models_of_the_first_and_the_last_layer(make: Make) -> None:
    models = make_pair("llama", make)
    module = LayerPath(LayerPool(models), [("A", 0, 1.0), ("B", 3, 1.0)]).module
    assert module.get_input_embeddings() is models["A"].module.get_input_embeddings()
    assert module.get_output_embeddings() is models["B"].module.get_output_embeddings()
    assert module.model.norm is models["B"].module.model.norm
    assert module.config.num_hidden_layers == 2
    assert models["A"].module.config.num_hidden_layers == 2
    assert models["B"].module.config.num_hidden_layers == 4


@torch.inference_mode()
def test_where_both_ends_have_their_embedding_for_a_head_so_has_the_path(make: Make) -> None:
    models = make_pair("gemma2", make)
    module = LayerPath(LayerPool(models), [("A", 0, 1.0), ("B", 3, 1.0)]).module
    assert module.get_output_embeddings().weight is module.get_input_embeddings().weight
    assert module.get_input_embeddings() is models["A"].module.get_input_embeddings()
    assert module.model.norm is models["B"].module.model.norm
    back = LayerPath(LayerPool(models), [("B", 0, 1.0), ("A", 0, 1.0), ("B", 3, 1.0)]).module
    assert back.get_output_embeddings() is models["B"].module.get_output_embeddings()


@torch.inference_mode()
def test_the_loss_is_that_of_the_model(make: Make) -> None:
    model = make("llama")
    path = LayerPath(LayerPool({"A": model}), [("A", 0, 1.0), ("A", 1, 1.0)])
    expected = model.module(input_ids=IDS, labels=IDS).loss
    assert torch.equal(path.module(input_ids=IDS, labels=IDS).loss, expected)


def test_what_rows_share_depends_on_the_pool_and_not_on_the_path(make: Make) -> None:
    whole = LayerPool({"A": make("llama")})
    windowed = LayerPool({"A": make("llama"), "B": make("mistral")})
    hops = [("A", 0, 1.0), ("A", 1, 1.0)]
    assert LayerPath(whole, hops).prove().sharing == Sharing(True, True, True)
    assert LayerPath(windowed, hops).prove().sharing == Sharing(True, False, False)


def test_another_path_is_made_without_another_look_at_the_models(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = LayerPool(make_pair("llama", make))
    LayerPath(pool, THRICE)
    for model in pool.models.values():
        monkeypatch.setattr(model.module.model, "forward", None)
    LayerPath(pool, THRICE[:-1])


@pytest.mark.parametrize("kind", ["mamba", "rwkv", "bloom", "gpt_neo"])
def test_layers_that_cannot_be_run_one_by_one_are_refused(kind: str, make: Make) -> None:
    with pytest.raises(EvaluationError, match="its layers cannot be run one by one"):
        LayerPool({"A": make(kind)})


def test_models_that_do_not_fit_together_are_named(make: Make) -> None:
    half = TransformersModel(deepcopy(make("llama").module).half(), make("llama").tokenizer)
    with pytest.raises(EvaluationError, match=r"A has .*float32 on cpu, B has .*float16 on cpu"):
        LayerPool({"A": make("llama"), "B": half})
