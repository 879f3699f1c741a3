"""Which differences of configurations keep layers out of one stack."""

import re
from collections.abc import Collection
from typing import Any

import pytest

from evomerge.checkpoints.likeness import REASONS, WRITTEN, find_misfits, find_numbered, find_unlike

LLAMA: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2,
    "intermediate_size": 128, "rms_norm_eps": 1e-5, "vocab_size": 100,
}  # fmt: skip


def told(change: dict[str, Any], roles: Collection[str] = tuple(REASONS)) -> list[str]:
    return find_unlike([("A", LLAMA), ("B", LLAMA | change)], roles=roles)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"vocab_size": 101, "bos_token_id": 7, "tie_word_embeddings": True},
        {"num_hidden_layers": 5, "max_position_embeddings": 9, "attention_dropout": 0.5},
        {"torch_dtype": "bfloat16", "_name_or_path": "x", "transformers_version": "4.0"},
        {"rope_theta": 10000.0, "head_dim": 16, "num_key_value_heads": 4},
        {"rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}},
    ],
)
def test_what_layers_do_not_see_and_spelled_out_defaults_may_differ(change: dict[str, Any]) -> None:
    assert told(change) == []


def test_what_a_configuration_says_of_each_layer_may_differ() -> None:
    kinds = {"layer_types": ["a", "b"]}, {"layer_types": list("aba"), "num_hidden_layers": 3}
    assert find_unlike([("A", LLAMA | kinds[0]), ("B", LLAMA | kinds[1])]) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"rms_norm_eps": 1e-6}, "A has rms_norm_eps 1e-05 and B has 1e-06: a stock config.json"),
        ({"rope_theta": 5e5}, "A has rope_parameters.rope_theta 10000.0 and B has 500000.0: a st"),
        ({"attention_bias": True}, "A has attention_bias false and B has true: a stock"),
    ],
)  # fmt: skip
def test_what_one_stock_config_cannot_hold_is_named(change: dict[str, Any], line: str) -> None:
    [found] = told(change)
    assert found.startswith(line)
    assert told(change, WRITTEN) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"hidden_size": 128, "rms_norm_eps": 1.0}, "A has hidden_size 64 and B has 128: layers"),
        ({"sliding_window": 9, "num_key_value_heads": 2, "rms_norm_eps": 1.0},
         "A has sliding_window none and B has 9: a path that is written down, compact or not, "),
        ({"model_type": "mistral", "sliding_window": 9, "num_key_value_heads": 4},
         'A has model_type "llama" and B has "mistral": only layers of one architecture'),
    ],
)  # fmt: skip
def test_what_no_path_holds_is_refused_always_and_no_other_form_is_offered(
    change: dict[str, Any], line: str
) -> None:
    for roles in (tuple(REASONS), WRITTEN):
        [found] = told(change, roles)
        assert found.startswith(line)
        assert "--compact" not in found


def test_another_shape_is_named_first_and_both_ways_out() -> None:
    [found] = told({"num_key_value_heads": 2, "rms_norm_eps": 1.0})
    assert found.startswith("A has num_key_value_heads 4 and B has 2: layers of different shapes")
    assert "`evomerge merge --compact`" in found
    assert found.endswith("cross-domain merging carries over what fits")
    assert told({"num_key_value_heads": 2}, WRITTEN) == []


def test_of_layers_that_share_a_config_only_what_would_not_run_is_a_misfit() -> None:
    other = LLAMA | {"sliding_window": 9, "rms_norm_eps": 1.0}
    assert find_misfits([("A", LLAMA), ("B", other)]) == []
    [heads] = find_misfits([("A", LLAMA), ("B", other | {"num_key_value_heads": 2})])
    assert heads.startswith("A has num_key_value_heads 4 and B has 2")
    typed = LLAMA | {"layer_types": ["full_attention"] * 2}
    [window] = find_misfits([("A", typed), ("B", typed | other)])
    assert window.startswith("A has sliding_window none and B has 9")


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"model_type": "gpt2", "scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse"),
        ({"model_type": "qwen3_moe", "decoder_sparse_step": 2}, "decoder_sparse_step 2"),
        ({"model_type": "qwen3_moe", "mlp_only_layers": [1]}, r"mlp_only_layers \[1\]"),
        ({"model_type": "deepseek_v3"}, "first_k_dense_replace 3"),
    ],
)
def test_layers_that_go_by_their_number_are_told(config: dict[str, Any], field: str) -> None:
    [line] = find_numbered([("A", LLAMA), ("B", config)])
    assert re.match(f"B has {field}", line)
    for kind in ("gpt2", "qwen3_moe", "qwen2", "mixtral"):
        assert find_numbered([("A", {"model_type": kind})]) == []


def test_every_model_is_held_against_the_first() -> None:
    configs = [
        (name, LLAMA | {"rms_norm_eps": eps}) for name, eps in zip("ABC", [1, 2, 3], strict=True)
    ]
    assert [line[:38] for line in find_unlike(configs)] == [
        "A has rms_norm_eps 1 and B has 2: a st", "A has rms_norm_eps 1 and C has 3: a st",
    ]  # fmt: skip
    assert find_unlike([]) == []


def test_sliding_windows_differ_only_where_a_layer_slides() -> None:
    qwen = LLAMA | {"model_type": "qwen2", "sliding_window": 4096}
    other = qwen | {"sliding_window": 8192, "num_hidden_layers": 3}
    assert find_unlike([("A", qwen), ("B", other)]) == []
    sliding = {"use_sliding_window": True, "max_window_layers": 1}
    [line] = find_unlike([("A", qwen | sliding), ("B", other | sliding)])
    assert line.startswith("A has sliding_window 4096 and B has 8192")


def test_a_switch_that_settles_what_layers_do_makes_them_unlike() -> None:
    off = LLAMA | {"model_type": "qwen2", "sliding_window": 4, "max_window_layers": 1}
    on = off | {"use_sliding_window": True}
    [line] = find_unlike([("A", off | {"use_sliding_window": False}), ("B", on)])
    assert line.startswith("A has sliding_window none and B has 4")


def test_an_architecture_nobody_knows_is_compared_as_it_is_written() -> None:
    strange = {"model_type": "nobody-knows", "width": 3}
    assert find_unlike([("A", strange), ("B", strange)]) == []
    [line] = find_unlike([("A", strange), ("B", {**strange, "width": 4})])
    assert line.startswith("A has width 3 and B has 4")
    [line] = find_unlike([("A", strange), ("B", {"model_type": "nobody-knows"})])
    assert line.startswith("A has width 3 and B has none")
