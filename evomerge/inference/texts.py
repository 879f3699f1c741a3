"""Texts as tokens, each encoded once; and where a context ends within them."""

from collections.abc import Sequence
from typing import Any

from evomerge.types import ScoreRequest

MOST_TEXTS = 1 << 17
"""Texts whose tokens are kept; items come again with every candidate."""


class Texts:
    """A tokenizer that remembers.

    Args:
        tokenizer: of the model.
        start: token that stands for an empty context.
    """

    def __init__(self, tokenizer: Any, start: int) -> None:
        self._tokenizer, self.start = tokenizer, start
        self._encoded: dict[str, list[int]] = {}

    def split(self, requests: Sequence[ScoreRequest]) -> list[tuple[list[int], list[int]]]:
        """Return contexts and continuations as token ids; no context is empty.

        White space at a context's end belongs to what comes after it. So does
        lm-evaluation-harness: with most tokenizers a blank belongs to the word after it.
        """
        bare = [context.rstrip() for context, _ in requests]
        whole = [context + continuation for context, continuation in requests]
        self.encode([*bare, *whole])
        return [self._split(*texts) for texts in zip(bare, whole, strict=True)]

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return token ids, each text's computed once."""
        new = [text for text in dict.fromkeys(texts) if text not in self._encoded]
        if len(self._encoded) + len(new) > MOST_TEXTS:
            self._encoded, new = {}, list(dict.fromkeys(texts))
        if new:
            found = self._tokenizer(new, verbose=False)["input_ids"]  # what is too long is seen to
            self._encoded |= dict(zip(new, map(self._without_end, new, found), strict=True))
        return [self._encoded[text] for text in texts]

    def _without_end(self, text: str, ids: list[int]) -> list[int]:
        while len(ids) > 1 and ids[-1] == self._tokenizer.eos_token_id and text:
            ids = ids[:-1]  # some tokenizers end every text; a prompt has no end
        return ids

    def _split(self, bare: str, text: str) -> tuple[list[int], list[int]]:
        start, whole = len(self._encoded[bare]), self._encoded[text]
        start = min(start, len(whole) - 1)
        if start < 1:  # no context, or one that is a single token with the continuation
            start, whole = 1, [self.start, *whole]
        return whole[:start], (whole[start:] if bare != text else [])
