"""docs/migration.md: it knows every flag, its file is understood, its Python runs."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from evomerge.cli.main import app
from evomerge.config import parse_config
from evomerge.recipe import read_yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
TOLD = set(re.findall(r"^\| (`--.*?) \|", PAGE, re.MULTILINE))
FLAGS = {flag for cell in TOLD for flag in re.findall(r"--[\w-]+", cell)}


def options() -> list[Any]:
    group: Any = typer.main.get_command(app)
    return list(group.commands["evolve"].params)


def test_the_tables_have_every_foreign_flag_and_no_other() -> None:
    every = {name for p in options() for name in (*p.opts, *p.secondary_opts)}
    foreign = {n for p in options() if p.hidden for n in (*p.opts, *p.secondary_opts)}
    foreign = {name for name in foreign if name.startswith("--")}
    assert len(foreign) > 30
    assert foreign - FLAGS <= {"--save-final-model"}
    assert every >= FLAGS


@pytest.mark.parametrize("block", re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
def test_command_lines_of_the_page_are_understood(block: str) -> None:
    group: Any = typer.main.get_command(app)
    for line in block.splitlines():
        program, verb, *arguments = shlex.split(line)
        assert program == "evomerge"
        group.commands[verb].make_context(verb, arguments)


def test_the_file_of_the_page_is_understood(caplog: pytest.LogCaptureFixture) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    config = parse_config(read_yaml(block, "page"))
    assert sum("is written for mergekit-evolve" in line for line in caplog.messages) == 1
    assert config.genome.own_embeddings is False


def test_python_of_the_page_runs(tmp_path: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", block],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "best_config.yaml").is_file()


def test_extras_of_the_originals_exist_and_are_light() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert extras["vllm"] == []
    assert sorted(extras["evolve"]) == sorted(extras["eval"] + extras["llm"])
