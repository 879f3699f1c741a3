"""Run files and recipes of a family: the package takes them as they are."""

from pathlib import Path

import pytest
import yaml

from evomerge.config import load_config, parse_config
from evomerge.engine import Models, make_plan
from evomerge.evaluation import Audit, build_evaluator
from evomerge.evolve.measurement.side_by_side import measure
from evomerge.evolve.prepare import check_run
from evomerge.recipe import load_recipe
from evomerge.zoo.alphabets.lines import SKILL
from evomerge.zoo.alphabets.runs import GATED, RECIPES, RUNS, TASKS, UNGATED

WEIGHED = [name for name, run in RUNS.items() if "space" not in run["genome"]]


@pytest.mark.parametrize("name", [*RUNS, *RECIPES])
def test_files_say_what_the_documents_say(family: Path, name: str) -> None:
    text = (family / f"{name}.yml").read_text()
    assert yaml.safe_load(text) == (RUNS | RECIPES)[name]
    assert "&" not in text


@pytest.mark.parametrize("name", WEIGHED)
def test_nothing_is_wrong_with_a_run_file(family: Path, name: str) -> None:
    found = check_run(load_config(family / f"{name}.yml"))
    genes = {"grid": 2, "ps_language": 9, "ps_skill": 9, "ps_distractors": 36}
    assert found["genes"] == genes.get(name, 18)
    assert (found["search items"], found["validation items"], found["test items"]) == (
        200,
        300,
        500,
    )
    assert found["racing"] == "no"


def test_searches_have_the_same_items_and_budgets_that_can_be_compared() -> None:
    assert all(run["tasks"] == list(GATED) for run in RUNS.values())
    budgets = {name: run["search"]["evaluations"] for name, run in RUNS.items()}
    assert budgets.pop("grid") == 49
    assert budgets.pop("ps_longer") == budgets.pop("ps_dfs") == 480  # weights have half of it
    assert set(budgets.values()) == {240}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_can_be_carried_out(
    family: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(family)
    plan = make_plan(load_recipe(f"{name}.yml"), Models())
    layers = {"frankenmerge": 12}.get(name, 8)
    assert sum("q_proj" in shape.name for shape in plan.shapes) == layers


def test_a_family_is_measured_as_one_would(family: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(family)
    found = measure(["models/base", "uniform.yml"], [TASKS], limit=4, device="cpu")
    assert [task.name for task in found.tasks] == [*SKILL, *(f"{name}_in_any" for name in SKILL)]
    for model in found.models:
        assert not model.failure
        assert all(0.0 <= model.tallies[task].audit["wrong_language"] <= 1.0 for task in SKILL)
        assert "wrong_language" not in model.tallies[f"{SKILL[0]}_in_any"].audit


def test_the_gate_is_all_that_tells_the_two_kinds_of_tasks_apart() -> None:
    for gated, free in zip(GATED, UNGATED, strict=True):
        options = {key: value for key, value in gated.items() if key not in free}
        assert options == {"language": "capital", "detector": "alphabet:A-P"}
        assert gated["data"] == free["data"]
        told = {k: v for k, v in gated.items() if k not in ("name", "data", "evaluator")}
        evaluator = build_evaluator("exact_match", told, "t")
        evaluator.audit = Audit()
        graded = [evaluator._grade(answer, "BCDEF") for answer in ("BCDEF", "bcdef", "BCDEA")]  # type: ignore[attr-defined]  # one answer needs no model
        assert graded == [1.0, 0.0, 0.0]


def test_a_run_file_is_read_from_plain_values_as_well(family: Path) -> None:
    config = parse_config(dict(RUNS["ps"]), "ps", folder=family)
    assert config.genome.models == [str(family / "models" / n) for n in ("language", "skill")]
