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
