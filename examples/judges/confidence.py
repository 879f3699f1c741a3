"""A judge that gets the model itself: how sure it is of the last letter of a sorted word."""

from itertools import combinations
from typing import Any

import torch

WORDS = ["".join(letters) for letters in combinations("abcdefgh", 3)]


def judge(model: Any, tokenizer: Any) -> list[float]:
    """Return one score per word, always in the same order: these are the items."""
    texts = [f"s {word[::-1]}={word}" for word in WORDS]
    ids = torch.tensor(tokenizer(texts)["input_ids"], device=model.device)
    with torch.inference_mode():
        likelihoods = model(ids).logits[:, -2].softmax(-1)
    return [float(row[last]) for row, last in zip(likelihoods, ids[:, -1], strict=True)]
