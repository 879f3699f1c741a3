"""What docs/paths.md says is true: its run files are sound, its defaults are the defaults."""

import re
from pathlib import Path

import pytest

from evomerge.config import GenomeSettings, parse_config
from evomerge.config.check_space import PATH_KEYS
from evomerge.recipe import read_yaml

PAGE = (Path(__file__).parents[2] / "docs" / "paths.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
ROWS = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", PAGE, re.MULTILINE))


@pytest.mark.parametrize("block", BLOCKS)
def test_run_files_of_the_page_are_sound(block: str) -> None:
    assert parse_config(read_yaml(block, "page")).genome.has_paths


DEFAULTS = GenomeSettings(models=["a"]).model_dump(mode="json")


def test_every_key_is_on_the_page() -> None:
    assert {"space", "models", *PATH_KEYS} <= ROWS.keys()


@pytest.mark.parametrize("key", ["space", *(k for k in PATH_KEYS if DEFAULTS[k] is not None)])
def test_defaults_of_the_page_are_the_defaults(key: str) -> None:
    default = DEFAULTS[key]
    told = read_yaml(ROWS[key].replace("`", ""), "page")
    assert told == default


def test_every_space_is_on_the_page() -> None:
    literal = GenomeSettings.model_json_schema()["properties"]["space"]["enum"]
    assert set(literal) <= ROWS.keys()
