"""A union keeps the base's rules and ids, and finds what the others had learnt."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from evomerge.checkpoints.tokenizer import Tokenizer, plain_entry, read_tokenizer, save_tokenizer
from evomerge.checkpoints.union import add_tokens, drop_tokens, unite

KINDS = ("BPE", "WordPiece", "Unigram", "WordLevel")
CHATML = tuple(AddedToken(t, special=True) for t in ("<|im_start|>", "<|im_end|>"))
TEXTS = (
    "the quick brown fox",
    "lazier wizards, foxes & dogs!",
    "merging 語彙 needs a vocabulary",
    "  twice  spaced \n lines",
)
OTHER_TEXT = "merging models of language needs a common vocabulary or the rows are mixed up"


def _save(tokenizer: Tokenizer, folder: Path) -> Backend:
    folder.mkdir()
    save_tokenizer(tokenizer, folder)
    return Backend.from_file(str(folder / "tokenizer.json"))


def _load(folder: Path) -> Backend:
    return Backend.from_file(str(folder / "tokenizer.json"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_union_of_equal_tokenizers_is_the_base_untouched(
    train_tokenizer: Callable[..., Path], kind: str
) -> None:
    base = read_tokenizer(train_tokenizer("base", kind))
    twin = read_tokenizer(train_tokenizer("twin", kind))
    result, warnings = unite(base, {"base": base, "twin": twin})
    assert result is base
    assert warnings == []


@pytest.mark.parametrize("kind", KINDS)
def test_models_that_add_tokens_leave_every_other_text_as_the_base_splits_it(
    train_tokenizer: Callable[..., Path], tmp_path: Path, kind: str
) -> None:
    base = train_tokenizer("base", kind)
    tokenizers = {
        "base": read_tokenizer(base),
        "chat": read_tokenizer(train_tokenizer("chat", kind, added=CHATML)),
        "tool": read_tokenizer(train_tokenizer("tool", kind, added=["zork", CHATML[1]])),
    }
    result, warnings = unite(tokenizers["base"], tokenizers)
    assert warnings == []
    saved, before = _save(result, tmp_path / "out"), _load(base)
    assert saved.get_vocab() == result.tokens
    first = before.get_vocab_size()
    fresh = {t: n for t, n in result.tokens.items() if n >= first}
    assert fresh == {"<|im_start|>": first, "<|im_end|>": first + 1, "zork": first + 2}
    for text in TEXTS:
        assert saved.encode(text).ids == before.encode(text).ids
    ends = "<|im_start|>the fox<|im_end|>"
    assert saved.encode(ends).tokens == _load(tmp_path / "chat").encode(ends).tokens


def test_a_tokenizer_that_was_extended_is_found_again_whole(
    train_tokenizer: Callable[..., Path], tmp_path: Path
) -> None:
    base = train_tokenizer("base", added=CHATML)
    table = json.loads((base / "tokenizer.json").read_text())
    vocabulary, merges = table["model"]["vocab"], table["model"]["merges"]
    table["added_tokens"] = [t for t in table["added_tokens"] if t["id"] < len(vocabulary)]
    for left, right in (("v", "o"), ("vo", "c"), ("voc", "a"), ("voca", "b")):
        merges.append([left, right])
        vocabulary[left + right] = len(vocabulary)
    extended = tmp_path / "extended"
    extended.mkdir()
    (extended / "tokenizer.json").write_text(json.dumps(table))
    tokenizers = {name: read_tokenizer(tmp_path / name) for name in ("base", "extended")}
    result, warnings = unite(tokenizers["base"], tokenizers)
    saved, whole = _save(result, tmp_path / "out"), _load(extended)
    assert warnings == []
    assert saved.get_vocab() == result.tokens
    assert "vocab" in saved.encode("vocabulary").tokens
    for text in TEXTS:
        assert saved.encode(text).tokens == whole.encode(text).tokens
    for token, number in tokenizers["base"].tokens.items():
        assert result.tokens[token] == number


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_any_two_kinds_unite_and_the_library_agrees_on_every_id(
    train_tokenizer: Callable[..., Path], tmp_path: Path, kind: str, other: str
) -> None:
    base = read_tokenizer(train_tokenizer("base", kind, added=CHATML))
    far = read_tokenizer(train_tokenizer("far", other, text=OTHER_TEXT, added=["<tool>"]))
    result, warnings = unite(base, {"base": base, "far": far})
    saved = _save(result, tmp_path / "out")
    assert saved.get_vocab() == result.tokens
    assert sorted(result.tokens.values()) == list(range(len(result.tokens)))
    assert result.tokens.keys() == base.tokens.keys() | far.tokens.keys()
    assert [w for w in warnings if "far splits text by other rules" in w] == warnings
    assert bool(warnings) == (kind != other)


@pytest.mark.parametrize("other", ["WordPiece", "Unigram"])
def test_tokens_of_other_rules_never_change_how_a_byte_level_base_splits_text(
    train_tokenizer: Callable[..., Path], tmp_path: Path, other: str
) -> None:
    folder = train_tokenizer("base")
    base = read_tokenizer(folder)
    far = read_tokenizer(train_tokenizer("far", other, text=OTHER_TEXT))
    saved = _save(unite(base, {"far": far})[0], tmp_path / "out")
    for text in (*TEXTS, OTHER_TEXT):
        assert saved.encode(text).tokens == _load(folder).encode(text).tokens


def test_pieces_of_another_unigram_keep_their_scores(
    train_tokenizer: Callable[..., Path], tmp_path: Path
) -> None:
    base = read_tokenizer(train_tokenizer("base", "Unigram", added=CHATML))
    far = read_tokenizer(train_tokenizer("far", "Unigram", text=OTHER_TEXT, size=80))
    saved = _save(unite(base, {"far": far})[0], tmp_path / "out")
    scores = dict(json.loads(saved.to_str())["model"]["vocab"])
    pieces = dict(far.document["model"]["vocab"])
    fresh = pieces.keys() - base.tokens.keys()
    assert fresh
    assert {piece: scores[piece] for piece in fresh} == {piece: pieces[piece] for piece in fresh}
    assert scores["<|im_start|>"] < min(score for _, score in base.document["model"]["vocab"])


def test_the_first_model_decides_on_the_settings_of_an_added_token_and_says_so(
    train_tokenizer: Callable[..., Path],
) -> None:
    one = read_tokenizer(train_tokenizer("one", added=[AddedToken("<x>", lstrip=True)]))
    two = read_tokenizer(train_tokenizer("two", added=[AddedToken("<x>", special=True)]))
    base = read_tokenizer(train_tokenizer("base"))
    result, warnings = unite(base, {"base": base, "one": one, "two": two})
    assert result.added["<x>"]["lstrip"] is True
    assert result.added["<x>"]["special"] is False
    assert len(warnings) == 1
    assert "different settings, the first model's are kept: '<x>'" in warnings[0]


def test_an_added_token_that_the_base_has_as_an_ordinary_one_keeps_its_id(
    train_tokenizer: Callable[..., Path],
) -> None:
    base = read_tokenizer(train_tokenizer("base", "WordLevel", text="we say <|im_end|> at the end"))
    chat = read_tokenizer(train_tokenizer("chat", "WordLevel", added=CHATML))
    result, _ = unite(base, {"base": base, "chat": chat})
    assert (
        result.tokens["<|im_end|>"] == base.tokens["<|im_end|>"] == result.added["<|im_end|>"]["id"]
    )


def test_dropped_tokens_leave_vocabulary_and_special_names(
    train_tokenizer: Callable[..., Path], tmp_path: Path
) -> None:
    folder = train_tokenizer("base", "Unigram", added=["zork"], pad_token="[PAD]")
    whole = read_tokenizer(folder)
    assert drop_tokens(whole, set()) is whole
    less = drop_tokens(whole, {"[PAD]", "zork"})
    saved = _save(less, tmp_path / "out")
    assert saved.get_vocab() == less.tokens
    assert whole.tokens.keys() - less.tokens.keys() == {"[PAD]", "zork"}
    assert "pad_token" not in json.loads((tmp_path / "out/tokenizer_config.json").read_text())


def test_ids_that_skip_numbers_are_written_so_that_they_stay(
    write_tokenizer_json: Callable[..., Path], tmp_path: Path
) -> None:
    gaps = read_tokenizer(write_tokenizer_json("gaps", {"<unk>": 0, "a": 1, "b": 7}))
    result = add_tokens(gaps, [plain_entry("<x>")])
    assert result.tokens["<x>"] == 8
    assert _save(result, tmp_path / "out").get_vocab() == result.tokens


def test_added_tokens_that_merges_speak_of_come_and_go_with_them(
    train_tokenizer: Callable[..., Path], tmp_path: Path
) -> None:
    base = read_tokenizer(train_tokenizer("base", text="some words", size=262))
    folder = train_tokenizer("other", text="zork zorkmid", size=266)
    table = json.loads((folder / "tokenizer.json").read_text())
    middle = "".join(table["model"]["merges"][0])
    number = table["model"]["vocab"][middle]
    table["added_tokens"].append(plain_entry(middle) | {"id": number})
    (folder / "tokenizer.json").write_text(json.dumps(table))
    other = read_tokenizer(folder)
    result, _ = unite(base, {"base": base, "other": other})
    saved = _save(result, tmp_path / "out")
    assert saved.get_vocab() == result.tokens
    assert middle in result.added
    assert middle not in _save(drop_tokens(other, {middle}), tmp_path / "less").get_vocab()
