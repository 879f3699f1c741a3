"""What a recipe says of its result's vocabulary, and where tokens' embeddings come from."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class TokenSource:
    """Where a token's embedding is taken from, for models that lack the token.

    Attributes:
        kind: 'zero'; 'model', whose embedding of the same token is taken; 'model_token',
            another token of a model.
        model: for the kinds 'model' and 'model_token'.
        token: for 'model_token': the other token; None where `token_id` says it.
        token_id: for 'model_token': the other token's row; None where `token` says it.
        force: whether models that have the token get this embedding too.
    """

    kind: Literal["zero", "model_token", "model"]
    model: str | None = None
    token: str | None = None
    token_id: int | None = None
    force: bool = False

    def to_document(self) -> dict[str, Any]:
        """Return plain values that read back as an equal source."""
        written: Any = self.model
        if self.kind != "model":
            keys = ("kind", "model", "token", "token_id")
            found = {key: getattr(self, key) for key in keys}
            written = {key: value for key, value in found.items() if value is not None}
        return {"source": written} | ({"force": True} if self.force else {})


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """The result's vocabulary.

    Attributes:
        source: 'union', 'base', or a model whose tokenizer is taken.
        tokens: tokens that the vocabulary must hold, with where their embeddings come from.
        pad_to_multiple_of: the number of embedding rows is rounded up to a multiple of this.
    """

    source: str = "union"
    tokens: tuple[tuple[str, TokenSource], ...] = ()
    pad_to_multiple_of: int | None = None

    def rename_models(self, call: Callable[[str], object]) -> "Tokenizer":
        """Return the tokenizer with every model it names renamed, where `call` finds a string."""

        def name(model: str) -> str:
            found = call(model)
            return found if isinstance(found, str) else model

        tokens = (
            (token, replace(s, model=s.model if s.model is None else name(s.model)))
            for token, s in self.tokens
        )
        return replace(self, source=name(self.source), tokens=tuple(tokens))

    def to_document(self) -> dict[str, Any]:
        """Return plain values; the short form where there is nothing but a source."""
        tokens = {token: source.to_document() for token, source in self.tokens}
        padding = self.pad_to_multiple_of
        rest = ({"tokens": tokens} if tokens else {}) | (
            {"pad_to_multiple_of": padding} if padding is not None else {}
        )
        if not rest:
            return {"tokenizer_source": self.source}
        return {"tokenizer": {"source": self.source, **rest}}
