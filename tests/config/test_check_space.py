"""What a run file says of its space: keys of another one and impossible paths are told."""

from collections.abc import Callable
from typing import Any

import pytest

from evomerge.config import parse_config
from evomerge.zoo.alphabets.runs import RUNS

Document = Callable[..., dict[str, Any]]
Problems = Callable[[dict[str, Any]], dict[str, str]]
PATHS = {"merge_method": None, "space": "data_flow"}


def write(document: Document, genome: dict[str, Any]) -> dict[str, Any]:
    """Return a run file with these settings; None takes one away."""
    made = document(genome=genome)
    made["genome"] = {key: value for key, value in made["genome"].items() if value is not None}
    return made


@pytest.mark.parametrize(
    ("genome", "key", "message"),
    [
        ({"space": "dataflow"}, "space", "'data_flow'"),
        ({"merge_method": None}, "merge_method", "field required"),
        ({"space": "both", "merge_method": None}, "merge_method", "field required"),
        ({"repeats": 2}, "repeats", "`space: parameters` has no such setting: leave it out, or"),
        ({"refine": [0]}, "refine", "expected two or more sizes of layer groups, each smaller"),
        ({"refine": [2, 2]}, "refine", "each smaller than the one before (0: all layers in one)"),
        ({"refine": [1, 0]}, "refine", "(0: all layers in one), not [1, 0]"),
        ({"refine": [0, -1]}, "refine", "expected two or more sizes"),
        ({"refine": [0, 2], "layer_granularity": 1}, "layer_granularity", "leave this one out"),
        ({"space": "both", "refine": [0, 2]}, "refine", "`space: both` has no such setting"),
        ({**PATHS, "refine": [0, 2]}, "refine", "layers are taken as they are"),
        ({"space": "data_flow"}, "merge_method", "no such setting: layers are taken as they are"),
        ({**PATHS, "layer_granularity": 1}, "layer_granularity", "layers are taken as they are"),
        ({**PATHS, "together": 3}, "together", "layers are taken as they are"),
        ({**PATHS, "space": "depth_wise", "repeats": 2}, "repeats", "each depth is one choice"),
        ({**PATHS, "space": "depth_wise", "models": ["a"]}, "models", "at least two models"),
        ({**PATHS, "space": "depth_wise", "scales": "matrix"}, "scales", "a depth has one scale"),
        ({**PATHS, "models": ["a", "a"]}, "models", "a model stands twice"),
        ({**PATHS, "repeats": 0}, "repeats", "greater than or equal to 1"),
        ({**PATHS, "repeats": 3, "slots": 10}, "slots", "10 slots are no whole number of layers"),
        ({**PATHS, "shortest": 0}, "shortest", "greater than or equal to 1"),
        ({**PATHS, "longest": 0}, "longest", "greater than or equal to 1"),
        ({**PATHS, "shortest": 5, "longest": 4}, "longest", "4 is less than `shortest`, 5"),
        ({**PATHS, "shortest": 5, "most_distinct": 4}, "most_distinct", "less than `shortest`"),
        ({**PATHS, "scale_range": [0.0, 1.5]}, "scale_range", "expected 0 < low <= 1 <= high"),
        ({**PATHS, "scale_range": [-1.0, 1.5]}, "scale_range", "expected 0 < low <= 1 <= high"),
        ({**PATHS, "scale_grid": [1.0]}, "scale_grid", "at least two different numbers > 0"),
        ({**PATHS, "stages": False, "scale_grid": [0.9, 1.0]}, "scale_grid", "only a search in"),
        ({**PATHS, "scales": "matrix", "scale_grid": [0.9, 1.0]}, "scale_grid", "only a search"),
        ({**PATHS, "scale_grid": [1.0, -0.5]}, "scale_grid", "at least two different numbers > 0"),
        ({**PATHS, "scales": "none", "stages": True}, "stages", "there are no scales"),
        ({**PATHS, "scales": "network", "stages": True}, "stages", "together with the layers"),
        ({"space": "both", "tokenizer_source": "union"}, "tokenizer_source", "no such setting"),
    ],
)
def test_setting_that_cannot_be_is_told_before_any_model_is_looked_for(
    genome: dict[str, Any], key: str, message: str, document: Document, problems: Problems
) -> None:
    found = problems(write(document, genome))
    assert message in found[f"genome.{key}"]


@pytest.mark.parametrize(
    ("genome", "staged"),
    [
        (PATHS, True),
        ({**PATHS, "stages": False}, False),
        ({**PATHS, "scales": "none"}, False),
        ({**PATHS, "scales": "matrix"}, False),
        ({**PATHS, "space": "depth_wise"}, True),
        ({"space": "both"}, True),
        ({}, False),
    ],
)
def test_layers_come_before_scales_where_every_hop_has_its_own(
    genome: dict[str, Any], staged: bool, document: Document
) -> None:
    assert parse_config(write(document, genome)).genome.in_stages is staged


def test_a_run_file_that_was_read_and_written_reads_the_same(document: Document) -> None:
    config = parse_config(write(document, {**PATHS, "repeats": 2, "scale_range": [0.5, 2.0]}))
    assert parse_config(config.model_dump(mode="json")) == config


def test_a_file_for_paths_is_not_one_of_mergekit_evolve(
    document: Document, caplog: pytest.LogCaptureFixture
) -> None:
    made = write(document, PATHS)
    made["tasks"] = [{"name": "arc_easy", "weight": 1.0}]
    assert not parse_config(made).i_know_this_is_the_test_set
    assert not caplog.messages


@pytest.mark.parametrize("name", [name for name in RUNS if "space" in RUNS[name]["genome"]])
def test_run_files_of_the_two_alphabets_are_sound(name: str) -> None:
    assert parse_config(RUNS[name], name).genome.has_paths
