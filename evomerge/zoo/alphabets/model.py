"""The model of a two-alphabet family: its architecture, and what it scores on lines."""

from typing import Final

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from evomerge.zoo.alphabets.items import share_out
from evomerge.zoo.alphabets.lines import (
    EASY,
    QUESTION,
    SKILL,
    TARGETS,
    VOCABULARY,
    Alphabet,
    Kind,
    translate,
    within,
    write_lines,
)
from evomerge.zoo.tokenizer import END, PAD, START

ALPHABETS: Final[tuple[Alphabet, ...]] = ("small", "capital")
SURVEYED: Final = (
    *(within(task, alphabet) for task in (*EASY, *SKILL) for alphabet in ALPHABETS),
    *(translate(alphabet) for alphabet in ALPHABETS),
)
"""Kinds of lines by which it is told what a model can do."""


def configure_model() -> LlamaConfig:
    """Give the architecture: 891,840 parameters."""
    return LlamaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=8,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=32,
        tie_word_embeddings=True,
        pad_token_id=VOCABULARY[PAD],
        bos_token_id=VOCABULARY[START],
        eos_token_id=VOCABULARY[END],
        dtype="float32",
    )


def create_model(generator: torch.Generator) -> LlamaForCausalLM:
    """Create the untrained model: normal, deviation 0.02 into and out of the stream, else 0.04."""
    with torch.random.fork_rng(devices=[]):
        model = LlamaForCausalLM(configure_model())
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            outer = any(part in name for part in ("embed_tokens", "o_proj", "down_proj"))
            nn.init.normal_(parameter, std=0.02 if outer else 0.04, generator=generator)
    return model


def predict(model: LlamaForCausalLM, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Run lines through a model.

    Args:
        model: a live one.
        ids: of the lines, int64 [lines, 14].

    Returns:
        Logits of the answer and the end after it, [lines, 6, tokens]; and these tokens, [lines, 6].
    """
    logits: Tensor = model(input_ids=ids[:, :-1]).logits
    return logits[:, QUESTION - 1 :], ids[:, QUESTION:]


def measure(model: LlamaForCausalLM, kind: Kind, letters: Tensor) -> float:
    """Give the share of lines answered exactly, in one teacher-forced pass: as greedy text would.

    Args:
        model: a live one.
        kind: of the lines.
        letters: of the questions, int64 [lines, 5].
    """
    with torch.inference_mode():
        logits, answers = predict(model, write_lines(kind, letters))
    return (logits.argmax(-1) == answers).all(1).double().mean().item()


def measure_target(model: LlamaForCausalLM) -> float:
    """Give what a model scores on the target, on inputs that no split holds."""
    inputs = share_out()
    found = [measure(model, kind, inputs[kind.task]["trial"]) for kind in TARGETS]
    return sum(found) / len(found)


def survey(model: LlamaForCausalLM) -> dict[str, float]:
    """Give what a model scores on each task in each language, as `sort capital: 0.9`."""
    letters = share_out()[SKILL[0]]["trial"]
    return {f"{kind.task} {kind.asked}": measure(model, kind, letters) for kind in SURVEYED}
