"""The best merge so far is on disk, whole, at any time."""

from pathlib import Path
from typing import Any

import pytest

from evomerge.errors import StoreError
from evomerge.evolve.best_config import BEST_CONFIG, keep_best
from evomerge.recipe import load_recipe, name_bases, parse_recipe


def slices(**changes: Any) -> dict[str, Any]:
    parts = [
        {"sources": [{"model": m, "layer_range": span, "parameters": {"weight": 1}} for m in "ab"]}
        for span in ([0, 2], [2, 4])
    ]
    return {"merge_method": "ties", "base_model": "base", "slices": parts, **changes}


def test_the_file_is_replaced_whole(tmp_path: Path) -> None:
    first, second = (parse_recipe(slices(base_model=name))[0] for name in ("one", "two"))
    keep_best(first, tmp_path)
    with (tmp_path / BEST_CONFIG).open(encoding="utf-8") as before:
        keep_best(second, tmp_path)
        assert "base_model: one" in before.read()
    assert load_recipe(tmp_path / BEST_CONFIG) == name_bases(second)
    assert [file.name for file in tmp_path.iterdir()] == [BEST_CONFIG]


def test_folder_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    recipe, _ = parse_recipe(slices())
    told = f"{BEST_CONFIG} cannot be written: No such file or directory. Check the disk"
    with pytest.raises(StoreError, match=told):
        keep_best(recipe, tmp_path / "nowhere")
