"""Greedy text behind shared prompts: that of the library's own generation, token for token."""

import random
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.inference import batches, families
from evomerge.inference.transformers_model import TransformersModel
from evomerge.records import Generation

LIMIT = 160
KINDS = ["llama", "mistral", "gemma2", "gemma3_text", "gpt_neox", "opt", "gpt2", "mamba", "rwkv",
         "gpt_neo", "phi3"]  # fmt: skip
Make = Callable[..., TransformersModel]
token = st.integers(3, 23)


def alone(model: TransformersModel, prompt: list[int], most: int) -> str:
    ids = torch.tensor([prompt])
    out = model.module.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=most, do_sample=False,
        pad_token_id=0,
    )  # fmt: skip
    return str(model.tokenizer.decode(out[0, len(prompt) :], skip_special_tokens=True))


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=5)
@given(data=st.data())
def test_prompts_with_shared_beginnings_are_continued_as_if_alone(
    kind: str, make: Make, data: st.DataObject
) -> None:
    model = make(kind, limit=LIMIT)
    stems = data.draw(st.lists(st.lists(token, max_size=50), min_size=1, max_size=2))
    prompt = st.builds(lambda s, t: [*s, *t], st.sampled_from(stems), st.lists(token, min_size=1))
    prompts = data.draw(st.lists(prompt, max_size=6))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(families, "LEAST", 3)
        patch.setattr(batches, "BATCH_TOKENS", data.draw(st.sampled_from([120, 8192])))
        found = model.generate_tokens(prompts, max_new_tokens=8)
    assert found == [alone(model, prompt, 8) for prompt in prompts]


def test_a_witness_hears_of_length_end_and_prompt(make: Make) -> None:
    model = make("zoo")
    heard: list[Generation] = []
    prompts = ["r abcd=", "s dcba=", "r abcd="]
    written = model.generate(prompts, max_new_tokens=12, witness=heard.append)
    assert [g.prompt for g in heard] == prompts
    assert [g.text for g in heard] == written
    assert all(g.finished and 0 < g.tokens < 12 for g in heard)
    heard.clear()
    model.generate(prompts, max_new_tokens=2, witness=heard.append)
    assert [(g.tokens, g.finished) for g in heard] == [(2, False)] * 3
    heard.clear()
    model.generate_tokens([[5, 6]], max_new_tokens=2, witness=heard.append)
    assert heard[0].prompt == model.tokenizer.decode([5, 6])


def test_rows_that_have_ended_are_let_go_and_the_others_go_on(make: Make) -> None:
    model = make("zoo")
    source = random.Random(4)
    words = ["".join(source.choices("abcdefgh", k=k % 6 + 1)) for k in range(24)]
    prompts = [f"{'rsdn'[k % 4]} {word}=" for k, word in enumerate(words)]
    single = [model.generate([prompt], max_new_tokens=25)[0] for prompt in prompts]
    assert model.generate(prompts, max_new_tokens=25) == single
    assert len({len(text) for text in single}) > 3


@pytest.mark.parametrize("stop", ["b", "ca", "漢"])
def test_stop_strings_are_found_wherever_tokens_break(stop: str, make: Make) -> None:
    for kind in ("llama", "gpt2", "mamba"):
        model = make(kind)
        prompts = [f"{a}{b}" for a in "cdefgh" for b in "ij="]
        whole = model.generate(prompts, max_new_tokens=20)
        cut = model.generate(prompts, max_new_tokens=20, stop=[stop, "never"])
        assert cut == [text.split(stop)[0] for text in whole]
