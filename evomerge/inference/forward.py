"""One forward pass of a causal language model: no more logits than are needed, caches explicit."""

import inspect
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, reduce
from operator import and_
from typing import Any

import torch
from torch import Tensor

from evomerge.inference.batches import pack
from evomerge.inference.caches import Sharing, inspect_cache

ALIBI = ("bloom", "mpt")
"""Model types that know distances instead of positions, so that padding on the left is harmless."""
LENGTH_DEPENDENT = ("dynamic", "longrope")
"""Rotary embeddings that turn *every* position otherwise once a row is long: no cuts."""
TAKE_MASKS = ("sdpa", "eager")
"""Attention that is told, query by query, which places it sees."""


class Forward:
    """Runs a model of the transformers library, whatever its signature.

    Args:
        module: a causal language model, in evaluation mode.
        pad: token id that fills gaps.
        limit: most tokens it reads.

    Attributes:
        limit: most places of a row, padding included; None where they do not matter. Attention of
            the older families, which cannot be exchanged, has masks of just so many.
        vocabulary: how many tokens there are logits for.
        even: tokens beyond which rows of different lengths share no batch.
        alone: whether no rows share one, because the model reads padding; may be set.
    """

    def __init__(self, module: Any, pad: int, limit: int | None = None) -> None:
        accepted = inspect.signature(module.forward).parameters
        self.module, self.pad = module, pad
        self.limit = None if getattr(module, "_supports_attention_backend", False) else limit
        self._accepts = frozenset(accepted)
        kind = module.config.get_text_config()
        self.vocabulary = int(kind.vocab_size)
        self._kind = kind
        self.even, self.alone = find_turn(kind), False

    @cached_property
    def sharing(self) -> Sharing:
        """What the caches look fit for; may be set to less."""
        if not self._tells_places:
            return Sharing()
        _, cache = self(self.pad_left([[self.pad] * 2]), keep=1, caching=True)
        found = inspect_cache(cache)
        trees = (
            found.spreads
            and "position_ids" in self._accepts
            and getattr(self.module, "_supports_attention_backend", False)
            and self._kind._attn_implementation in TAKE_MASKS
        )
        return replace(found, trees=trees)

    def adopt(self, others: "Sequence[Forward]") -> None:
        """Let rows share what all of these models allow, and be divided into batches as theirs."""
        self.sharing = reduce(and_, (other.sharing for other in others))
        self.even = min(other.even for other in others)
        self.alone = any(other.alone for other in others)
        self.vocabulary = max(other.vocabulary for other in others)
        self.limit = min((n for n in (o.limit for o in others) if n is not None), default=None)

    @property
    def _tells_places(self) -> bool:
        """Tell whether rows may be padded on the left and cut in two."""
        if self.even < math.inf:
            return False
        told = "position_ids" in self._accepts or self._kind.model_type in ALIBI
        return told and "past_key_values" in self._accepts

    def __call__(
        self,
        ids: Tensor,
        *,
        keep: int,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: Any = None,
        caching: bool = False,
    ) -> tuple[Tensor, Any]:
        """Return the logits of the last positions, [rows, keep, vocabulary], and the cache.

        Args:
            ids: token ids, [rows, width].
            keep: how many positions, at least 1.
            mask: 1 for tokens, 0 for padding, [rows, cached + width]; None where padding is only
                on the right, where it is harmless. Or what is added to the attention of each
                query to each place, [rows, 1, width, cached + width].
            positions: of the tokens, [rows, width]; counted from the mask if absent.
            cache: keys and values of what stands before; it is added to.
            caching: whether a cache is wanted afterwards.
        """
        extra: dict[str, Any] = {}
        if "logits_to_keep" in self._accepts:
            extra["logits_to_keep"] = keep
        if cache is not None:
            extra["past_key_values"] = cache
        if caching or cache is not None or "use_cache" in self._accepts:
            extra["use_cache"] = caching or cache is not None
        if mask is not None:
            extra["attention_mask"] = mask
            if positions is None:
                positions = count_positions(mask, ids.shape[1])
            if "position_ids" in self._accepts:
                extra["position_ids"] = positions
        out = self.module(input_ids=ids, **extra)
        return out.logits[:, -keep:], getattr(out, "past_key_values", None)

    def pack(
        self,
        widths: Sequence[int],
        costs: Sequence[int],
        *,
        padding: int | None = None,
        most: int = 0,
    ) -> Iterator[list[int]]:
        """Divide rows into batches that change no row's numbers; see `batches.pack`.

        Args:
            widths: tokens of each row that are computed.
            costs: tokens of memory of each row.
            padding: most tokens of padding in a batch.
            most: tokens by which rows may grow.
        """
        if self.alone:
            return ([row] for row in range(len(widths)))
        return pack(widths, costs, padding=padding, even=self.even - most)

    def pad_left(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Return rows of token ids as one tensor, their ends aligned."""
        return self._tensor(rows, lambda row, gap: [*gap, *row])

    def pad_right(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Return rows of token ids as one tensor, their beginnings aligned."""
        return self._tensor(rows, lambda row, gap: [*row, *gap])

    def _tensor(self, rows: Sequence[Sequence[int]], join: Any) -> Tensor:
        width = max(len(row) for row in rows)
        filled = [join(row, [self.pad] * (width - len(row))) for row in rows]
        return torch.tensor(filled, device=self.module.device)

    def mark_beginnings(self, lengths: Sequence[int], width: int) -> Tensor:
        """Return a mask of rows that begin together: 1 in the first `lengths[row]` of `width`."""
        return self.mark_ends(lengths, width).flip(1)

    def mark_ends(self, lengths: Sequence[int], width: int) -> Tensor:
        """Return a mask of rows that end together: 1 in the last `lengths[row]` of `width`."""
        places = torch.arange(width, device=self.module.device)
        gaps = width - torch.tensor(lengths, device=self.module.device)
        return (places >= gaps[:, None]).long()


def count_positions(mask: Tensor, width: int) -> Tensor:
    """Return the positions of the last `width` places, [rows, width], of a mask [rows, places]."""
    return (mask.cumsum(1) - 1).clamp_(min=0)[:, -width:]


def find_turn(config: Any) -> float:
    """Return beyond how many tokens a model's rotary embeddings turn otherwise; infinity if never.

    Args:
        config: of the text model.
    """
    rotary = getattr(config, "rope_parameters", None) or {}
    if not any(repr(name) in str(rotary) for name in LENGTH_DEPENDENT):
        return math.inf
    name = "original_max_position_embeddings"
    stated = rotary.get(name) or getattr(config, name, None)
    return float(stated or config.max_position_embeddings)
