"""Greedy text: prompts read in batches, their common beginning once, finished rows let go."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from evomerge.inference.batches import BATCH_TOKENS
from evomerge.inference.families import Row
from evomerge.inference.forward import Forward
from evomerge.inference.reading import Page, divide, read_prefix, read_rows

LOOK_BACK = 4
"""Tokens beyond a stop string's bytes that are decoded to find it."""


@dataclass(slots=True)
class Answer:
    """A greedy continuation.

    Attributes:
        tokens: ids, without the end token.
        finished: an end token or a stop string ended it, not the limit of tokens.
    """

    tokens: list[int] = field(default_factory=list)
    finished: bool = False


class Writer:
    """Continues prompts greedily.

    Args:
        forward: the model.
        tokenizer: decodes what is written, to find stop strings.
        ends: token ids that end an answer.
    """

    def __init__(self, forward: Forward, tokenizer: Any, ends: frozenset[int]) -> None:
        self._forward, self._tokenizer, self._ends = forward, tokenizer, ends

    def write(self, prompts: Sequence[Row], most: int, stop: Sequence[str]) -> list[Answer]:
        """Continue every prompt by at most so many tokens, up to an end token or a stop string.

        Equal prompts have the same answer, an object of its own only for different ones.
        """
        rows = list(dict.fromkeys(prompts))
        answers = {row: Answer() for row in rows}
        for depth, members in divide(self._forward, rows):
            family = [rows[k] for k in members]
            prefix = read_prefix(self._forward, family[0][:depth] if family else ())
            widths = [len(row) - depth for row in family]
            costs = [len(row) + most for row in family]
            for chosen in self._forward.pack(widths, costs, padding=BATCH_TOKENS, most=most):
                batch = [family[k] for k in chosen]
                if self._forward.sharing.branches:
                    page = read_rows(self._forward, batch, prefix)
                    self._follow(page, [answers[row] for row in batch], most, stop)
                else:
                    self._leave_to_the_model(batch, [answers[row] for row in batch], most)
        return [answers[row] for row in prompts]

    def decode(self, tokens: Sequence[int], stop: Sequence[str]) -> str:
        """Return tokens as text, cut before the first stop string."""
        text = str(self._tokenizer.decode(tokens, skip_special_tokens=True))
        places = [text.find(word) for word in stop if word in text]
        return text[: min(places)] if places else text

    def _follow(
        self, page: Page, answers: Sequence[Answer], most: int, stop: Sequence[str]
    ) -> None:
        """Choose the likeliest token again and again, for the rows that are not finished."""
        logits, mask, cache = page
        for step in range(most):
            chosen = logits[:, -1].argmax(-1)
            for answer, token in zip(answers, chosen.tolist(), strict=True):
                self._append(answer, token, stop)
            left = [row for row, answer in enumerate(answers) if not answer.finished]
            if not left or step == most - 1:
                return
            if 2 * len(left) <= len(answers):
                rows = torch.tensor(left, device=mask.device)
                cache.batch_select_indices(rows)
                mask, chosen, answers = mask[rows], chosen[rows], [answers[row] for row in left]
            mask = torch.cat([mask, mask.new_ones(len(answers), 1)], dim=1)
            logits, cache = self._forward(chosen[:, None], keep=1, mask=mask, cache=cache)

    def _append(self, answer: Answer, token: int, stop: Sequence[str]) -> None:
        if answer.finished:
            return
        if token in self._ends:
            answer.finished = True
            return
        answer.tokens.append(token)
        answer.finished = self._has_stopped(answer.tokens, stop)

    def _has_stopped(self, tokens: Sequence[int], stop: Sequence[str]) -> bool:
        """Tell whether the last token has completed a stop string."""
        if not stop:
            return False
        recent = tokens[-max(len(word.encode()) for word in stop) - LOOK_BACK :]
        text = str(self._tokenizer.decode(recent, skip_special_tokens=True))
        return any(word in text for word in stop)

    def _leave_to_the_model(
        self, batch: Sequence[Row], answers: Sequence[Answer], most: int
    ) -> None:
        """Let the library generate for a model whose caches are its own affair."""
        ids = self._forward.pad_left(batch)
        mask = self._forward.mark_ends([len(row) for row in batch], ids.shape[1])
        written: Tensor = self._forward.module.generate(
            ids,
            attention_mask=mask,
            max_new_tokens=most,
            do_sample=False,
            pad_token_id=self._forward.pad,
        )
        for answer, tokens in zip(answers, written[:, ids.shape[1] :].tolist(), strict=True):
            for token in tokens:
                self._append(answer, token, ())
