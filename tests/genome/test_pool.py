"""Pools whose layers cannot share a path are refused by their configurations alone."""

from typing import Any

from evomerge.genome.pool import check_pool

LLAMA: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2,
}  # fmt: skip
NAMES = ["embed_tokens.weight", "0.self_attn.o_proj.weight", "0.mlp.down_proj.weight"]


def told(second: dict[str, Any], **settings: Any) -> list[str]:
    pool = {"A": LLAMA, "B": LLAMA | second}
    return [str(problem) for problem in check_pool(pool, NAMES, **settings)]


def test_models_of_different_depth_and_vocabulary_share_paths() -> None:
    assert told({"num_hidden_layers": 7, "vocab_size": 99}) == []


def test_models_of_another_shape_are_refused_and_pointed_to_another_way() -> None:
    for exportable in (True, False):
        [line] = told({"hidden_size": 128}, exportable=exportable)
        assert line.startswith("genome.models: A has hidden_size 64 and B has 128: ")
        assert "cross-domain merging" in line


def test_what_a_stock_config_cannot_hold_is_refused_only_where_paths_must_be_exportable() -> None:
    [line] = told({"rope_theta": 5e5})
    assert line.startswith("genome.models: A has rope_parameters.rope_theta 10000.0 and B has 5")
    assert told({"rope_theta": 5e5}, exportable=False) == []


def test_scales_that_cannot_be_baked_are_refused_only_where_they_must_be() -> None:
    pool = {"A": {"model_type": "mamba"}, "B": {"model_type": "mamba"}}
    [problem] = check_pool(pool, NAMES)
    assert str(problem).startswith("genome.scales: where mamba layers write into the residual")
    assert not [*check_pool(pool, NAMES, scaled=False)]
    assert not [*check_pool(pool, NAMES, exportable=False)]
