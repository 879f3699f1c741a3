"""The page about recipes: every block on it is one."""

import re
from pathlib import Path

import pytest

from evomerge.recipe import parse_recipe
from evomerge.recipe.schedule import Value, depth_of, read_schedule
from evomerge.recipe.yaml_document import read_all_yaml, read_yaml

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
ROWS = re.findall(r"^\| `(\[.*?\])` \| (\d+) \| (.*?) \|$", PAGE, re.MULTILINE)


def test_the_page_shows_the_whole_dialect() -> None:
    assert len(BLOCKS) == 10
    words = "models slices modules base_model tokenizer chat_template dtype name filter lora output"
    words += " input_scale input_scale_target"
    assert all(f"{word}:" in "".join(BLOCKS) for word in words.split())


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_is_a_recipe_without_a_warning(block: str) -> None:
    recipe, warnings = parse_recipe(read_all_yaml(block, "recipes.md"))
    assert not warnings
    assert parse_recipe(recipe.to_document())[0] == recipe


@pytest.mark.parametrize(("written", "layers", "values"), ROWS)
def test_gradients_have_the_values_of_the_table(written: str, layers: str, values: str) -> None:
    schedule, count = read_schedule(read_yaml(written, "table")), int(layers)
    found = [schedule.at("any", depth_of(layer, count)) for layer in range(count)]
    assert found == [_value(word) for word in values.split(", ")]


def _value(word: str) -> Value:
    top, _, bottom = word.partition("/")
    if bottom:
        return pytest.approx(int(top) / int(bottom))  # type: ignore[no-any-return]  # compares
    value: Value = read_yaml(word, "table")
    return value


def test_the_table_is_read() -> None:
    assert len(ROWS) == 5
