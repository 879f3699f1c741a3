"""A tournament whose judge looks at recipes: interrupted anywhere, it goes on to the same end."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evomerge.evolve import evolve, resume

MakeModel = Callable[..., Path]


class Interrupt:
    """Progress that interrupts the run after so many candidates."""

    def __init__(self, after: int) -> None:
        self._left = after

    def begin(self, label: str, total: int) -> None:
        pass

    def advance(self, steps: int = 1, note: str = "") -> None:  # noqa: ARG002 - as runs call it
        self._left -= steps
        if self._left < 0:
            raise KeyboardInterrupt

    def end(self) -> None:
        pass


@pytest.fixture
def document(recipe_run: Callable[..., Any], tiny_llama: MakeModel) -> dict[str, Any]:
    models = [str(tiny_llama(seed)) for seed in (1, 2, 3)]
    search = {"algorithm": "tournament", "evaluations": 34, "adaptive": True}
    found: dict[str, Any] = recipe_run(
        genome={"space": "techniques", "models": models}, search=search, racing=False
    ).document
    return found


@pytest.mark.parametrize("after", [9, 30])
def test_a_tournament_that_was_interrupted_asks_for_the_same_candidates(
    document: dict[str, Any],
    read_run: Callable[[Path], dict[str, Any]],
    tmp_path: Path,
    after: int,
) -> None:
    whole = evolve(document, runs=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        evolve(document, runs=tmp_path / "broken", progress=Interrupt(after))
    resume("run", runs=tmp_path / "broken")
    assert read_run(tmp_path / "broken" / "run") == read_run(whole.folder)
    recipes = [json.loads(row[5]) for row in read_run(whole.folder)["candidates"]]
    linear = [recipe for recipe in recipes if recipe["merge_method"] == "linear"]
    means = [recipe for recipe in linear if isinstance(recipe["models"][0]["model"], dict)]
    assert means, "losers of like shape were merged"
