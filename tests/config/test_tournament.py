import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from evomerge.config import (
    Configuration,
    EvolutionSettings,
    MergeSettings,
    ModelDomain,
    ModelReference,
    create_default_config,
)
from evomerge.config.tournament import load_configuration
from evomerge.errors import ConfigError

A, B = ModelReference(name="a", path="zoo:sort"), ModelReference(name="b", path="zoo:reverse")


def test_the_default_is_the_originals() -> None:
    config = create_default_config()
    assert [model.path for model in config.models] == [
        "Qwen/Qwen2.5-1.5B-Instruct",
        "Qwen/Qwen2.5-Coder-1.5B-Instruct",
        "Qwen/Qwen2.5-Math-1.5B-Instruct",
    ]
    evolution = config.evolution_settings
    assert (evolution.population_size, evolution.num_generations) == (8, 50)
    assert (evolution.mutation_rate, evolution.tournament_size) == (0.1, 3)
    assert evolution.early_stopping_generations == 10
    assert evolution.adaptive_mutation
    assert not evolution.use_cma_es
    assert evolution.objectives == ["overall_score", "perplexity"]
    assert config.merge_settings.custom_dir == "./merged_models"
    assert config.merge_settings.chunk_size == 1_000_000
    assert config.merge_settings.parameters["slerp"] == {"t": 0.5}


def test_fewer_than_three_models_are_filled_up() -> None:
    paths = [model.path for model in Configuration(models=[A]).contestants]
    assert paths == ["zoo:sort", "Qwen/Qwen2.5-1.5B-Instruct", "Qwen/Qwen2.5-Coder-1.5B-Instruct"]
    assert len(Configuration(models=create_default_config().models[1:]).contestants) == 3


def test_lists_that_nobody_set_restrict_nothing() -> None:
    everything = ["linear", "slerp", "ties", "dare", "frankenmerge", "dfs"]
    assert MergeSettings().techniques == everything
    assert MergeSettings(ps_techniques=["slerp"], dfs_techniques=[]).techniques == ["slerp"]
    assert MergeSettings(ps_techniques=["linear"]).techniques == ["linear", "frankenmerge", "dfs"]


def test_the_merge_method_leaves_stages_out() -> None:
    assert MergeSettings(merge_method="ps").techniques == ["linear", "slerp", "ties", "dare"]
    assert MergeSettings(merge_method="dfs").techniques == ["frankenmerge", "dfs"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ps_techniques": ["tise"]}, "unknown technique 'tise' .did you mean 'ties'"),
        ({"merge_method": "pd"}, "'ps', 'dfs' or 'ps_dfs'"),
        ({"merge_method": "dfs", "dfs_techniques": []}, "no technique is left for merge_method"),
        ({"ps_techniques": ["linear", "dfs"]}, "dfs belongs into dfs_techniques; here are linear"),
        ({"dfs_techniques": ["ties", "dfs"]}, "ties belongs into ps_techniques; here are franken"),
        ({"weight_mask_rate": 0.995}, "less than or equal to 0.99"),
        ({"weight_mask_rate": -0.1}, "greater than or equal to 0"),
        ({"mask_strategy": "largest"}, "'random' or 'magnitude'"),
        ({"use_8bit": True, "use_4bit": True}, "exclude each other"),
        ({"cross_domain_strategy": "none"}, "'adapter', 'embedding_only' or 'full'"),
        ({"instruction_tuning_preservation": "min"}, "'max' or 'mean'"),
        ({"chunk_size": 0}, "greater than or equal to 1"),
    ],
)
def test_impossible_merge_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MergeSettings(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"population_size": 1}, "greater than or equal to 2"),
        ({"population_size": 4, "tournament_size": 5}, "more than population_size 4"),
        ({"mutation_rate": 0.0}, "greater than 0"),
        ({"num_generations": 0}, "greater than or equal to 1"),
        ({"objectives": ["acuracy"]}, "unknown objective 'acuracy' .did you mean 'accuracy'"),
        ({"objectives": []}, "at least 1"),
        ({"rule": "best"}, "'elite' or 'nsga2'"),
    ],
)
def test_impossible_evolution_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EvolutionSettings(**settings)


def test_objectives_are_ones_own_tasks_where_there_are_any() -> None:
    task = {"name": "sort", "evaluator": "exact_match", "data": "zoo:sort"}
    assert EvolutionSettings(tasks=[task]).goals == ["sort"]
    with pytest.raises(ValidationError, match="unknown objective 'overall_score'; known: sort"):
        EvolutionSettings(tasks=[task], objectives=["overall_score"])


def test_two_same_models_and_unlike_architectures() -> None:
    with pytest.raises(ValidationError, match="zoo:sort is named twice"):
        Configuration(models=[A, A])
    kinds = [
        model.model_copy(update={"domain": ModelDomain(name="text", architecture=kind)})
        for model, kind in ((A, "llama"), (B, "gpt2"))
    ]
    with pytest.raises(ValidationError, match=r"one architecture .* a \(llama\), b \(gpt2\)"):
        Configuration(models=kinds)


def test_a_file_in_json_or_yaml_is_read(tmp_path: Path) -> None:
    config = create_default_config()
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config.model_dump()))
    assert load_configuration(file) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3", "expected keys and values"),
        ("model: []", "unknown key 'model' .did you mean 'models'"),
        ("genome: {models: [a, b]}", "a run file, no tournament: start it with `evomerge evolve`"),
        ("models: {a: b}", "models: input should be a valid list"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_configuration(file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_configuration(tmp_path / "nothing.json")
