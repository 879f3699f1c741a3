"""mergekit finds the base of slices where it looks: among their sources."""

from typing import Any

from evomerge.recipe import name_bases, parse_recipe


def slices(**changes: Any) -> dict[str, Any]:
    parts = [
        {"sources": [{"model": m, "layer_range": span, "parameters": {"weight": 1}} for m in "ab"]}
        for span in ([0, 2], [2, 4])
    ]
    return {"merge_method": "ties", "base_model": "base", "slices": parts, **changes}


def test_slices_name_their_base_among_the_sources() -> None:
    recipe, _ = parse_recipe(slices())
    named = name_bases(recipe)
    assert [[s.model for s in part.sources] for part in named.slices] == [["a", "b", "base"]] * 2
    assert [part.sources[2].layers for part in named.slices] == [(0, 2), (2, 4)]
    assert name_bases(named) == named


def test_whole_models_and_methods_without_a_base_stay_as_they_are() -> None:
    models = [{"model": m, "parameters": {"weight": 1}} for m in "ab"]
    whole = {"merge_method": "ties", "base_model": "base", "models": models}
    for document in (whole, slices(merge_method="linear", base_model=None)):
        recipe, _ = parse_recipe({k: v for k, v in document.items() if v is not None})
        assert name_bases(recipe) == recipe


def test_a_base_of_its_own_is_named_in_its_slice() -> None:
    document = slices()
    document["slices"][1]["base_model"] = "other"
    named = name_bases(parse_recipe(document)[0])
    assert [part.sources[-1].model for part in named.slices] == ["base", "other"]


def test_a_base_that_is_merged_stands_once() -> None:
    recipe, _ = parse_recipe(slices(base_model="b"))
    assert name_bases(recipe) == recipe
