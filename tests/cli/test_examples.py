"""What every `--help` ends with works; --json parses; help is light."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evomerge.cli.main import app

Run = Callable[..., Any]
WriteRun = Callable[..., Path]
PACKAGE = str(Path(__file__).parents[2])
ORDER = (
    "doctor", "ls", "cp", "validate", "merge", "extract-lora", "eval", "evolve", "tournament",
    "resume", "runs", "show", "export",
)  # fmt: skip


def verbs() -> list[str]:
    return [str(command.name) for command in app.registered_commands]


def example(help_text: str) -> list[str]:
    _, found, last = help_text.rpartition("Example: evomerge")
    assert found, help_text
    return shlex.split(last)  # which may go on in a second line


def test_every_verb_but_the_demo_is_among_those_whose_example_is_run() -> None:
    assert {*verbs()} == {*ORDER, "demo"}


@pytest.mark.slow
def test_example_of_every_help_works(evomerge: Run, tmp_path: Path) -> None:
    for verb in ORDER:
        arguments = example(evomerge(verb, "--help").out)
        assert arguments[0] == verb
        answer = evomerge(*arguments)
        assert answer.code == 0, f"{arguments}: {answer.err}"
        assert answer.out.strip(), arguments
    assert (tmp_path / "my-recipe.yml").is_file()
    assert (tmp_path / "merged" / "model.safetensors").is_file()
    assert (tmp_path / "runs" / "first" / "best" / "model.safetensors").is_file()


def test_help_of_all_and_of_the_demo_end_with_the_demo(evomerge: Run) -> None:
    assert example(evomerge("--help").out) == ["demo"]
    assert example(evomerge("demo", "--help").out) == ["demo"]


def test_json_parses_on_everything_that_prints_a_table(evomerge: Run, write_run: WriteRun) -> None:
    write_run()

    def read(*arguments: str) -> Any:
        answer = evomerge(*arguments, "--json")
        assert answer.code == 0, answer.err
        return json.loads(answer.out)

    assert read("runs") == []
    assert read("validate", "first.yml")["candidates"] == 8
    assert read("validate", "ties")["method"] == "ties"
    finished = read("evolve", "first.yml")
    assert finished["best"] is None
    assert finished["verdict"]["lines"][0]["kind"] == "winner"
    assert read("resume", "first") == finished
    (run,) = read("runs")
    assert (run["run"], run["state"], run["done"], run["of"]) == ("first", "finished", 8, 8)
    shown = read("show", "first")
    assert shown["run"]["name"] == "first"
    assert len([c for c in shown["candidates"] if c["stage"] == "search"]) == 8
    tables = read("ls")
    assert {row["name"] for row in tables["methods"]} >= {"linear", "ties"}
    for kind, rows in tables.items():
        assert read("ls", kind) == rows
        assert rows


def test_recipe_of_a_candidate_is_one_that_validates(
    evomerge: Run, write_run: WriteRun, tmp_path: Path
) -> None:
    write_run()
    evomerge("evolve", "first.yml")
    answer = evomerge("show", "first", "--recipe", "2")
    (tmp_path / "two.yml").write_text(answer.out)
    assert evomerge("validate", "two.yml").code == 0


def test_tables_show_what_was_run(evomerge: Run, write_run: WriteRun) -> None:
    write_run()
    answer = evomerge("evolve", "first.yml")
    assert "Forecast: 8 candidates × 4 items" in answer.out
    assert "Cost: " in answer.out
    assert "first" in evomerge("runs").out
    shown = evomerge("show", "first", "--top", "2").out
    assert "finished, 8 of 8 candidates done, 0 raced out, 0 failed" in shown
    assert "uniform linear" in shown
    assert "start one with: evomerge demo" in evomerge("runs", "--runs", "elsewhere").out


def test_version_is_printed(evomerge: Run) -> None:
    from evomerge import __version__

    assert evomerge("--version").out.strip() == __version__


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], ("torch", "transformers", "numpy")),
        (["cp", "--help"], ("torch", "transformers", "numpy")),
        (["evolve", "--help"], ("torch", "transformers", "numpy")),
        (["runs"], ("torch", "transformers")),
        (["show", "--help"], ("torch", "transformers")),
    ],
)
def test_start_is_light(arguments: list[str], heavy: tuple[str, ...], tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from evomerge.cli.main import main\n"
        "try:\n    main()\n"
        "finally:\n    print('LOADED', *sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": PACKAGE},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = done.stderr.rpartition("LOADED")[2].split()
    assert "typer" in loaded
    assert not set(heavy) & set(loaded)


def test_runs_reads_a_store_without_torch(
    evomerge: Run, write_run: WriteRun, tmp_path: Path
) -> None:
    write_run()
    evomerge("evolve", "first.yml")
    script = (
        "import sys\n"
        "from evomerge.cli.main import main\n"
        "try:\n    main()\n"
        "finally:\n    print('LOADED', *sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "runs"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": PACKAGE},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "first" in done.stdout
    assert "torch" not in done.stderr.rpartition("LOADED")[2].split()


@pytest.mark.slow
def test_demo_ends_with_a_verdict_and_a_winner(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "evomerge", "demo", "--evaluations", "14"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": PACKAGE},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    assert "The merge" in done.stdout
    best = Path(done.stdout.rstrip().rpartition("The winner is in ")[2])
    assert (tmp_path / best / "config.json").is_file()
