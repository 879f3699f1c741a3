"""What is known of architectures' residual streams."""

import pytest

from evomerge.checkpoints.residual import find_stream, read_streams
from evomerge.checkpoints.spelling import is_head


@pytest.mark.parametrize("kind", read_streams())
def test_every_entry_names_what_it_must(kind: str) -> None:
    stream, needs = read_streams()[kind]
    assert is_head(stream.head)
    names = [f"{part}weight" for part in (*stream.attention, *stream.mlp, *stream.embedding)]
    found = find_stream({"model_type": kind, **needs}, names)
    assert found is not None
    assert found.among(names) == found
    assert (found.attention, found.mlp) == (stream.attention, stream.mlp)


LLAMA = ["embed_tokens.weight", "0.self_attn.o_proj.weight", "0.mlp.down_proj.weight"]
OPT = ["embed_tokens.weight", "embed_positions.weight", "0.self_attn.out_proj.bias", "0.fc2.bias"]


def test_an_architecture_nobody_knows_has_no_stream() -> None:
    assert find_stream({"model_type": "llama"}, LLAMA) is not None
    assert find_stream({"model_type": "nobody-knows"}, LLAMA) is None
    assert find_stream({}, LLAMA) is None


@pytest.mark.parametrize("missing", range(3))
def test_tensors_of_unknown_names_make_no_stream(missing: int) -> None:
    assert find_stream({"model_type": "llama"}, LLAMA[:missing] + LLAMA[missing + 1 :]) is None


def test_a_norm_behind_the_sum_is_no_residual_stream() -> None:
    assert find_stream({"model_type": "opt"}, OPT) is not None
    assert find_stream({"model_type": "opt", "do_layer_norm_before": False}, OPT) is None
