"""One tokenizer that knows the tokens of several: the base's rules, everybody's vocabulary.

The base keeps its ids. Ordinary tokens of the others follow in order of model and id; then the
tokens they find before any rule applies (`<|im_start|>`). Where a model splits text by the base's
rules, its merges or scores come along too, so that a tokenizer that was extended is found again
whole; where it splits text otherwise, its tokens get ids, and the base's rules stay untouched.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
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
    result = base
    for model, other in others.items():
        fresh = [t for t in _in_order(other) if t not in result.tokens and t not in entries]
        result = _add_ordinary(result, other, fresh)
        if fresh and other.rules != base.rules:
            warnings.append(
                f"{model} splits text by other rules than the base's, which stay: its own "
                f"{len(fresh)} tokens get rows, but text will seldom meet them"
            )
    return add_tokens(result, entries.values()), warnings


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


def drop_tokens(tokenizer: Tokenizer, names: Collection[str]) -> Tokenizer:
    """Remove added tokens, those with the highest ids."""
    if not names:
        return tokenizer
    tokens = {token: number for token, number in tokenizer.tokens.items() if token not in names}
    added = {token: entry for token, entry in tokenizer.added.items() if token not in names}
    model = tokenizer.document["model"]
    kept = list_vocabulary(model).keys() - names
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list):
        vocabulary = [piece for piece in vocabulary if piece[0] in kept]
    else:
        vocabulary = {token: number for token, number in vocabulary.items() if token in kept}
    document = {**tokenizer.document, "model": {**model, "vocab": vocabulary}}
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


def _in_order(tokenizer: Tokenizer) -> list[str]:
    return sorted(
        tokenizer.tokens.keys() - tokenizer.added.keys(), key=tokenizer.tokens.__getitem__
    )


def _add_ordinary(tokenizer: Tokenizer, other: Tokenizer, fresh: Sequence[str]) -> Tokenizer:
    if not fresh:
        return tokenizer
    first = max(tokenizer.tokens.values()) + 1
    tokens = {**tokenizer.tokens, **{token: first + n for n, token in enumerate(fresh)}}
    model = dict(tokenizer.document["model"])
    alike = other.rules == tokenizer.rules
    if isinstance(model["vocab"], list):
        model["vocab"] = _extend_pieces(model["vocab"], tokens, other if alike else None)
    else:
        model["vocab"] = tokens
    if alike and "merges" in model:
        model["merges"] = _join_merges(model["merges"], other.document["model"]["merges"])
    document = {**tokenizer.document, "model": model}
    return replace(tokenizer, document=document, tokens=tokens, is_original=False)


def _extend_pieces(
    pieces: Sequence[Sequence[Any]], tokens: Mapping[str, int], other: Tokenizer | None
) -> list[list[Any]]:
    """Return a Unigram vocabulary in which piece number i is token number i."""
    scores = dict(other.document["model"]["vocab"]) if other else {}
    worst = min((score for _, score in pieces), default=0.0) - UNLIKELY
    tail = sorted((number, token) for token, number in tokens.items() if number >= len(pieces))
    return [*map(list, pieces), *([token, scores.get(token, worst)] for _, token in tail)]


def _join_merges(own: Sequence[Any], others: Sequence[Any]) -> Sequence[Any]:
    """Return the base's merges, and after them those that only the other has."""
    if own == others:
        return own
    pairs = dict.fromkeys(_pair(merge) for merge in own)
    return [list(pair) for pair in pairs | dict.fromkeys(_pair(merge) for merge in others)]


def _pair(merge: Any) -> tuple[str, ...]:
    return tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge)


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
