"""One tokenizer that knows the tokens of several: the base's rules, everybody's vocabulary.

The base keeps its ids. Ordinary tokens of the others follow in order of model and id; then the
tokens they find before any rule applies (`<|im_start|>`). Where a model splits text by the base's
rules, its merges or scores come along too, so that a tokenizer that was extended is found again
whole; where it splits text otherwise, its tokens get ids, and the base's rules stay untouched.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from evomerge.checkpoints.tokenizer import (
    LISTED,
    NAMED,
    Tokenizer,
    list_vocabulary,
    number_added,
    read_content,
)

UNLIKELY = 10.0
"""How much less likely (natural logarithm) than all others a piece is that shall not be chosen."""


def unite(base: Tokenizer, others: Mapping[str, Tokenizer]) -> tuple[Tokenizer, list[str]]:
    """Return the base tokenizer, extended by the tokens of others, and warnings.

    Args:
        base: the tokenizer whose rules and ids are kept.
        others: model -> tokenizer, in the order in which their tokens are numbered.
    """
    others = {m: t for m, t in others.items() if t.tokens != base.tokens or t.added != base.added}
    entries, warnings = _collect_added(base, others)
    tokens = dict(base.tokens)
    following = max(tokens.values()) + 1
    kin = []
    for model, other in others.items():
        fresh = other.tokens.keys() - other.added.keys() - tokens.keys() - entries.keys()
        ordered = sorted(fresh, key=other.tokens.__getitem__)
        tokens |= zip(ordered, range(following, following + len(fresh)), strict=True)
        following += len(fresh)
        if fresh and other.rules == base.rules:
            kin.append(other)
        elif fresh:
            warnings.append(
                f"{model} splits text by other rules than the base's, which stay: its own "
                f"{len(fresh)} tokens get rows, but text will seldom meet them"
            )
    if len(tokens) > len(base.tokens):  # added ones too: merges may speak of them
        tokens |= zip([t for t in entries if t not in tokens], count(following), strict=False)
        base = _extend(base, tokens, kin)
    return add_tokens(base, entries.values()), warnings


def add_tokens(tokenizer: Tokenizer, entries: Iterable[Mapping[str, Any]]) -> Tokenizer:
    """Add tokens that are found before any rule applies; those that are there keep their ids.

    Args:
        tokenizer: the tokenizer to extend.
        entries: as in tokenizer.json, without ids.
    """
    tokens, added = dict(tokenizer.tokens), dict(tokenizer.added)
    following = max(tokens.values()) + 1
    for entry in entries:
        token = entry["content"]
        if token in added:
            continue
        if token not in tokens:
            tokens[token] = following
            following += 1
        added[token] = {**entry, "id": tokens[token]}
    return tokenizer if len(added) == len(tokenizer.added) else _rewrite(tokenizer, tokens, added)


def drop_tokens(tokenizer: Tokenizer, names: set[str]) -> Tokenizer:
    """Remove added tokens, those with the highest ids."""
    if not names:
        return tokenizer
    tokens = {token: number for token, number in tokenizer.tokens.items() if token not in names}
    added = {token: entry for token, entry in tokenizer.added.items() if token not in names}
    model = dict(tokenizer.document["model"])
    if isinstance(model["vocab"], list):
        model["vocab"] = [piece for piece in model["vocab"] if piece[0] not in names]
    else:
        model["vocab"] = {t: number for t, number in model["vocab"].items() if t not in names}
    if "merges" in model:
        pairs = _pairs(model["merges"])
        model["merges"] = [p for p in pairs if names.isdisjoint((*p, "".join(p)))]
    document = {**tokenizer.document, "model": model}
    return _rewrite(replace(tokenizer, document=document), tokens, added)


def _collect_added(
    base: Tokenizer, others: Mapping[str, Tokenizer]
) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """Return the others' added tokens by name (the first to have one decides), and warnings."""
    entries: dict[str, Mapping[str, Any]] = {}
    unlike: dict[str, None] = {}
    for other in others.values():
        for token, entry in sorted(other.added.items(), key=lambda pair: pair[1]["id"]):
            known = base.added.get(token) or entries.setdefault(token, entry)
            if {**known, "id": 0} != {**entry, "id": 0}:
                unlike[token] = None
    told = ", ".join(map(repr, list(unlike)[:5])) + (", ..." if len(unlike) > 5 else "")
    warning = f"models add tokens with different settings, the first model's are kept: {told}"
    return {t: e for t, e in entries.items() if t not in base.added}, [warning] if unlike else []


def _extend(base: Tokenizer, tokens: Mapping[str, int], kin: Sequence[Tokenizer]) -> Tokenizer:
    """Return a tokenizer with more ordinary tokens.

    Args:
        base: what to extend.
        tokens: all tokens -> ids.
        kin: tokenizers with the same rules, whose merges and scores are taken over.
    """
    model = dict(base.document["model"])
    others = [other.document["model"] for other in kin]
    if isinstance(model["vocab"], list):
        model["vocab"] = _extend_pieces(model["vocab"], tokens, [o["vocab"] for o in others])
    else:
        model["vocab"] = tokens
    if "merges" in model:
        model["merges"] = _join_merges(model["merges"], [o["merges"] for o in others])
    document = {**base.document, "model": model}
    return replace(base, document=document, tokens=tokens, is_original=False)


def _extend_pieces(
    pieces: Sequence[Sequence[Any]], tokens: Mapping[str, int], others: Sequence[Sequence[Any]]
) -> list[list[Any]]:
    """Return a Unigram vocabulary in which piece number i is token number i."""
    scores = {piece: score for vocabulary in reversed(others) for piece, score in vocabulary}
    worst = min((score for _, score in pieces), default=0.0) - UNLIKELY
    tail = sorted((number, token) for token, number in tokens.items() if number >= len(pieces))
    return [*map(list, pieces), *([token, scores.get(token, worst)] for _, token in tail)]


def _join_merges(own: Sequence[Any], others: Sequence[Sequence[Any]]) -> Sequence[Any]:
    """Return the base's merges, and after them those that only others have."""
    pairs = dict.fromkeys(_pairs(own))
    for merges in others:
        if merges != own:
            pairs |= dict.fromkeys(_pairs(merges))
    return own if len(pairs) == len(own) else list(pairs)


def _pairs(merges: Sequence[Any]) -> list[tuple[str, ...]]:
    """Return merges as pairs; older files write them as 'a b'."""
    if merges and isinstance(merges[0], str):
        return [tuple(merge.split(" ")) for merge in merges]
    return list(map(tuple, merges))


def _rewrite(
    tokenizer: Tokenizer, tokens: Mapping[str, int], added: Mapping[str, Mapping[str, Any]]
) -> Tokenizer:
    """Return the tokenizer with these tokens, its documents brought in line."""
    listed = sorted(added.values(), key=lambda entry: entry["id"])
    model = tokenizer.document["model"]
    numbered = number_added(listed, list_vocabulary(model))
    if any(numbered[token]["id"] != number for token, number in tokens.items() if token in added):
        # The library numbers added tokens by the vocabulary's size unless they stand in it.
        model = {**model, "vocab": tokens}
    document = {**tokenizer.document, "model": model, "added_tokens": listed}
    settings = {k: v for k, v in tokenizer.settings.items() if k != "added_tokens_decoder"}
    for name in NAMED:
        if name in settings and read_content(settings[name]) not in tokens:
            del settings[name]
    for name in LISTED:
        if isinstance(settings.get(name), list):
            settings[name] = [t for t in settings[name] if read_content(t) in tokens]
    return replace(
        tokenizer,
        document=document,
        settings=settings,
        tokens=tokens,
        added=added,
        is_original=False,
    )
