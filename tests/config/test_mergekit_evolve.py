"""Files written for mergekit-evolve run as they are, with one warning."""

import logging
from typing import Any

import pytest

from evomerge.config import RunConfig, parse_config
from evomerge.errors import ConfigError

GENOME = {"models": ["zoo:sort", "zoo:reverse"], "merge_method": "linear", "layer_granularity": 2}
FILE: dict[str, Any] = {
    "genome": GENOME,
    "tasks": [{"name": "arc_easy", "weight": -0.5, "metric": "acc_norm,none"}, "hellaswag"],
    "limit": 100,
    "num_fewshot": 3,
    "shuffle": True,
    "random_init": True,
}


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_file_runs_as_it_is_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    config = parse_config(FILE, "old.yml")
    assert [task.name for task in config.tasks] == ["arc_easy", "hellaswag"]
    assert config.tasks[0].weight == -0.5
    assert config.tasks[0].options == {"metric": "acc_norm,none"}
    assert {task.evaluator for task in config.tasks} == {"lm_eval"}
    assert (config.limit, config.num_fewshot, config.random_init) == (100, 3, True)
    assert config.apply_chat_template == "auto"
    assert not config.shuffle
    assert config.i_know_this_is_the_test_set
    (warning,) = warnings(caplog)
    assert warning.startswith(
        "old.yml is written for mergekit-evolve: public test sets are not refused, but the verdict "
        "says so; items are drawn by seed"
    )


def test_what_was_read_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    config = parse_config(FILE)
    for values in (config.model_dump(), config.model_dump(exclude_unset=True)):
        assert parse_config(values) == config
    assert RunConfig.model_validate(config.model_dump(mode="json")) == config
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize(("stated", "found"), [(True, "auto"), (False, False)])
def test_chat_template_where_the_file_has_its_say(stated: bool, found: Any) -> None:
    config = parse_config({**FILE, "apply_chat_template": stated, "fewshot_as_multiturn": False})
    assert config.apply_chat_template == found
    assert config.fewshot_as_multiturn is False


@pytest.mark.parametrize(
    "changes",
    [{"seed": 1}, {"search": {"evaluations": 9}}, {"tasks": [{"name": "a", "num_fewshot": 1}]}],
)
def test_file_with_a_key_of_ours_is_ours(
    changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    document = {**FILE, "shuffle": False, "tasks": [{"name": "arc_easy"}], **changes}
    assert not parse_config(document).i_know_this_is_the_test_set
    assert not warnings(caplog)


def genome(**changes: Any) -> dict[str, Any]:
    models = {"models": ["zoo:sort", "zoo:reverse"], "base_model": "zoo:base"}
    document = {k: v for k, v in (models | changes).items() if v is not None}
    config = parse_config({"genome": document, "tasks": ["arc_easy"]})
    return config.genome.model_dump()


def test_genome_has_their_genes_and_begins_where_theirs_does() -> None:
    found = genome(merge_method="ties", layer_granularity=2)
    assert (found["own_embeddings"], found["normalize"]) == (False, True)
    assert found["start"]["parameters"] == {"weight": 0.5, "density": 1.0, "normalize": True}
    assert genome(merge_method="ties", normalize=False)["normalize"] is False
    assert genome(merge_method="task_arithmetic")["normalize"] is None
    assert genome(merge_method="ties", own_embeddings=True)["own_embeddings"] is True


def test_random_beginning_is_no_start() -> None:
    assert parse_config(FILE).genome.start is None
    assert parse_config({**FILE, "random_init": False}).genome.start is not None


def test_two_models_are_rotated_from_the_first() -> None:
    assert genome(merge_method="slerp", base_model=None)["base_model"] == "zoo:sort"
    three = ["zoo:sort", "zoo:reverse", "zoo:successor"]
    with pytest.raises(ConfigError, match=r"genome\.base_model: slerp needs a base model"):
        genome(merge_method="slerp", base_model=None, models=three)


@pytest.mark.parametrize(
    "broken", [{"genome": 3}, {"genome": {"models": 3}}, {"genome": {"models": [{"model": "a"}]}}]
)
def test_broken_genome_is_told_of_at_its_place(broken: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="genome"):
        parse_config({**FILE, **broken})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"merge_method": ["linear"]}, "genome.merge_method: input should be a valid string"),
        ({"merge_method": {"a": 1}}, "genome.merge_method: input should be a valid string"),
        (
            {"models": ["zoo:sort", ""]},
            r"genome.models\[1\]: string should have at least 1 character",
        ),
        (
            {"models": [{"model": "zoo:sort"}]},
            r"genome.models\[0\]: input should be a valid string",
        ),
        ({None: 1}, "genome.null: unknown key 'null'"),
    ],
)
def test_slip_is_told_once_at_its_place(change: dict[Any, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=f"1 problem in this run file\n  - {told}$"):
        parse_config({"genome": {**GENOME, **change}, "tasks": ["arc_easy"]})
