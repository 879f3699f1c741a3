"""What in a model speaks of tokens by number: tensors with a row for each, ids in config.json."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from evomerge.checkpoints.tokenizer import special_ids
from evomerge.checkpoints.vocabulary import Vocabulary

EMBEDDING = re.compile(
    r"(^|\.)(embed_tokens|wte|word_embeddings?|embed_in|tok_embeddings|tokens_embed|shared"
    r"|embeddings?)\.weight$"
)
HEAD = re.compile(
    r"(^|\.)(lm_head|lm_head\.decoder|embed_out|output|output_layer|vocab_projector|predictions"
    r"|predictions\.decoder|generator_lm_head|head|decoder)\.(weight|bias)$"
)
TOKEN_ID = re.compile(r"_token_(id|index)$")
SIZES = ("vocab_size", "padded_vocab_size")
SCOPES = ("text_config", "language_config", "llm_config", "decoder", "encoder")
"""Parts of a composed model's configuration that have a vocabulary of their own."""


def update_ids(settings: Mapping[str, Any], vocabulary: Vocabulary, model: str) -> dict[str, Any]:
    """Return a configuration of `model` in which every token id means the same token as before.

    Where the result has another model's tokenizer, the special tokens which that one names come
    first: `eos_token_id` becomes its id, or a list that begins with it.

    Args:
        settings: contents of config.json or generation_config.json.
        vocabulary: of the result.
        model: whose configuration it is.
    """
    own, new = vocabulary.tokenizers[model], vocabulary.tokenizer
    named = special_ids(new) if own.folder != new.folder else {}
    names = {number: token for token, number in own.tokens.items()}

    def move(number: int) -> int | None:
        if number in names:
            return new.tokens.get(names[number])
        return number if number < vocabulary.size else None

    def update(key: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {inner: update(inner, entry) for inner, entry in value.items()}
        if not TOKEN_ID.search(key) or value is None:
            return value
        if isinstance(value, list):
            moved = [named.get(key), *map(move, value)]
            return list(dict.fromkeys(number for number in moved if number is not None))
        return named.get(key, move(value) if type(value) is int else value)

    return {key: update(key, value) for key, value in settings.items()}


def vocabulary_axis(name: str, shape: Sequence[int], config: Mapping[str, Any]) -> int | None:
    """Return the axis of a tensor that counts tokens, None where there is none.

    It is told by the tensor's name (embedding, head, head's bias) and by its length, which
    config.json states as `vocab_size`.
    """
    sizes = _vocabulary_sizes(config)
    axis = len(shape) - 1 if name.endswith("final_logits_bias") else 0
    known = axis or EMBEDDING.search(name) or HEAD.search(name)
    return axis if known and shape and (not sizes or shape[axis] in sizes) else None


def _vocabulary_sizes(config: Mapping[str, Any]) -> set[int]:
    scopes = (config, *(config.get(scope) or {} for scope in SCOPES))
    found = (scope.get(key) for scope in scopes for key in SIZES if isinstance(scope, Mapping))
    return {size for size in found if isinstance(size, int)}
