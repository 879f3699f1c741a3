"""Run files are read, wherever from, and the paths in them are found."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from evomerge.config import RunConfig, load_config, parse_config, shipped_configs
from evomerge.engine import Models
from evomerge.evaluation import EVALUATORS
from evomerge.evaluation.exact_match import ExactMatch
from evomerge.evolve.build import build_genome
from evomerge.recipe import write_yaml

Document = Callable[..., dict[str, Any]]


def test_paths_are_relative_to_the_run_file_wherever_it_is_read_from(
    document: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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


def test_every_evaluator_says_which_of_its_options_are_paths(
    document: Document, tmp_path: Path
) -> None:
    (tmp_path / "judges").mkdir()
    tasks = [
        {"name": "here", "evaluator": "command", "command": "true", "data": "zoo:sort"},
        {"name": "there", "evaluator": "command", "command": "true", "data": "zoo:sort"},
        {"name": "known", "task_search_path": ["judges"]},
        {"name": "module", "evaluator": "python_function", "function": "judges:score"},
    ]
    tasks[1]["cwd"] = "judges"
    config = parse_config(document(tasks=tasks), folder=tmp_path)
    here, there, known, module = (task.options for task in config.tasks)
    assert (here["cwd"], there["cwd"]) == (str(tmp_path), str(tmp_path / "judges"))
    assert known["task_search_path"] == [str(tmp_path / "judges")]
    assert module["function"] == "judges:score"


def test_what_a_language_model_searches_by_is_found_beside_the_run_file(
    document: Document, tmp_path: Path
) -> None:
    for name in ("mine", "before"):
        (tmp_path / name).mkdir()
    options = {"model": "mine", "replay": "before", "log": "said.jsonl"}
    for backend, model in (("local", str(tmp_path / "mine")), ("openai", "mine")):
        search = {"algorithm": "llm", "backend": backend, **options}
        found = parse_config(document(search=search), folder=tmp_path).search.options
        assert found == {
            "backend": backend,
            "model": model,
            "replay": str(tmp_path / "before"),
            "log": str(tmp_path / "said.jsonl"),
        }


def test_an_evaluator_of_someone_elses_has_its_paths_found_too(
    document: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Rubric(ExactMatch):
        paths: ClassVar[tuple[str, ...]] = ("rubric",)

        def __init__(self, rubric: str) -> None:
            super().__init__()
            self.rubric = rubric

    (tmp_path / "rubric.txt").touch()
    monkeypatch.setitem(EVALUATORS._entries, "rubric", Rubric)
    task = {"name": "a", "evaluator": "rubric", "rubric": "rubric.txt", "data": "zoo:sort"}
    config = parse_config(document(tasks=[task]), folder=tmp_path)
    assert config.tasks[0].options == {"rubric": str(tmp_path / "rubric.txt")}


def test_filters_are_a_list_or_named_groups(document: Document) -> None:
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
