"""Tokenizers as files: copied whole, compared by content, read as tokens and their ids.

Everything happens at the level of tokenizer.json (format of the Hugging Face `tokenizers`
library); folders that hold only older files are converted by transformers.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evomerge.checkpoints.loading import load_tokenizer
from evomerge.checkpoints.reader import read_json
from evomerge.checkpoints.writer import copy_file, write_text
from evomerge.errors import CheckpointError

FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "chat_template.jinja",
    "generation_config.json",
)
VOCABULARIES = ("tokenizer.json", "tokenizer.model", *FILES[5:9])
NAMED = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)
"""Keys of tokenizer_config.json that name one special token each."""
RULES = (
    "type",
    "byte_fallback",
    "ignore_merges",
    "continuing_subword_prefix",
    "end_of_word_suffix",
)
"""Keys of a tokenizer.json's model that decide how its vocabulary is applied."""
LISTED = ("additional_special_tokens", "extra_special_tokens")
"""Keys of tokenizer_config.json that hold more special tokens, as a list or a table."""


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A tokenizer, read.

    Attributes:
        folder: where its files are.
        document: the contents of tokenizer.json.
        settings: those of special_tokens_map.json and tokenizer_config.json.
        tokens: token -> id, as the `tokenizers` library numbers them.
        added: tokens that are found before any rule applies -> their entry in tokenizer.json.
        is_original: whether the folder's files say the same.
    """

    folder: Path
    document: Mapping[str, Any]
    settings: Mapping[str, Any]
    tokens: Mapping[str, int]
    added: Mapping[str, Mapping[str, Any]]
    is_original: bool = True

    @property
    def rules(self) -> tuple[Any, ...]:
        """What decides, besides vocabulary and merges, how ordinary text is split."""
        model = self.document["model"]
        options = (model.get(key) or None for key in RULES)
        return (*options, self.document.get("normalizer"), self.document.get("pre_tokenizer"))


def has_tokenizer(folder: Path) -> bool:
    """Tell whether a folder holds a tokenizer of any kind."""
    return any((folder / name).is_file() for name in VOCABULARIES)


def read_tokenizer(folder: Path, known: dict[bytes, dict[str, Any]] | None = None) -> Tokenizer:
    """Read the tokenizer of a model folder.

    Args:
        folder: where its files are.
        known: hash of a tokenizer.json -> its contents; filled and used, so that the copies that
            models of one family carry are read once.

    Raises:
        CheckpointError: there is none, it is damaged, or two tokens share an id.
    """
    settings: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            settings |= read_json(folder / name, str(folder))
    document = _read_document(folder, {} if known is None else known)
    try:
        tokens = list_vocabulary(document["model"])
        added = number_added([*(document.get("added_tokens") or ()), *_promised(settings)], tokens)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(folder, f"no vocabulary can be read from it ({error!r})") from None
    tokens |= {token: entry["id"] for token, entry in added.items()}
    _check_ids(folder, tokens)
    return Tokenizer(folder, document, settings, tokens, added)


def list_vocabulary(model: Mapping[str, Any]) -> dict[str, int]:
    """Return token -> id of the `model` of a tokenizer.json (of all four types)."""
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list):
        return {piece: number for number, (piece, _) in enumerate(vocabulary)}
    return dict(vocabulary)


def special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """Return the ids of the special tokens the tokenizer names, as config.json calls them.

    Returns:
        e.g. {'bos_token_id': 1, 'eos_token_id': 2}; only what exists.
    """
    named = {name: read_content(tokenizer.settings.get(name)) for name in NAMED}
    ids = tokenizer.tokens
    return {f"{name}_id": ids[t] for name, t in named.items() if t is not None and t in ids}


def copy_tokenizer(source: Path, target: Path) -> list[str]:
    """Copy tokenizer and generation files that exist; return their names."""
    found = [name for name in FILES if (source / name).is_file()]
    for name in found:
        copy_file(source / name, target / name)
    return found


def save_tokenizer(tokenizer: Tokenizer, target: Path) -> list[str]:
    """Write a tokenizer (and copy the chat template that goes with it); return the files' names."""
    if tokenizer.is_original:
        return copy_tokenizer(tokenizer.folder, target)
    text = json.dumps(tokenizer.document, ensure_ascii=False)  # indented, it takes ten times longer
    write_text(target / "tokenizer.json", text + "\n")
    write_json(target / "tokenizer_config.json", tokenizer.settings)
    names = ["tokenizer.json", "tokenizer_config.json"]
    for name in ("chat_template.jinja", "generation_config.json"):
        if (tokenizer.folder / name).is_file():
            copy_file(tokenizer.folder / name, target / name)
            names.append(name)
    return names


def write_json(file: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file as transformers does: two spaces, non-ASCII text as it is."""
    write_text(file, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def fingerprint_tokenizer(folder: Path) -> str:
    """Hash what decides how text becomes token ids (32 hex digits; empty without a tokenizer).

    Raises:
        CheckpointError: the tokenizer's file is damaged.
    """
    digest = hashlib.sha256()
    vocabulary = folder / "tokenizer.json"
    if vocabulary.is_file():
        table = read_json(vocabulary, str(folder))
        for changing in ("padding", "truncation"):
            table.pop(changing, None)
        digest.update(json.dumps(table, sort_keys=True).encode())
        return digest.hexdigest()[:32]
    found = [folder / n for n in FILES[2:9] if (folder / n).is_file()]
    for file in found:
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:32] if found else ""


def read_content(token: Any) -> str | None:
    """Return the text of a token in tokenizer_config.json: a string, or a table that holds it."""
    text = token.get("content") if isinstance(token, Mapping) else token
    return text if isinstance(text, str) and text else None


def plain_entry(token: str, *, special: bool = False) -> dict[str, Any]:
    """Return the tokenizer.json entry that transformers makes of a token added by name."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
    return {"content": token, **flags, "normalized": not special, "special": special}


def _read_document(folder: Path, known: dict[bytes, dict[str, Any]]) -> dict[str, Any]:
    file = folder / "tokenizer.json"
    if file.is_file():
        key = hashlib.sha256(file.read_bytes()).digest()
        if key not in known:
            known[key] = read_json(file, str(folder))
        return known[key]
    backend = getattr(load_tokenizer(folder), "backend_tokenizer", None)
    if backend is None:
        raise CheckpointError(
            f"{folder} has a tokenizer that cannot be written as tokenizer.json",
            "Name another model in `tokenizer_source`",
        )
    document: dict[str, Any] = json.loads(backend.to_str())
    return document


def _promised(settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the tokens that transformers adds on loading, where tokenizer.json lacks them."""
    decoder = settings.get("added_tokens_decoder") or {}
    for number in sorted(decoder, key=int):
        yield plain_entry(read_content(decoder[number]) or "") | decoder[number]
    listed = [settings.get(key) or () for key in LISTED]
    groups = [group.values() if isinstance(group, Mapping) else group for group in listed]
    for token in [*(settings.get(key) for key in NAMED), *(t for group in groups for t in group)]:
        if text := read_content(token):
            yield plain_entry(text, special=True)


def number_added(
    entries: Iterable[Mapping[str, Any]], vocabulary: Mapping[str, int]
) -> dict[str, dict[str, Any]]:
    """Give added tokens the ids that the library gives them, whatever their entries claim."""
    added: dict[str, dict[str, Any]] = {}
    following = len(vocabulary)
    for entry in entries:
        token = entry["content"]
        if token and token not in added:
            number = vocabulary.get(token, following)
            following = max(following, number + 1)
            added[token] = {**entry, "id": number}
    return added


def _check_ids(folder: Path, tokens: Mapping[str, int]) -> None:
    if not tokens or set(map(type, tokens.values())) != {int} or min(tokens.values()) < 0:
        raise _damaged(folder, "its token ids must be whole numbers from 0 on")
    if len(set(tokens.values())) == len(tokens):
        return
    counts = Counter(tokens.values())
    shared = [number for number, count in counts.items() if count > 1]
    names = ", ".join(repr(token) for token, number in tokens.items() if number == shared[0])
    raise _damaged(
        folder, f"{len(shared)} ids stand for more than one token ({shared[0]}: {names})"
    )


def _damaged(folder: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"{folder / 'tokenizer.json'} is damaged: {reason}", "Fetch it again")
