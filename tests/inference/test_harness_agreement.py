"""The numbers and texts of lm-evaluation-harness' own HFLM, on the same models and requests."""

import logging
import random
from collections.abc import Callable
from typing import Any

import pytest

from evomerge.inference.transformers_model import TransformersModel

LIMIT = 96
KINDS = [
    "llama", "qwen2", "gpt2", "opt", "gpt_neox", "gemma2", "gemma3_text", "mistral", "mamba",
    "gpt_neo",
]  # fmt: skip
Make = Callable[..., TransformersModel]


def wrap(model: TransformersModel, batch: int = 7) -> Any:
    from lm_eval.models.huggingface import HFLM

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return HFLM(
        pretrained=model.module, tokenizer=model.tokenizer, batch_size=batch, device="cpu",
        backend="causal",
    )  # fmt: skip


def ask(kind: str, arguments: list[tuple[Any, ...]]) -> list[Any]:
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, args, k) for k, args in enumerate(arguments)]


def make_requests(limit: int) -> list[tuple[str, str]]:
    """Make four-choice documents, some with shared examples, some longer than the context."""
    source = random.Random(11)
    shots = "".join(source.choices("cdefghij", k=40))
    requests = []
    for document in range(12):
        length = [5, 17, 30, limit + 5][document % 4]
        context = (shots if document % 3 else "") + "".join(source.choices("cdefghij", k=length))
        ending = ["", " "][document % 2]
        for _ in range(4):
            choice = "".join(source.choices("cdefghij=", k=source.randrange(1, 6)))
            requests.append((context + ending, choice if ending else " " + choice))
    return requests


@pytest.mark.parametrize("kind", KINDS)
def test_log_likelihoods_and_greedy_flags_are_the_harness_own(kind: str, make: Make) -> None:
    model = make(kind, limit=LIMIT)
    harness = wrap(model)
    if kind != "mamba":
        assert harness.max_length == model.context_limit == LIMIT
    requests = make_requests(LIMIT)
    theirs = harness.loglikelihood(ask("loglikelihood", requests), disable_tqdm=True)
    assert model.score(requests) == pytest.approx([score for score, _ in theirs], abs=1e-4)
    pairs = [harness._encode_pair(*request) for request in requests]
    ours = model.score_tokens(pairs)
    assert [s.log_likelihood for s in ours] == pytest.approx([s for s, _ in theirs], abs=1e-4)
    assert [score.greedy for score in ours] == [greedy for _, greedy in theirs]


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma3_text"])
def test_rolling_windows_have_the_harness_perplexity(
    kind: str, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    model = make(kind, limit=LIMIT)
    harness = wrap(model, batch=2)
    texts = ["".join(random.Random(k).choices("cdefghij", k=n)) for k, n in enumerate((20, 250))]
    theirs = harness.loglikelihood_rolling(
        ask("loglikelihood_rolling", [(text,) for text in texts]), disable_tqdm=True
    )
    capsys.readouterr()
    for text, expected in zip(texts, theirs, strict=True):
        windows = get_rolling_token_windows(
            token_list=harness.tok_encode(text),
            prefix_token=harness.prefix_token_id,
            max_seq_len=harness.max_length,
            context_len=1,
        )
        found = model.score_tokens([make_disjoint_window(window) for window in windows])
        assert sum(score.log_likelihood for score in found) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("kind", ["zoo", *KINDS])
def test_greedy_texts_are_the_harness_own(
    kind: str, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make(kind, limit=LIMIT)
    source = random.Random(3)
    prompts = [
        "r abcd=",
        "s hgf=",
        *("".join(source.choices("cdefghij", k=k)) for k in range(1, 30, 4)),
    ]
    prompts.append("".join(source.choices("cdefghij", k=LIMIT + 10)))
    stop = ["cd", "j"]
    most = model.module.generation_config.max_new_tokens or 9  # the harness cannot override it
    settings = {"until": stop, "max_gen_toks": most, "do_sample": False}
    harness = wrap(model, batch=5)
    theirs = harness.generate_until(
        ask("generate_until", [(prompt, settings) for prompt in prompts]), disable_tqdm=True
    )
    capsys.readouterr()
    assert model.generate(prompts, max_new_tokens=most, stop=stop) == theirs
