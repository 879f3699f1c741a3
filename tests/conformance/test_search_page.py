"""What docs/search.md says is true: its tables, its run files, its searcher."""

import re
from pathlib import Path

import pytest

from evomerge.config import parse_config
from evomerge.recipe import read_yaml
from evomerge.search import SEARCHERS
from evomerge.search.base import MANY
from evomerge.testing.searchers.problems import PROBLEMS

PAGE = (Path(__file__).parents[2] / "docs" / "search.md").read_text(encoding="utf-8")
FORM = r"^\| `(\w+)` \| (.*?\)).*? \| ([\w, ]*)\| ([\w ]+) \| (.*) \|$"
ROWS = {row[0]: row for row in re.findall(FORM, PAGE, re.MULTILINE)}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("block", blocks("yaml"))
def test_run_files_of_the_page_are_sound(block: str) -> None:
    assert parse_config(read_yaml(block, "page")).search.algorithm in ROWS


def test_the_page_tells_of_every_searcher() -> None:
    assert set(ROWS) == set(SEARCHERS.names())


@pytest.mark.parametrize("name", SEARCHERS.names())
def test_the_page_knows_what_a_searcher_declares(name: str) -> None:
    _, _, kinds, goals, _ = ROWS[name]
    searcher = SEARCHERS.get(name)
    least, most = searcher.goals
    assert {kind for kind in re.split(r"[, ]+", kinds) if kind} == set(searcher.kinds)
    assert goals == (f"{least} and more" if most == MANY else f"{least}")


@pytest.mark.parametrize("name", SEARCHERS.names())
def test_options_of_the_page_exist_and_have_these_defaults(name: str) -> None:
    annotations = SEARCHERS.get(name).__init__.__kwdefaults__  # type: ignore[misc]  # of the class
    for option, told in re.findall(r"`(\w+)`(?: \(([\w.]+)\))?", ROWS[name][4]):
        assert option in annotations or option in ("merge_method", "cma"), option
        if re.fullmatch(r"[\d.]+|true|false", told):
            assert str(annotations[option]).lower() == told or float(told) == annotations[option]


def test_the_page_tells_the_budgets_and_margins_of_the_suite() -> None:
    told = re.findall(r"^\| (\w+) \| .* \| (\d+) \| (\d+) % \|$", PAGE, re.MULTILINE)
    suite = [
        (kind, str(problem.evaluations), f"{100 * problem.margin:.0f}")
        for kind, problems in PROBLEMS.items()
        for problem in problems
    ]
    assert told == suite


def test_the_searcher_of_the_page_keeps_the_contract() -> None:
    [code] = [block for block in blocks("python") if "check_searcher(" in block]
    exec(compile(code, "docs/search.md", "exec"), {"__name__": "page"})
