"""`evomerge evolve`: the command line wins; what nobody says is left to the effort."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from evomerge.cli.evolve import change, read_setting
from evomerge.config import apply_effort, load_config
from evomerge.errors import ConfigError
from evomerge.store import open_store


def test_effort_fills_in_what_neither_the_file_nor_the_command_line_says() -> None:
    config = load_config("demo")
    said = config.search.evaluations
    absent = {"effort": "quick", "seed": None, "search": {"evaluations": None}}
    changed = apply_effort(change(config, absent))
    assert (changed.search.evaluations, changed.finalists) == (said, 3)
    assert changed.search.options == config.search.options
    changed = apply_effort(change(config, {"effort": "thorough", "search": {"evaluations": 9}}))
    assert (changed.search.evaluations, changed.finalists) == (9, 10)
    assert changed.items == config.items
    assert changed.genome == config.genome


def test_unknown_effort_is_one_problem_of_the_options() -> None:
    with pytest.raises(ConfigError, match="effort: input should be 'quick', 'normal' or 'thor"):
        change(load_config("demo"), {"effort": "heroic"})


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("seed=7", {"seed": 7}),
        ("search.sigma=1e-1", {"search": {"sigma": 0.1}}),
        ("genome.filters=[self_attn, mlp]", {"genome": {"filters": ["self_attn", "mlp"]}}),
        ("gen_kwargs.until=a=b", {"gen_kwargs": {"until": "a=b"}}),
        ("search.mean=", {"search": {"mean": None}}),
    ],
)
def test_setting_is_a_part_of_a_run_file(text: str, part: dict[str, Any]) -> None:
    assert read_setting(text) == part


@pytest.mark.parametrize("text", ["", "sigma", "=1", "search.=1", " .a=1"])
def test_setting_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"is no setting; write search\.sigma"):
        read_setting(text)


def test_later_parts_win_and_lists_are_replaced() -> None:
    config = load_config("demo")
    parts = ({"genome": {"models": ["a", "b"]}, "seed": 1}, {"seed": 2})
    changed = change(config, *parts)
    assert (changed.genome.models, changed.seed) == (["a", "b"], 2)
    assert changed.genome.merge_method == config.genome.merge_method


def test_run_is_replayed_without_its_language_model(
    evomerge: Callable[..., Any], write_run: Callable[..., Path], tmp_path: Path
) -> None:
    search = {"algorithm": "llm", "evaluations": 8, "population": 4}
    write_run(search={**search, "backend": "mock"})
    assert evomerge("evolve", "first.yml").code == 0
    write_run(search={**search, "backend": "local", "model": "deleted"})
    for number, replay in enumerate(("runs/first", "runs/first/exchanges-0.jsonl")):
        name = f"again{number}"
        answer = evomerge("evolve", "first.yml", "--name", name, "--replay", replay)
        assert answer.code == 0, answer.err
        asked = []
        for run in ("first", name):
            with open_store(tmp_path / "runs" / run) as store:
                asked.append([row.genome for row in store.candidates("search")])
        assert asked[0] == asked[1]
    answer = evomerge("evolve", "first.yml", "--name", "b", "--replay", "nowhere")
    assert (answer.code, "no log of exchanges at" in answer.error) == (2, True)
