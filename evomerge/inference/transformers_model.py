"""A transformers model as a LanguageModel: shared contexts once, logits only where needed.

What shares a batch is decided by the requests alone (sorted by length, then by order), never by
timing, so scores repeat to the bit with the same number of threads.
"""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from evomerge.errors import EvaluationError
from evomerge.types import ScoreRequest

BATCH_TOKENS = 8192
"""Most tokens of a batch, padding included."""

BATCH_LOGITS = 1 << 25
"""Most logits of a batch (rows × positions × vocabulary): 128 MiB of float32."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Requests with the same context: its token ids, and (request index, token ids) of each."""

    context: tuple[int, ...]
    continuations: list[tuple[int, tuple[int, ...]]]

    @property
    def width(self) -> int:
        return max(len(ids) for _, ids in self.continuations)


class TransformersModel:
    """A causal language model of the transformers library.

    Args:
        module: the model, in evaluation mode; its parameters may change between calls.
        tokenizer: its tokenizer.
    """

    def __init__(self, module: Any, tokenizer: Any) -> None:
        self.module = module
        self.tokenizer = tokenizer
        accepted = inspect.signature(module.forward).parameters
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
        self._takes_positions = "position_ids" in accepted
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        self._ends = _end_tokens(module, tokenizer)
        first = tokenizer.bos_token_id
        self._start = first if first is not None else next(iter(self._ends), self._pad)
        self._encoded: dict[str, list[int]] = {}
        self._context_limit = getattr(module.config, "max_position_embeddings", None) or 1 << 20

    @torch.inference_mode()
    def score(self, requests: Sequence[ScoreRequest]) -> list[float]:
        """Log-likelihood (nats) of each continuation given its context.

        A context longer than the model's is cut at its beginning. Where there is no context, the
        start token (or the end token) stands for it.

        Raises:
            EvaluationError: a continuation alone is longer than the model's context.
        """
        totals = [0.0] * len(requests)
        groups = self._group(requests)
        for batch in self._batches(groups):
            for index, total in self._score_batch(batch):
                totals[index] = total
        return totals

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[str]:
        """Greedy continuation of each prompt, up to an end token or before a stop string.

        Raises:
            EvaluationError: so many new tokens leave no room for a prompt.
        """
        if max_new_tokens >= self._context_limit:
            raise EvaluationError(
                f"max_new_tokens: {max_new_tokens} leaves no room for a prompt in the model's "
                f"context of {self._context_limit} tokens",
                "Ask for fewer",
            )
        ids = [self._encode(prompt) or [self._start] for prompt in prompts]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        texts = [""] * len(prompts)
        for rows in _pack(order, [len(row) + max_new_tokens for row in ids], BATCH_TOKENS):
            keep = self._context_limit - max_new_tokens
            batch = [ids[row][-keep:] for row in rows]
            for row, text in zip(rows, self._continue(batch, max_new_tokens, stop), strict=True):
                texts[row] = text
        return texts

    def _encode(self, text: str) -> list[int]:
        """Return a text's token ids; items come again with every candidate, so they are kept."""
        if text not in self._encoded:
            self._encoded[text] = self._tokenize(text)
        return self._encoded[text]

    def _tokenize(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text)["input_ids"]
        while len(ids) > 1 and ids[-1] == self.tokenizer.eos_token_id and text:
            ids = ids[:-1]  # some tokenizers end every text; a prompt has no end
        return ids

    def _group(self, requests: Sequence[ScoreRequest]) -> list[_Group]:
        found: dict[tuple[int, ...], list[tuple[int, tuple[int, ...]]]] = {}
        for index, (context, continuation) in enumerate(requests):
            stripped = context.rstrip()
            moved = context[len(stripped) :] + continuation  # as lm-evaluation-harness does
            start, whole = len(self._encode(stripped)), self._encode(stripped + moved)
            start = min(start, len(whole) - 1)
            if start < 1:  # no context, or one that is a single token with the continuation
                start, whole = 1, [self._start, *whole]
            tail = tuple(whole[start:] if moved else ())
            if len(tail) > self._context_limit:
                raise EvaluationError(
                    f"a text of {len(tail)} tokens is longer than the model's context of "
                    f"{self._context_limit}",
                    "Split it into shorter items",
                )
            head = whole[:start][-max(self._context_limit - len(tail), 1) :]
            found.setdefault(tuple(head), []).append((index, tail))
        return [_Group(context, entries) for context, entries in found.items()]

    def _batches(self, groups: Sequence[_Group]) -> Iterator[list[_Group]]:
        order = sorted(range(len(groups)), key=lambda i: (len(groups[i].context), groups[i].width))
        vocabulary = self.module.config.get_text_config().vocab_size
        costs = []
        for group in groups:
            rows = len(group.continuations)
            tokens = len(group.context) + rows * group.width
            logits = rows * group.width * vocabulary * BATCH_TOKENS // BATCH_LOGITS
            costs.append(max(tokens, logits))
        for rows_ in _pack(order, costs, BATCH_TOKENS):
            yield [groups[row] for row in rows_]

    def _score_batch(self, batch: Sequence[_Group]) -> Iterator[tuple[int, float]]:
        """Encode every context but its last token once; then feed that token + continuation."""
        prefix, mask = self._pad_rows([g.context[:-1] for g in batch], left=True)
        cache = self._forward(prefix, mask, None).past_key_values if prefix.shape[1] else None
        owners = [k for k, group in enumerate(batch) for _ in group.continuations]
        entries = [entry for group in batch for entry in group.continuations]
        inputs = [
            (batch[k].context[-1], *ids[:-1]) for k, (_, ids) in zip(owners, entries, strict=True)
        ]
        tails, tail_mask = self._pad_rows(inputs, left=False)
        if cache is not None:
            cache.batch_select_indices(torch.tensor(owners, device=tails.device))
            tail_mask = torch.cat([mask[owners], tail_mask], dim=1)
        logits = self._forward(tails, tail_mask, cache, every=True).logits.float()
        targets, _ = self._pad_rows([ids for _, ids in entries], left=False)
        chosen = logits.gather(2, targets[..., None])[..., 0] - logits.logsumexp(2)
        for row, (index, ids) in enumerate(entries):
            yield index, float(chosen[row, : len(ids)].double().sum())

    def _continue(
        self, batch: Sequence[Sequence[int]], max_new_tokens: int, stop: Sequence[str]
    ) -> list[str]:
        ids, mask = self._pad_rows(batch, left=True)
        made: list[list[int]] = [[] for _ in batch]
        open_rows = set(range(len(batch)))
        cache = None
        for _ in range(max_new_tokens):
            out = self._forward(ids, mask, cache)
            cache, ids = out.past_key_values, out.logits[:, -1].argmax(-1, keepdim=True)
            mask = torch.cat([mask, mask.new_ones(len(batch), 1)], dim=1)
            for row, token in enumerate(ids[:, 0].tolist()):
                if row in open_rows:
                    self._append(made[row], token, row, open_rows, stop)
            if not open_rows:
                break
        return [_cut(self._decode(tokens), stop) for tokens in made]

    def _append(
        self, tokens: list[int], token: int, row: int, open_rows: set[int], stop: Sequence[str]
    ) -> None:
        if token in self._ends:
            open_rows.discard(row)
            return
        tokens.append(token)
        if stop and any(word in self._decode(tokens) for word in stop):
            open_rows.discard(row)

    def _decode(self, tokens: Sequence[int]) -> str:
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True))

    def _forward(self, ids: Tensor, mask: Tensor, cache: Any, *, every: bool = False) -> Any:
        extra: dict[str, Any] = {} if every else dict(self._last_only)
        if self._takes_positions:
            extra["position_ids"] = (mask.cumsum(1) - 1).clamp_(min=0)[:, -ids.shape[1] :]
        return self.module(
            input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **extra
        )

    def _pad_rows(self, rows: Sequence[Sequence[int]], *, left: bool) -> tuple[Tensor, Tensor]:
        width = max(len(row) for row in rows)
        ids, mask = [], []
        for row in rows:
            gap = width - len(row)
            padding, present = [self._pad] * gap, [1] * len(row)
            ids.append([*padding, *row] if left else [*row, *padding])
            mask.append([0] * gap + present if left else present + [0] * gap)
        device = self.module.device
        return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _pack(order: Sequence[int], costs: Sequence[int], most: int) -> Iterator[list[int]]:
    """Split rows, in order, into batches whose rows × dearest row stay within `most`."""
    batch: list[int] = []
    dearest = 0
    for row in order:
        if batch and (len(batch) + 1) * max(dearest, costs[row]) > most:
            yield batch
            batch, dearest = [], 0
        batch.append(row)
        dearest = max(dearest, costs[row])
    if batch:
        yield batch


def _cut(text: str, stop: Sequence[str]) -> str:
    places = [text.find(word) for word in stop if word in text]
    return text[: min(places)] if places else text


def _end_tokens(module: Any, tokenizer: Any) -> set[int]:
    stated = getattr(getattr(module, "generation_config", None), "eos_token_id", None)
    ends = stated if isinstance(stated, list) else [stated]
    return {token for token in [*ends, tokenizer.eos_token_id] if token is not None}
