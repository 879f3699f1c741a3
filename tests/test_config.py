"""The run file: every check has its message and its place, and paths are found."""

from pathlib import Path
from typing import Any

import pytest

from evomerge.config import RunConfig, load_config, parse_config, shipped_configs
from evomerge.engine import Models
from evomerge.errors import ConfigError
from evomerge.evolve.build import build_genome
from evomerge.recipe import write_yaml

TASK = {"name": "a", "evaluator": "exact_match", "data": "x"}


def document(**changes: Any) -> dict[str, Any]:
    """Return a sound run file; a change to None takes a key away, dicts are merged."""
    found: dict[str, Any] = {
        "genome": {"models": ["zoo:sort", "zoo:reverse"], "merge_method": "linear"},
        "tasks": [{"name": "a", "evaluator": "exact_match", "data": "zoo:sort"}],
    }
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = {**found[key], **value} if both else value
    return found


def problems(wrong: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ConfigError, match="in this run file") as error:
        parse_config(wrong)
    return {problem.path: problem.message for problem in error.value.problems}


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        (
            {"genome": {"merge_method": "tise"}},
            "genome.merge_method",
            "unknown merge method 'tise' (did you mean 'ties'?)",
        ),
        ({"genome": {"merge_method": "ties"}}, "genome.base_model", "ties needs a base model"),
        ({"genome": {"models": ["a", "a"]}}, "genome.models", "a model stands twice"),
        (
            {"genome": {"models": ["a", "b", "c"], "base_model": "a", "merge_method": "slerp"}},
            "genome.models",
            "besides a base",
        ),
        (
            {"genome": {"parameters": {"normalise": True}}},
            "genome.parameters.normalise",
            "linear has no such parameter (did you mean 'normalize'?)",
        ),
        (
            {
                "genome": {
                    "merge_method": "task_arithmetic",
                    "base_model": "b",
                    "parameters": {"nonsense": 1},
                }
            },
            "genome.parameters.nonsense",
            "task_arithmetic has no such parameter",
        ),
        (
            {"genome": {"layer_granularity": -1}},
            "genome.layer_granularity",
            "greater than or equal to 0",
        ),
        ({"genome": {"models": []}}, "genome.models", "at least 1 item"),
        (
            {"genome": {"ranges": {"normalise": [True, False]}}},
            "genome.ranges.normalise",
            "linear has no parameter 'normalise' (did you mean 'normalize'?)",
        ),
        (
            {"genome": {"ranges": {"weight": [0.9, 0.1]}}},
            "genome.ranges.weight",
            "low must be < high",
        ),
        (
            {"genome": {"ranges": {"normalize": [True, "perhaps"]}}},
            "genome.ranges.normalize",
            "normalize must be true or false, not 'perhaps'",
        ),
        (
            {"genome": {"normalize": True, "ranges": {"normalize": [True, False]}}},
            "genome.ranges.normalize",
            "normalize has a fixed value, too: leave one of them out",
        ),
        ({"genome": {"dtype": "int4"}}, "genome.dtype", "'float32', 'float16' or 'bfloat16'"),
        ({"tasks": []}, "tasks", "at least 1 item"),
        (
            {"tasks": [{**TASK, "evaluator": "exact_macth"}]},
            "tasks[0].evaluator",
            "unknown evaluator 'exact_macth' (did you mean 'exact_match'?)",
        ),
        (
            {"tasks": [{**TASK, "stopp": "y"}]},
            "tasks[0].stopp",
            "unknown key 'stopp' (did you mean 'stop'?)",
        ),
        (
            {"tasks": [{**TASK, "evaluator": "python_function"}]},
            "tasks[0].function",
            "field required",
        ),
        (
            {"tasks": [{**TASK, "weight": 0}]},
            "tasks[0].weight",
            "greater than or equal to 0.000001",
        ),
        (
            {"tasks": [{**TASK, "weight": float("inf")}]},
            "tasks[0].weight",
            "less than or equal to 1000000",
        ),
        (
            {"search": {"algorithm": "cam"}},
            "search.algorithm",
            "unknown searcher 'cam' (did you mean 'cma'?)",
        ),
        ({"search": {"sigam": 1}}, "search.sigam", "unknown key 'sigam' (did you mean 'sigma'?)"),
        ({"search": {"seed": 1}}, "search.seed", "unknown key 'seed'"),
        ({"search": {"evaluations": 0}}, "search.evaluations", "greater than or equal to 1"),
        (
            {"executor": {"name": "locla"}},
            "executor.name",
            "unknown executor 'locla' (did you mean 'local'?)",
        ),
        ({"executor": {"workers": 0}}, "executor.workers", "greater than or equal to 1"),
        ({"items": {"serch": 3}}, "items.serch", "unknown key 'serch' (did you mean 'search'?)"),
        ({"finalists": 0}, "finalists", "greater than or equal to 1"),
        ({"seed": -1}, "seed", "greater than or equal to 0"),
        ({"name": "a/b"}, "name", "a run's name names its folder; 'a/b' cannot"),
        ({"nmae": "x"}, "nmae", "unknown key 'nmae' (did you mean 'name'?)"),
    ],
)
def test_problem_is_told_with_its_place(changes: Any, path: str, message: str) -> None:
    found = problems(document(**changes))
    assert message in found[path]


def test_two_tasks_of_one_name_are_refused() -> None:
    task = {"name": "a", "evaluator": "exact_match", "data": "zoo:sort"}
    assert problems(document(tasks=[task, task])) == {"tasks[1].name": "two tasks are called 'a'"}


@pytest.mark.parametrize("missing", ["genome", "tasks"])
def test_what_is_required_is_missed(missing: str) -> None:
    whole = document()
    del whole[missing]
    assert problems(whole) == {missing: "field required"}


def test_paths_are_relative_to_the_run_file_wherever_it_is_read_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / "mine").mkdir(parents=True)
    (home / "items.jsonl").touch()
    (home / "judge.py").touch()
    task = {
        "name": "a",
        "evaluator": "python_function",
        "data": "items.jsonl",
        "function": "judge.py:score",
    }
    models = {"models": ["mine", "zoo:sort", "owner/name"]}
    (home / "run.yml").write_text(write_yaml(document(genome=models, tasks=[task])))
    monkeypatch.chdir(tmp_path)
    config = load_config("home/run.yml")
    assert config.name == "run"
    assert config.genome.models == [str(home / "mine"), "zoo:sort", "owner/name"]
    assert config.tasks[0].data == str(home / "items.jsonl")
    assert config.tasks[0].options == {"function": f"{home / 'judge.py'}:score"}


def test_filters_are_a_list_or_named_groups() -> None:
    plain = parse_config(document(genome={"filters": ["mlp"]})).genome.components
    named = parse_config(document(genome={"filters": {"m": ["mlp", "norm"]}})).genome.components
    assert plain == {"mlp": ["mlp"]}
    assert named == {"m": ["mlp", "norm"]}


def test_shipped_run_files_are_sound_and_survive_a_round_trip() -> None:
    assert "demo" in shipped_configs()
    for name in shipped_configs():
        config = load_config(name)
        assert config.name == name
        assert RunConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize("value", ["no", "false", 0, None])
def test_yes_and_no_are_no_booleans(value: Any) -> None:
    """YAML 1.1's `no` is text here, and text is true in Python: it must not turn a metric round."""
    task = {**TASK, "evaluator": "exact_match", "ignore_case": value}
    message = problems(document(tasks=[task]))["tasks[0].ignore_case"]
    assert "valid boolean" in message


def test_only_the_base_is_nothing_to_merge() -> None:
    genome = {"models": ["zoo:base"], "base_model": "zoo:base", "merge_method": "linear"}
    found = problems(document(genome=genome))
    assert "no model besides the base" in found["genome.models"]


def test_a_run_file_may_seek_choices(tmp_path: Path) -> None:
    place = tmp_path / "run.yml"
    place.write_text(
        """
        genome:
          models: [zoo:sort, zoo:reverse]
          base_model: zoo:base
          merge_method: generalized_task_arithmetic
          ranges:
            sparsifier: [magnitude, random]
            normalize: [true, false]
            rescale: [paper, false]
            density: [0.2, 1]
        tasks: [{name: a, evaluator: exact_match, data: zoo:sort}]
        """
    )
    ranges = load_config(place).genome.ranges
    assert ranges == {
        "sparsifier": ["magnitude", "random"],
        "normalize": [True, False],
        "rescale": ["paper", False],
        "density": [0.2, 1.0],
    }
    assert all(isinstance(flag, bool) for flag in ranges["normalize"])
    genes = build_genome(load_config(place), Models()).space.genes
    found = {gene.name.partition("/")[0]: gene.choices or (gene.low, gene.high) for gene in genes}
    assert found["sparsifier"] == ("magnitude", "random")
    assert found["consensus"] == ("none", "sum", "count")
    assert (found["normalize"], found["rescale"]) == ((True, False), ("paper", False))
    assert found["density.0"] == (0.2, 1.0)
