"""`evomerge evolve`: the command line wins; what nobody says is left to the effort."""

import pytest

from evomerge.cli.evolve import _change
from evomerge.config import apply_effort, load_config
from evomerge.errors import ConfigError


def test_effort_fills_in_what_neither_the_file_nor_the_command_line_says() -> None:
    config = load_config("demo")
    said = config.search.evaluations
    search = _change(config.search, evaluations=None)
    changed = apply_effort(_change(config, effort="quick", seed=None, search=search))
    assert (changed.search.evaluations, changed.finalists) == (said, 3)
    assert changed.search.options == config.search.options
    search = _change(config.search, evaluations=9)
    changed = apply_effort(_change(config, effort="thorough", search=search))
    assert (changed.search.evaluations, changed.finalists) == (9, 10)
    assert changed.items == config.items
    assert changed.genome == config.genome


def test_unknown_effort_is_one_problem_of_the_options() -> None:
    with pytest.raises(ConfigError, match="effort: Input should be 'quick', 'normal' or 'thor"):
        _change(load_config("demo"), effort="heroic")
