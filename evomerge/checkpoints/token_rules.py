"""Where the row of a single token comes from, by order of the user."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from evomerge.checkpoints.tokenizer import Tokenizer, plain_entry


@dataclass(frozen=True, slots=True)
class TokenRule:
    """What fills the row of a token in models that lack it.

    Attributes:
        model: the model whose row is taken; None: as for any other token.
        token: which of its tokens; None: the one of the same name.
        token_id: or the number of that row.
        zero: fill with zeros instead.
        force: do so in models, too, that have the token.
    """

    model: str | None = None
    token: str | None = None
    token_id: int | None = None
    zero: bool = False
    force: bool = False


def find_rule_problems(
    rules: Mapping[str, TokenRule], tokenizers: Mapping[str, Tokenizer], rows: Mapping[str, int]
) -> Iterator[str]:
    """Yield what is wrong with the rules, one line each."""
    for token, rule in rules.items():
        if reason := _find_problem(token, rule, tokenizers, rows):
            yield f"tokens: {token!r} {reason}"


def place_rules(
    rules: Mapping[str, TokenRule], tokenizers: Mapping[str, Tokenizer]
) -> dict[str, tuple[str, int] | None]:
    """Return token -> the (model, row) that stands in, None for zeros; only where a rule says."""
    placed: dict[str, tuple[str, int] | None] = {}
    for token, rule in rules.items():
        if rule.zero:
            placed[token] = None
        elif rule.model is not None:
            placed[token] = (rule.model, _row(token, rule, tokenizers[rule.model]))
    return placed


def list_entries(
    rules: Mapping[str, TokenRule], tokenizers: Mapping[str, Tokenizer]
) -> Iterator[Mapping[str, Any]]:
    """Yield the tokenizer.json entries of the tokens that rules name, for those yet to be added.

    Settings are those of the model whose row is taken, else of the first that adds the token.
    """
    for token, rule in rules.items():
        asked = [tokenizers[rule.model]] if rule.model is not None else []
        known = (t.added[token] for t in (*asked, *tokenizers.values()) if token in t.added)
        yield next(known, plain_entry(token))


def _find_problem(
    token: str, rule: TokenRule, tokenizers: Mapping[str, Tokenizer], rows: Mapping[str, int]
) -> str | None:
    if not token:
        return "is empty: a token has at least one character"
    named = rule.token is not None or rule.token_id is not None
    if (rule.zero and (named or rule.model)) or (rule.token and rule.token_id is not None):
        return "has two sources, give one"
    if rule.model is None:
        return "names a token but not its model" if named else None
    if rule.model not in rows:
        return f"takes a row of {rule.model}, which is not one of the merged models"
    return _find_missing(rule.model, token, rule, tokenizers[rule.model], rows[rule.model])


def _find_missing(
    model: str, token: str, rule: TokenRule, tokenizer: Tokenizer, count: int
) -> str | None:
    if rule.token_id is None and (rule.token or token) not in tokenizer.tokens:
        return f"takes the row of {(rule.token or token)!r}, a token that {model} does not have"
    row = _row(token, rule, tokenizer)
    in_range = 0 <= row < count
    return None if in_range else f"takes row {row} of {model}, which has rows 0 to {count - 1}"


def _row(token: str, rule: TokenRule, tokenizer: Tokenizer) -> int:
    return tokenizer.tokens[rule.token or token] if rule.token_id is None else rule.token_id
