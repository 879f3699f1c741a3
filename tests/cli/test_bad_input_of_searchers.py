"""Bad input to searchers: told at once, before any model is loaded or anything is written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evomerge.recipe import write_yaml
from evomerge.search import SEARCHERS

MakeModel = Callable[..., Path]
Run = Callable[..., Any]
Refuse = Callable[..., str]
PEOPLE = {
    "catcma": ("population", "catcma needs a population of at least 4"),
    "cma": ("population", "cma needs a population of at least 4"),
    "como_catcma": ("population", "como_catcma needs a population of at least 4"),
    "cycle_qd": ("first", "at least 2 first points"),
    "hill_climbing": ("population", "needs a population of at least 2"),
    "llm": ("population", "needs a population of at least 2"),
    "map_elites": ("first", "at least 2 first points"),
    "mixed_ga": ("population", "mixed_ga needs a population of at least 4"),
    "natural_niches": ("archive", "natural_niches needs an archive of at least 2"),
    "nsga2": ("population", "nsga2 needs a population of at least 4"),
    "nsga3": ("population", "nsga3 needs a population of at least 4"),
    "sep_cma": ("population", "sep_cma needs a population of at least 4"),
    "tournament": ("population", "tournament needs a population of at least 2"),
}
"""Searcher -> the option that says how many there are, and what is said of a single one."""
ALONE = {"grid", "random"}
"""They learn nothing from each other's results, so that one is enough."""
NEEDS: dict[str, dict[str, Any]] = {"llm": {"backend": "mock"}}


@pytest.fixture
def refuse(evomerge: Run, tiny_llama: MakeModel, tmp_path: Path) -> Refuse:
    """Return refuse(search, …) -> what both `validate` and `evolve` say is wrong with a run."""
    splits = ("search", "validation", "test")
    rows = [{"x": f"{split} {k}", "split": split} for split in splits for k in (1, 2)]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "judge.py").write_text(
        "def judge(model, items):\n    return [0.5 for _ in items]\n"
    )
    task = {
        "evaluator": "python_function",
        "function": "judge.py:judge",
        "data": "items.jsonl",
    }

    def act(search: dict[str, Any], genome: dict[str, Any] | None = None, **others: Any) -> str:
        models = [str(tiny_llama(k)) for k in (1, 2)]
        run = {
            "genome": {"models": models, "merge_method": "linear", **(genome or {})},
            "tasks": [{"name": name, **task} for name in ("reading", "writing", "sums")],
            "search": {"evaluations": 8, **search},
            "executor": {"name": "local"},
            **others,
        }
        (tmp_path / "run.yml").write_text(write_yaml(run))
        told = [evomerge(verb, "run.yml") for verb in ("validate", "evolve")]
        assert [answer.code for answer in told] == [2, 2], told[0].error
        assert told[0].error == told[1].error
        assert not list(tmp_path.rglob("store.db"))
        message: str = told[0].error
        return message

    return act


def test_every_searcher_is_here() -> None:
    assert {*PEOPLE, *ALONE} == {*SEARCHERS.names()}


@pytest.mark.parametrize("name", sorted(PEOPLE))
def test_a_population_of_one_is_refused(name: str, refuse: Refuse) -> None:
    option, message = PEOPLE[name]
    goals = {"objectives": ["reading", "sums"]} if SEARCHERS.get(name).goals[0] > 1 else {}
    told = refuse({"algorithm": name, option: 1, **NEEDS.get(name, {})}, **goals)
    assert message in told
    assert len(told.strip().splitlines()) <= 2, "one line, and perhaps a heading"


@pytest.mark.parametrize(
    ("search", "others", "message"),
    [
        ({"algorithm": "cmaa"}, {}, "unknown searcher 'cmaa' (did you mean 'cma'?)"),
        ({"algorithm": "NSGA-2"}, {}, "unknown searcher 'NSGA-2' (did you mean 'nsga2'?)"),
        ({"algorithm": "tournamnet"}, {}, "(did you mean 'tournament'?)"),
        ({"algorithm": "cma", "popsize": 9}, {}, "search.popsize: unknown key 'popsize'"),
        ({"algorithm": "cma", "population": "many"}, {}, "search.population: input should be a"),
        ({"algorithm": "cma", "restarts": "often"}, {}, "search.restarts: "),
        ({"algorithm": "llm", "backend": "parrot"}, {}, "search.backend: "),
        (
            {"algorithm": "nsga2"},
            {"objectives": ["reading", "writting"]},
            "objectives[1]: the run has no task 'writting' (did you mean 'writing'?)",
        ),
        (
            {"algorithm": "cma"},
            {"constraints": {"readin": 0.5}},
            "constraints.readin: the run has no task 'readin' (did you mean 'reading'?)",
        ),
        (
            {"algorithm": "cma"},
            {"constraints": {"reading": "parents"}},
            "constraints.reading: a bound is a number, 'parent' or the like of 'parent - 0.01'",
        ),
        ({"algorithm": "nsga2"}, {"objectives": ["sums"]}, "objectives: name two tasks or more"),
        ({"algorithm": "como_catcma"}, {}, "como_catcma is for 2 goals, this run has 3"),
        (
            {"algorithm": "map_elites", "descriptors": ["reding"]},
            {},
            "search.descriptors[0]: no task is called 'reding' (did you mean 'reading'?)",
        ),
        (
            {"algorithm": "map_elites", "descriptors": ["reading"], "ranges": [[0, 1], [0, 1]]},
            {},
            "search.ranges: expected one for each of reading: 1, not 2",
        ),
        (
            {"algorithm": "natural_niches"},
            {"items": {"batch": 1}},
            "items.batch: ",
        ),
    ],
)
def test_what_cannot_be_searched_is_told(
    search: dict[str, Any], others: dict[str, Any], message: str, refuse: Refuse
) -> None:
    assert message in refuse(search, **others)


def test_a_start_of_another_dimension_is_refused(refuse: Refuse, tiny_llama: MakeModel) -> None:
    """Two groups of layers cannot begin at a merge whose every layer differs."""
    models = [str(tiny_llama(k)) for k in (1, 2)]
    slices = [
        {
            "sources": [
                {"model": model, "layer_range": [k, k + 1], "parameters": {"weight": 0.2 * k + 0.1}}
                for model in models
            ]
        }
        for k in range(4)
    ]
    start = {"merge_method": "linear", "slices": slices, "dtype": "float32"}
    told = refuse({"algorithm": "cma"}, {"layer_granularity": 2, "start": start})
    assert "genome.start: no genome is this merge" in told
    assert "layer_granularity" in told
