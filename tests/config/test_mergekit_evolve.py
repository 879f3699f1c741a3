"""Files written for mergekit-evolve run as they are, with one warning."""

import logging
from typing import Any

import pytest

from evomerge.config import RunConfig, parse_config

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
