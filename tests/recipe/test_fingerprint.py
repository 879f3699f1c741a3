"""A fingerprint is what is done to which contents, with which seed: neither less nor more."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.recipe import fingerprint_recipe, parse_recipe
from evomerge.recipe.fingerprint import hash_values

CONTENTS = {"a": "1111", "b": "2222", "base": "3333"}


def document(
    names: tuple[str, str, str] = ("a", "b", "base"), **changes: object
) -> dict[str, object]:
    a, b, base = names
    return {
        "merge_method": "dare_ties",
        "base_model": base,
        "models": [
            {"model": a, "parameters": {"weight": 0.5, "density": [0.2, 0.4]}},
            {"model": b, "parameters": {"weight": [{"filter": "mlp", "value": 1}, {"value": 2}]}},
        ],
        "tokenizer_source": a,
        **changes,
    }


def fingerprint(
    document: dict[str, object], contents: dict[str, str] | None = None, seed: int = 0
) -> str:
    return fingerprint_recipe(parse_recipe(document)[0], contents or CONTENTS, seed)


def test_a_fingerprint_of_a_stored_run_never_changes() -> None:
    # sha256 of compact JSON with sorted keys, worked out apart from the package
    import hashlib

    text = '[{"a":1,"b":[true,null]},7]'
    assert (
        hash_values([{"b": [True, None], "a": 1}, 7])
        == hashlib.sha256(text.encode()).hexdigest()[:32]
    )


def test_folders_may_be_renamed() -> None:
    renamed = document(("x/y", "../z", "zoo:base"))
    contents = {"x/y": "1111", "../z": "2222", "zoo:base": "3333"}
    assert fingerprint(renamed, contents) == fingerprint(document())


CHANGES: list[dict[str, object]] = [
    {"merge_method": "ties"},
    {"base_model": "a"},
    {"dtype": "float32"},
    {"out_dtype": "float32"},
    {"tokenizer_source": "b"},
    {"chat_template": "auto"},
    {"tokenizer_source": None, "tokenizer": {"source": "a", "pad_to_multiple_of": 8}},
    {"tokenizer_source": None, "tokenizer": {"source": "a", "tokens": {"x": {"source": "b"}}}},
    {"models": None, "modules": {"text": {"models": document()["models"]}}},
    {"models": None, "modules": {"image": {"models": document()["models"]}}},
    {"base_model": document()},
    {"parameters": {"normalize": True}},
    {"parameters": {"lambda": 1.0}},
    {"models": [{"model": m, "parameters": {"weight": 0.5}} for m in "ab"]},
    {"models": list(reversed(document()["models"]))},  # type: ignore[call-overload]  # a list
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_every_value_counts(change: dict[str, object]) -> None:
    assert fingerprint(document(**change)) != fingerprint(document())


@pytest.mark.parametrize("model", CONTENTS)
def test_every_models_contents_count(model: str) -> None:
    assert fingerprint(document(), {**CONTENTS, model: "4444"}) != fingerprint(document())


def test_the_seed_counts() -> None:
    assert fingerprint(document(), seed=1) != fingerprint(document(), seed=0)


@settings(deadline=None, max_examples=60)
@given(st.floats(0, 1), st.floats(0, 1))
def test_two_weights_have_one_fingerprint_only_when_equal(x: float, y: float) -> None:
    def of(weight: float) -> str:
        models = [{"model": m, "parameters": {"weight": 1.0}} for m in "ab"]
        return fingerprint(document(models=models, parameters={"lambda": weight}))

    assert (of(x) == of(y)) == (repr(x) == repr(y))


def soup(*names: str, **changes: object) -> dict[str, object]:
    models = [{"model": name, "parameters": {"weight": 1}} for name in names]
    return {"merge_method": "linear", "models": models, **changes}


def of_two(first: object, name: str | None = None, **changes: object) -> str:
    inner = {"merge_method": "passthrough", "models": [{"model": first}], "name": name}
    recipe, _ = parse_recipe([inner, soup(str(name), "b", **changes)])
    return fingerprint_recipe(recipe, CONTENTS)


def test_every_fingerprint_of_a_change_is_another() -> None:
    found = [fingerprint(document(**change)) for change in CHANGES]
    assert len(set(found)) == len(found)


def test_a_recipe_inside_counts_by_what_it_says_and_not_by_its_name() -> None:
    assert of_two("a", "x") == of_two("a", "y")
    assert of_two("a", "x") != of_two("base", "x")
    assert of_two("a", "x", tokenizer_source="x") == of_two("a", "y", tokenizer_source="y")
    assert of_two("a", "x", tokenizer_source="x") != of_two("a", "x", tokenizer_source="b")
    assert of_two("a", "x", tokenizer_source="x") != of_two("base", "x", tokenizer_source="x")


def test_a_recipe_inside_is_not_taken_for_its_models() -> None:
    flat, nested = soup("a", "b"), {**soup("a"), "models": [{"model": soup("a", "b")}]}
    nested["parameters"] = {"weight": 1}
    assert fingerprint(flat) != fingerprint(nested)


def test_a_deep_recipe_is_hashed_once_a_level() -> None:
    levels = [soup("a", name="0"), *(soup(str(n), "b", name=str(n + 1)) for n in range(31))]
    recipe, _ = parse_recipe(levels)
    assert len(fingerprint_recipe(recipe, CONTENTS)) == 32
