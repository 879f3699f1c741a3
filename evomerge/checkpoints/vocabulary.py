"""Which row of which model stands for each token of a merged model.

Models whose vocabularies differ cannot be merged row by row: row 32000 is `<pad>` in one and
`<|im_start|>` in the other. A `Vocabulary` is the tokenizer of the result and, for every model,
the row that each of its tokens has there. A token that a model lacks is filled in: with the
base's row, else with the only owner's, else with the mean of its owners'.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evomerge.checkpoints.chat_template import write_template
from evomerge.checkpoints.token_rules import (
    TokenRule,
    find_rule_problems,
    list_entries,
    place_rules,
)
from evomerge.checkpoints.tokenizer import (
    Tokenizer,
    has_tokenizer,
    read_tokenizer,
    save_tokenizer,
)
from evomerge.checkpoints.union import add_tokens, drop_tokens, unite

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The tokens of a merged model and where each model has them.

    Row r of a tensor with a vocabulary axis, as model m sees it, is

    - its own row `own_rows[m][r]` where that is not -1;
    - else the mean of the rows `donors[d][r]` of the models d where that is not -1;
    - zeros, where there is no such model;
    - for the last `padding` rows: the mean of all rows before them, as model m sees them.

    Attributes:
        size: number of rows of the merged embedding.
        padding: how many of them, at the end, are filled with the mean.
        tokens: token -> row.
        owned: model -> int64 (size,), the row where it has that token, or -1.
        ruled: row -> the (model, row) that a rule names for it, None for zeros.
        forced: rows that rules fill in every model.
        base: the model whose row fills in first, or None.
        tokenizer: the tokenizer of the result.
        tokenizers: model -> its own tokenizer.
        counts: model -> number of rows of its embedding.
        warnings: what the user should know, one line each.
    """

    size: int
    padding: int
    owned: Mapping[str, Rows]
    ruled: Mapping[int, tuple[str, int] | None]
    forced: tuple[int, ...]
    base: str | None
    tokenizer: Tokenizer
    tokenizers: Mapping[str, Tokenizer]
    counts: Mapping[str, int]
    warnings: tuple[str, ...] = ()

    @property
    def tokens(self) -> Mapping[str, int]:
        """Return token -> row."""
        return self.tokenizer.tokens

    @cached_property
    def own_rows(self) -> Mapping[str, Rows]:
        """Return model -> int64 (size,), the row it has for each row of the result, or -1."""
        own = {model: rows.copy() for model, rows in self.owned.items()}
        for rows in own.values():
            rows[list(self.forced)] = -1
        return own

    @cached_property
    def donors(self) -> Mapping[str, Rows]:
        """Return model -> int64 (size,), its row that stands in where a model lacks one, or -1."""
        donors = {model: rows.copy() for model, rows in self.owned.items()}
        if self.base is not None and self.base in donors:
            for model in donors.keys() - {self.base}:
                donors[model][self.owned[self.base] >= 0] = -1
        for rows in donors.values():
            rows[list(self.ruled)] = -1
        for row, place in self.ruled.items():
            if place:
                donors.setdefault(place[0], np.full(self.size, -1))[row] = place[1]
        return donors

    @cached_property
    def identity(self) -> Mapping[str, bool]:
        """Return model -> whether its rows stay as they are."""
        still = np.arange(self.size)
        return {
            model: self.counts[model] == self.size and bool(np.array_equal(rows, still))
            for model, rows in self.own_rows.items()
        }

    def among(self, models: Collection[str]) -> "Vocabulary":
        """Return the vocabulary of a tensor that only these models have.

        Only they stand in for each other, except where a rule names another model.
        """
        return replace(self, owned={m: rows for m, rows in self.owned.items() if m in models})

    def substitutes(self, model: str) -> dict[int, tuple[tuple[str, int], ...]]:
        """Return row -> the (model, row) pairs whose mean stands in; no pair means zeros."""
        missing = np.flatnonzero(self.own_rows[model][: self.size - self.padding] < 0)
        taken = [(donor, rows[missing].tolist()) for donor, rows in self.donors.items()]
        return {
            row: tuple((donor, rows[n]) for donor, rows in taken if rows[n] >= 0)
            for n, row in enumerate(missing.tolist())
        }


def build_vocabulary(
    folders: Mapping[str, Path],
    base: str | None,
    *,
    rows: Mapping[str, int],
    source: str = "union",
    tokens: Mapping[str, TokenRule] | None = None,
    pad_to_multiple_of: int | None = None,
) -> Vocabulary:
    """Find the common vocabulary of models.

    Args:
        folders: model -> its folder, in the recipe's order.
        base: the model whose row fills in for a missing token, and whose tokenizer is extended;
            None: no row is preferred, and the first model's tokenizer is extended.
        rows: model -> number of rows of its embedding, for every model that is merged (`folders`
            may hold one more, whose tokenizer alone is wanted).
        source: 'union', 'base', or the model whose tokenizer the result has.
        tokens: token -> where its row comes from; a token that the tokenizer lacks is added.
        pad_to_multiple_of: rows are added until their number is a multiple of this.

    Returns:
        The vocabulary. Where no token moves, every model's rows stay as they are, rows beyond the
        last token included; else the result has as many rows as its tokenizer has ids.

    Raises:
        CheckpointError: a tokenizer is missing or damaged.
        ValueError: what was asked for cannot be; one line for each problem.
    """
    rules, first = tokens or {}, base or next(iter(rows))
    donor = first if source in ("union", "base") else source
    _refuse(_find_problems(folders, rows, first, donor, pad_to_multiple_of))
    tokenizers, warnings = _read_all(folders, first, rows)
    chosen = tokenizers[donor]
    if source == "union":
        ordered = {first: chosen, **tokenizers}
        chosen, more = unite(chosen, {model: ordered[model] for model in ordered if model in rows})
        warnings += more
    _refuse(find_rule_problems(rules, tokenizers, rows))
    chosen = add_tokens(chosen, list_entries(rules, tokenizers))
    placed = place_rules(rules, tokenizers)
    vocabulary = Vocabulary(
        size=1 + max(chosen.tokens.values()),
        padding=0,
        owned={
            model: _find_rows(chosen, tokenizers[model], count) for model, count in rows.items()
        },
        ruled={chosen.tokens[token]: place for token, place in placed.items()},
        forced=tuple(chosen.tokens[token] for token, rule in rules.items() if rule.force),
        base=base,
        tokenizer=chosen,
        tokenizers=tokenizers,
        counts=rows,
    )
    warnings += _find_orphans(vocabulary)
    return replace(_fit(vocabulary, pad_to_multiple_of), warnings=tuple(warnings))


def write_tokenizer(vocabulary: Vocabulary, folder: Path, template: str | None = None) -> list[str]:
    """Write the tokenizer of the result into an existing folder; return the files' names.

    Args:
        vocabulary: of the result.
        folder: where to.
        template: the chat template it gets; None keeps the tokenizer's own.
    """
    names = save_tokenizer(vocabulary.tokenizer, folder)
    return names if template is None else sorted({*names, *write_template(folder, template)})


def _find_problems(
    folders: Mapping[str, Path], rows: Mapping[str, int], base: str, donor: str, pad: int | None
) -> Iterator[str]:
    known = ", ".join(folders)
    for role, model in {"base model": base, "tokenizer source": donor}.items():
        if model not in folders:
            yield f"the {role} {model!r} is not a model of this merge (union, base, {known})"
    for model in sorted(rows.keys() - folders.keys()):
        yield f"{model} has no folder to read a tokenizer from"
    if pad is not None and pad <= 0:
        yield f"pad_to_multiple_of is {pad}, it must be 1 or more"


def _refuse(problems: Iterator[str]) -> None:
    if lines := list(problems):
        raise ValueError("\n".join(lines))


def _read_all(
    folders: Mapping[str, Path], base: str, rows: Mapping[str, int]
) -> tuple[dict[str, Tokenizer], list[str]]:
    """Return every model's tokenizer, without tokens that have no row, and warnings."""
    tokenizers: dict[str, Tokenizer] = {}
    warnings: list[str] = []
    problems: list[str] = []
    known: dict[bytes, Any] = {}
    for model in (base, *(model for model in folders if model != base)):
        folder = folders[model]
        if model != base and not has_tokenizer(folder):
            warnings.append(f"{model} has no tokenizer, {base}'s is taken for it")
            folder = folders[base]
        whole = read_tokenizer(folder, known)
        if beyond := _find_beyond(whole, rows.get(model)):
            told = f"{model}: {len(beyond)} token ids go beyond its {rows[model]} embedding rows"
            listed = ", ".join(map(repr, sorted(beyond)[:3])) + ", ..." * (len(beyond) > 3)
            spare = beyond <= whole.added.keys()
            (warnings if spare else problems).append(f"{told}: {listed}" + ", left out" * spare)
        tokenizers[model] = drop_tokens(whole, beyond & whole.added.keys())
    _refuse(iter(problems))
    return {model: tokenizers[model] for model in folders}, warnings


def _find_beyond(tokenizer: Tokenizer, count: int | None) -> set[str]:
    """Return the tokens that have no row among `count`."""
    if count is None or max(tokenizer.tokens.values()) < count:
        return set()
    return {token for token, row in tokenizer.tokens.items() if row >= count}


def _find_rows(chosen: Tokenizer, own: Tokenizer, count: int) -> Rows:
    """Return int64 (ids of `chosen`,): the row of `own` for each, -1 where it has none."""
    size = 1 + max(chosen.tokens.values())
    same = own.folder == chosen.folder or own.tokens == chosen.tokens
    rows = np.arange(size) if same else np.full(size, -1)  # ids of no token stay where they are
    get = own.tokens.get
    found = np.fromiter((get(token, -1) for token in chosen.tokens), np.int64, len(chosen.tokens))
    rows[np.fromiter(chosen.tokens.values(), np.int64, len(chosen.tokens))] = found
    rows[rows >= count] = -1
    return rows


def _find_orphans(vocabulary: Vocabulary) -> list[str]:
    """Return a warning about tokens that no model has and no rule speaks of."""
    absent = np.all([rows < 0 for rows in vocabulary.owned.values()], axis=0)
    absent[list(vocabulary.ruled)] = False
    names = [repr(token) for token, row in vocabulary.tokens.items() if absent[row]]
    listed = ", ".join(names[:3]) + ", ..." * (len(names) > 3)
    return [f"{len(names)} tokens are in no merged model, their rows are 0: {listed}"] * bool(names)


def _fit(vocabulary: Vocabulary, multiple: int | None) -> Vocabulary:
    """Set the number of rows: as it is where nothing moves, else all tokens and the padding."""
    size, counts = vocabulary.size, set(vocabulary.counts.values())
    target = -(-size // (multiple or 1)) * (multiple or 1)
    present, still = max(counts), np.arange(size)
    rests = len(counts) == 1 and not vocabulary.forced and (not multiple or target == present)
    if rests and all(np.array_equal(rows, still) for rows in vocabulary.owned.values()):
        return replace(
            vocabulary, size=present, owned={m: np.arange(present) for m in vocabulary.owned}
        )
    grown = {
        model: np.pad(rows, (0, target - size), constant_values=-1)
        for model, rows in vocabulary.owned.items()
    }
    return replace(vocabulary, size=target, padding=target - size, owned=grown)
