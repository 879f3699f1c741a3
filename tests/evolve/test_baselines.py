"""Whom a merge has to beat, and what they are called."""

from pathlib import Path

from evomerge.config import GenomeSettings
from evomerge.evolve.baselines import parent_trials


def test_parents_of_the_same_folder_name_are_told_apart(tmp_path: Path) -> None:
    folders = [str(tmp_path / name / "checkpoint-100") for name in ("math", "code")]
    genome = GenomeSettings(
        models=folders, base_model="zoo:base", merge_method="task_arithmetic", layer_granularity=1
    )
    assert [trial.label for trial in parent_trials(genome)] == ["zoo:base", *folders]


def test_parents_go_by_the_last_name_of_their_folder(tmp_path: Path) -> None:
    genome = GenomeSettings(
        models=[str(tmp_path / "math"), "zoo:sort"], merge_method="linear", layer_granularity=1
    )
    assert [trial.label for trial in parent_trials(genome)] == ["math", "zoo:sort"]
