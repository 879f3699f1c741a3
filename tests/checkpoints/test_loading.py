"""The one door to transformers: models built without weights, and clear refusals."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from evomerge.checkpoints.loading import (
    build_model,
    find_arithmetic,
    find_device,
    load_model,
    load_tokenizer,
)
from evomerge.checkpoints.locate import locate
from evomerge.errors import CheckpointError


def zoo_config() -> dict[str, Any]:
    config: dict[str, Any] = json.loads((locate("zoo:base") / "config.json").read_text())
    return config


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_a_model_is_built_in_the_dtype_asked_for_with_tied_weights(dtype: str) -> None:
    model = build_model(zoo_config(), dtype)
    assert {str(p.dtype) for p in model.parameters()} == {f"torch.{dtype}"}
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    assert not model.training


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "no_such_thing"}, "cannot build a 'no_such_thing' model: .*Update transf"),
        ({"model_type": "t5"}, "transformers cannot build a 't5' model: "),
        ({"hidden_size": "wide"}, "transformers cannot build a 'llama' model: "),
        ({"num_attention_heads": 0, "head_dim": None}, "transformers cannot build a 'llama' model"),
        ({"vocab_size": -3}, "transformers cannot build a 'llama' model: "),
        ({"hidden_act": "nonsense"}, "transformers cannot build a 'llama' model: "),
    ],
)
def test_a_config_that_cannot_be_is_one_clear_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        build_model({**zoo_config(), **change}, "float32")
    assert "\n" not in str(caught.value)


def test_half_precision_runs_as_float32_only_where_the_processor_would_imitate_it() -> None:
    native = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert find_arithmetic("bfloat16", "cpu") == ("bfloat16" if native else "float32")
    assert find_arithmetic("bfloat16", "cuda") == "bfloat16"
    assert find_arithmetic("float32", "cpu") == "float32"
    assert find_device() in ("cpu", "cuda", "mps")


def test_an_embedded_model_loads_in_its_own_dtype() -> None:
    assert load_model(locate("zoo:base")).dtype == torch.bfloat16
    assert load_tokenizer(locate("zoo:base")).eos_token == "</s>"


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"model": 3}'])
def test_a_tokenizer_that_cannot_be_read_is_one_clear_line(
    tmp_path: Path, text: str | None
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(zoo_config()))
    if text is not None:
        (tmp_path / "tokenizer.json").write_text(text)
        (tmp_path / "tokenizer_config.json").write_text(
            '{"tokenizer_class": "PreTrainedTokenizerFast"}'
        )
    with pytest.raises(CheckpointError, match="has no tokenizer that can be read: ") as caught:
        load_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_encoder_with_a_decoder_is_refused_in_few_words(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(CheckpointError, match=": it is no causal language model"):
        load_model(tmp_path)
