"""Every token of the result has, in every model, the row that means it."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from evomerge.checkpoints.loading import load_tokenizer
from evomerge.checkpoints.token_rules import TokenRule
from evomerge.checkpoints.vocabulary import Vocabulary, build_vocabulary, write_tokenizer
from evomerge.errors import CheckpointError

Write = Callable[..., Path]
BASE = ("<unk>", "a", "b", "c")


def _fill(
    vocabulary: Vocabulary, tensors: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """Move rows as `Vocabulary` promises, in float64, one row at a time."""
    result = {}
    for model, own in vocabulary.own_rows.items():
        rows = np.zeros((vocabulary.size, tensors[model].shape[1]))
        instead = vocabulary.substitutes(model)
        for row in range(vocabulary.size - vocabulary.padding):
            if own[row] >= 0:
                rows[row] = tensors[model][own[row]]
            elif instead[row]:
                rows[row] = np.mean([tensors[m][n] for m, n in instead[row]], axis=0)
        if vocabulary.padding:
            rows[-vocabulary.padding :] = rows[: -vocabulary.padding].mean(axis=0)
        result[model] = rows
    return result


def _numbered(rows: Mapping[str, int]) -> dict[str, NDArray[np.float64]]:
    """Return tensors in which row n of model number m reads (m, n)."""
    return {
        model: np.stack([np.full(count, float(number)), np.arange(float(count))], axis=1)
        for number, (model, count) in enumerate(rows.items())
    }


@pytest.fixture
def family(write_tokenizer_json: Write) -> dict[str, Path]:
    """Return a base, two models that add tokens to it, and one with another order."""
    return {
        "base": write_tokenizer_json("base", BASE),
        "chat": write_tokenizer_json("chat", BASE, added=["<start>", "<end>"]),
        "tool": write_tokenizer_json("tool", BASE, added=["<end>", "<tool>"]),
        "turned": write_tokenizer_json("turned", ("<unk>", "c", "b", "d")),
    }


ROWS = {"base": 4, "chat": 6, "tool": 6, "turned": 4}


def test_a_union_finds_each_models_row_and_fills_in_what_it_lacks(
    family: dict[str, Path],
) -> None:
    vocabulary = build_vocabulary(family, "base", rows=ROWS)
    expected = ("<unk>", "a", "b", "c", "d", "<start>", "<end>", "<tool>")
    assert vocabulary.tokens == {token: n for n, token in enumerate(expected)}
    assert vocabulary.size == 8
    assert vocabulary.own_rows["chat"].tolist() == [0, 1, 2, 3, -1, 4, 5, -1]
    assert vocabulary.own_rows["turned"].tolist() == [0, -1, 2, 1, 3, -1, -1, -1]
    assert vocabulary.own_rows["turned"].dtype == np.int64
    instead = vocabulary.substitutes("base")
    assert instead == {
        4: (("turned", 3),),  # one owner
        5: (("chat", 4),),
        6: (("chat", 5), ("tool", 4)),  # several, none of them the base: their mean
        7: (("tool", 5),),
    }
    assert vocabulary.substitutes("turned")[1] == (("base", 1),)  # the base's before all others'
    filled = _fill(vocabulary, _numbered(ROWS))
    assert filled["base"][6].tolist() == [1.5, 4.5]
    assert filled["tool"][4].tolist() == [3, 3]
    assert not any(vocabulary.identity.values())


def test_without_a_base_several_owners_give_their_mean(family: dict[str, Path]) -> None:
    vocabulary = build_vocabulary(family, None, rows=ROWS)
    assert vocabulary.substitutes("turned")[1] == (("base", 1), ("chat", 1), ("tool", 1))


def test_a_tensor_that_only_some_models_have_is_filled_by_those(family: dict[str, Path]) -> None:
    vocabulary = build_vocabulary(family, "base", rows=ROWS).among(["tool", "turned"])
    assert list(vocabulary.own_rows) == ["tool", "turned"]
    assert vocabulary.substitutes("turned")[1] == (("tool", 1),)
    assert vocabulary.substitutes("turned")[5] == ()  # zeros: only chat has <start>


def test_the_bases_tokenizer_drops_what_others_add(family: dict[str, Path]) -> None:
    vocabulary = build_vocabulary(family, "base", rows=ROWS, source="base")
    assert (vocabulary.size, list(vocabulary.tokens)) == (4, list(BASE))
    assert vocabulary.identity == {"base": True, "chat": False, "tool": False, "turned": False}
    assert vocabulary.own_rows["chat"].tolist() == [0, 1, 2, 3]


def test_another_models_tokenizer_may_be_taken_also_of_one_that_is_not_merged(
    family: dict[str, Path],
) -> None:
    rows = {"base": 4, "chat": 6}
    vocabulary = build_vocabulary(family, "base", rows=rows, source="turned")
    assert list(vocabulary.tokens) == ["<unk>", "c", "b", "d"]
    assert vocabulary.own_rows["base"].tolist() == [0, 3, 2, -1]
    assert vocabulary.substitutes("base") == {3: ()}
    assert vocabulary.warnings == ("1 tokens are in no merged model, their rows are 0: 'd'",)


def test_rows_beyond_the_last_token_stay_when_nothing_moves(
    write_tokenizer_json: Write,
) -> None:
    folders = {name: write_tokenizer_json(name, BASE) for name in ("one", "two")}
    vocabulary = build_vocabulary(folders, "one", rows={"one": 9, "two": 9})
    assert (vocabulary.size, vocabulary.padding) == (9, 0)
    assert vocabulary.identity == {"one": True, "two": True}
    assert vocabulary.own_rows["two"].tolist() == list(range(9))
    assert vocabulary.tokenizer.is_original


def test_models_that_differ_only_in_such_rows_come_down_to_their_tokens(
    write_tokenizer_json: Write,
) -> None:
    folders = {name: write_tokenizer_json(name, BASE) for name in ("one", "two")}
    vocabulary = build_vocabulary(folders, "one", rows={"one": 9, "two": 4})
    assert vocabulary.size == 4
    assert vocabulary.identity == {"one": False, "two": True}


def test_padding_rows_are_each_models_mean(family: dict[str, Path]) -> None:
    vocabulary = build_vocabulary(family, "base", rows=ROWS, pad_to_multiple_of=5)
    assert (vocabulary.size, vocabulary.padding) == (10, 2)
    filled = _fill(vocabulary, _numbered(ROWS))
    for rows in filled.values():
        assert rows.shape == (10, 2)
        np.testing.assert_array_equal(rows[8:], np.tile(rows[:8].mean(axis=0), (2, 1)))


def test_padding_that_is_there_already_is_kept(write_tokenizer_json: Write) -> None:
    folders = {name: write_tokenizer_json(name, BASE) for name in ("one", "two")}
    asked = {"rows": {"one": 8, "two": 8}, "pad_to_multiple_of": 8}
    assert all(build_vocabulary(folders, "one", **asked).identity.values())  # type: ignore[arg-type] # as a caller unpacks YAML
    asked["pad_to_multiple_of"] = 6
    padded = build_vocabulary(folders, "one", **asked)  # type: ignore[arg-type] # the same
    assert (padded.size, padded.padding) == (6, 2)


def test_rules_say_where_a_row_comes_from(family: dict[str, Path]) -> None:
    rules = {
        "<end>": TokenRule(model="tool"),
        "<tool>": TokenRule(model="base", token="a"),
        "b": TokenRule(model="turned", token_id=3, force=True),
        "<start>": TokenRule(zero=True, force=True),
        "<new>": TokenRule(model="chat", token="<end>"),
        "<void>": TokenRule(zero=True),
    }
    vocabulary = build_vocabulary(family, "base", rows=ROWS, tokens=rules)
    filled = _fill(vocabulary, _numbered(ROWS))
    at = vocabulary.tokens
    assert filled["base"][at["<end>"]].tolist() == [2, 4]
    assert filled["chat"][at["<end>"]].tolist() == [1, 5]  # its own, for nothing is forced
    assert filled["chat"][at["<tool>"]].tolist() == [0, 1]
    for model in ROWS:
        assert filled[model][at["b"]].tolist() == [3, 3]
        assert filled[model][at["<start>"]].tolist() == [0, 0]
        assert filled[model][at["<new>"]].tolist() == [1, 5]
        assert filled[model][at["<void>"]].tolist() == [0, 0]
    assert at["<void>"] == at["<new>"] + 1 == vocabulary.size - 1
    assert vocabulary.warnings == ()


def test_a_rule_brings_a_token_into_the_bases_tokenizer_with_its_owners_settings(
    family: dict[str, Path],
) -> None:
    rules = {"<end>": TokenRule(model="chat")}
    vocabulary = build_vocabulary(family, "base", rows=ROWS, source="base", tokens=rules)
    assert vocabulary.tokens["<end>"] == 4
    assert vocabulary.tokenizer.added["<end>"]["special"] is True
    assert vocabulary.substitutes("base") == {4: (("chat", 5),)}


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sets(st.integers(1, 12)), min_size=1, max_size=4),
    st.sampled_from(["union", "base", "m0"]),
    st.booleans(),
    st.integers(1, 7),
    st.randoms(use_true_random=False),
)
def test_any_vocabularies_agree_with_the_rule_told_token_by_token(
    tmp_path_factory: pytest.TempPathFactory,
    parts: list[set[int]],
    source: str,
    has_base: bool,
    multiple: int,
    random: object,
) -> None:
    vocabularies: dict[str, list[str]] = {}
    folders: dict[str, Path] = {}
    for number, part in enumerate(parts):
        names = [f"t{n}" for n in part]
        random.shuffle(names)  # type: ignore[attr-defined] # hypothesis gives a random.Random
        vocabularies[f"m{number}"] = ["<unk>", *names]
        folders[f"m{number}"] = tmp_path_factory.mktemp("model")
        table = {t: n for n, t in enumerate(vocabularies[f"m{number}"])}
        model = {"type": "WordLevel", "vocab": table, "unk_token": "<unk>"}
        document = {"version": "1.0", "added_tokens": [], "model": model}
        (folders[f"m{number}"] / "tokenizer.json").write_text(json.dumps(document))
    rows = {model: len(tokens) for model, tokens in vocabularies.items()}
    base = "m0" if has_base else None
    found = build_vocabulary(folders, base, rows=rows, source=source, pad_to_multiple_of=multiple)
    filled = _fill(found, _numbered(rows))
    assert found.size % multiple == 0
    assert found.size - found.padding == len(found.tokens)
    for token, row in found.tokens.items():
        owners = [m for m, tokens in vocabularies.items() if token in tokens]
        places = {m: (int(m[1:]), vocabularies[m].index(token)) for m in owners}
        others = (
            places["m0"] if has_base and "m0" in owners else np.mean([*places.values()], axis=0)
        )
        for model, tensor in filled.items():
            np.testing.assert_array_equal(tensor[row], places.get(model, others))


def test_a_written_tokenizer_loads_in_transformers_and_says_the_same(
    train_tokenizer: Callable[..., Path], tmp_path: Path
) -> None:
    folders = {
        "base": train_tokenizer("base", size=290),
        "chat": train_tokenizer("chat", size=310, added=["<|im_end|>"]),
    }
    rows = {model: len(load_tokenizer(folder)) for model, folder in folders.items()}
    vocabulary = build_vocabulary(folders, "base", rows=rows)
    out = tmp_path / "out"
    out.mkdir()
    names = write_tokenizer(vocabulary, out, "{{ messages }}")
    assert names == ["chat_template.jinja", "tokenizer.json", "tokenizer_config.json"]
    loaded = load_tokenizer(out)
    assert loaded.get_vocab() == vocabulary.tokens
    assert loaded.chat_template == "{{ messages }}"
    assert (loaded.bos_token, loaded.eos_token) == ("<s>", "</s>")
    text = "the wizards<|im_end|>"
    assert loaded.tokenize(text) == load_tokenizer(folders["chat"]).tokenize(text)


def test_an_added_token_without_a_row_is_left_out_and_told(write_tokenizer_json: Write) -> None:
    folders = {
        "base": write_tokenizer_json("base", BASE, settings={"pad_token": "[PAD]"}),
        "chat": write_tokenizer_json("chat", BASE, added=["<start>", "<end>"]),
    }
    vocabulary = build_vocabulary(folders, "base", rows={"base": 4, "chat": 5})
    assert list(vocabulary.tokens) == [*BASE, "<start>"]
    assert "pad_token" not in vocabulary.tokenizer.settings
    assert vocabulary.warnings == (
        "base: 1 token ids go beyond its 4 embedding rows: '[PAD]', left out",
        "chat: 1 token ids go beyond its 5 embedding rows: '<end>', left out",
    )


def test_a_model_without_a_tokenizer_has_the_bases(
    write_tokenizer_json: Write, tmp_path: Path
) -> None:
    folders = {"base": write_tokenizer_json("base", BASE), "bare": tmp_path / "bare"}
    (tmp_path / "bare").mkdir()
    vocabulary = build_vocabulary(folders, "base", rows={"base": 4, "bare": 4})
    assert vocabulary.identity == {"base": True, "bare": True}
    assert vocabulary.warnings == ("bare has no tokenizer, base's is taken for it",)
    with pytest.raises(CheckpointError, match=r"bare has no tokenizer that can be read"):
        build_vocabulary(folders, "bare", rows={"base": 4, "bare": 4})


@pytest.mark.parametrize(
    ("asked", "lines"),
    [
        ({"source": "chta"}, ["the tokenizer source 'chta' is not a model of this merge .*chat"]),
        ({"base": "bsae"}, ["the base model 'bsae' is not", "the tokenizer source 'bsae' is not"]),
        ({"pad_to_multiple_of": 0}, ["pad_to_multiple_of is 0, it must be 1 or more"]),
        ({"pad_to_multiple_of": -8}, ["pad_to_multiple_of is -8, it must be 1 or more"]),
        ({"rows": ROWS | {"chat": 3, "tool": 2}}, [
            "chat: 3 token ids go beyond its 3 embedding rows: '<end>', '<start>', 'c'",
            "tool: 4 token ids go beyond its 2 embedding rows: '<end>', '<tool>', 'b', ...",
        ]),
        ({"tokens": {"a": TokenRule(model="gone")}}, ["tokens: 'a' takes a row of gone, which is"]),
        ({"tokens": {"<start>": TokenRule("tool"), "b": TokenRule("turned", token="a")}},
         ["tokens: '<start>' takes the row of '<start>', a token that tool does not have",
          "tokens: 'b' takes the row of 'a', a token that turned does not have"]),
        ({"tokens": {"a": TokenRule(model="chat", token_id=6)}},
         ["tokens: 'a' takes row 6 of chat, which has rows 0 to 5"]),
        ({"tokens": {"a": TokenRule(model="chat", token_id=-1)}}, ["takes row -1 of chat"]),
        ({"tokens": {"a": TokenRule(model="chat", zero=True)}}, ["'a' has two sources, give one"]),
        ({"tokens": {"a": TokenRule(model="chat", token="b", token_id=1)}}, ["two sources"]),
        ({"tokens": {"a": TokenRule(token="b")}}, ["'a' names a token but not its model"]),
        ({"tokens": {"": TokenRule(zero=True)}}, ["'' is empty"]),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line_for_each_problem(
    family: dict[str, Path], asked: dict[str, object], lines: list[str]
) -> None:
    arguments = {"base": "base", "rows": ROWS} | asked
    with pytest.raises(ValueError, match=lines[0]) as error:
        build_vocabulary(family, **arguments)  # type: ignore[arg-type] # wrong on purpose
    told = str(error.value).splitlines()
    assert len(told) == len(lines)
    for line, start in zip(told, lines, strict=True):
        assert start in line or ".*" in start


def test_large_vocabularies_take_seconds_at_most(write_tokenizer_json: Write) -> None:
    count = 100_000
    folders = {
        f"m{n}": write_tokenizer_json(f"m{n}", [f"token{t}" for t in range(n, n + count)])
        for n in range(3)
    }
    start = time.process_time()
    vocabulary = build_vocabulary(folders, "m0", rows=dict.fromkeys(folders, count))
    assert time.process_time() - start < 4  # 0.4 on an idle core
    assert vocabulary.size == count + 2
    assert vocabulary.own_rows["m2"][:3].tolist() == [-1, -1, 0]
