"""The house stands: floors, sizes, tables of contents, strangers, and a README that runs."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from evomerge.config import RunConfig
from evomerge.recipe import parse_recipe, read_yaml
from evomerge.recipe.shape import Findings, read_shape

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "evomerge"
LONGEST = 330
PLUG_INS = ("methods", "search", "evaluation", "executors")
CONTRACTS = {
    *("base", "judge", "prompt", "session", "spec", "task", "worker"),
    *("archive", "evolution_strategy", "restarts", "selection", "sphere", "variation"),
}
"""Files beside the plug-ins that hold their contract, or what several of them share."""


def test_imports_go_down() -> None:
    script = "from importlinter.cli import lint_imports; import sys; sys.exit(lint_imports())"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_module_is_short_and_says_what_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST
    assert ast.get_docstring(ast.parse(text)), "a module begins with what it is"


def test_every_data_file_is_installed() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["evomerge"]
    built = {".py", ".pyc", ".cpp", ".hpp", ".so", ".pyd"}
    data = [f for f in PACKAGE.rglob("*") if f.is_file() and f.suffix not in built]
    assert len(data) > 20
    left_out = [f for f in data if not any(f.relative_to(PACKAGE).match(p) for p in patterns)]
    assert not left_out


@pytest.mark.parametrize("folder", PLUG_INS)
def test_every_plug_in_stands_in_its_table_of_contents(folder: str) -> None:
    contents = (PACKAGE / folder / "__init__.py").read_text(encoding="utf-8")
    files = {path.stem for path in (PACKAGE / folder).glob("*.py")} - CONTRACTS - {"__init__"}
    assert files
    for name in files:
        assert re.search(rf"\b{name}\b", contents), f"{folder}/{name}.py is not in its __init__"


STRANGER = """
import numpy as np

from evomerge.evaluation import Evaluator
from evomerge.executors.local import LocalExecutor
from evomerge.methods import merge_method
from evomerge.methods.spec import PerModel, Weight
from evomerge.search import Searcher


@merge_method("loudest")
def loudest(operands, *, weight: PerModel[Weight]):
    \"\"\"Take the model with the largest weight.\"\"\"
    best = max(range(len(weight)), key=lambda k: weight[k])

    def formula(block):
        return block.spare.copy_(block.models[best])

    return formula


class Halves(Searcher):
    \"\"\"Propose the middle, then ever smaller parts of it.\"\"\"

    def __init__(self, space, *, seed=0):
        super().__init__(space, seed=seed)
        self.batch = 2

    def _ask(self, count):
        return [np.full(self.dimension, 0.5 ** (self.asked + k + 1)) for k in range(count)]

    def _tell(self, results):
        pass


class Length(Evaluator):
    \"\"\"Score by how many items there are.\"\"\"

    subject = "recipe"

    def _score(self, subject, items):
        return [1.0 / len(items)] * len(items)


class Loud(LocalExecutor):
    \"\"\"Runs here, and says so.\"\"\"

    def run(self, jobs):
        for result in super().run(jobs):
            print("done by a stranger")
            yield result
"""
ENTRY_POINTS = """
[evomerge.methods]
loudest = stranger:loudest
[evomerge.searchers]
halves = stranger:Halves
[evomerge.evaluators]
length = stranger:Length
[evomerge.executors]
loud = stranger:Loud
"""
RUN = """
genome: {models: [zoo:sort, zoo:reverse], merge_method: loudest}
tasks: [{name: a, evaluator: length, data: "zoo:sort"}]
items: {search: 4, validation: 4, test: 4}
search: {algorithm: halves, evaluations: 4}
executor: {name: loud}
"""


def run_here(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_foreign_package_adds_all_four_kinds_of_plug_in(tmp_path: Path) -> None:
    (tmp_path / "stranger.py").write_text(STRANGER)
    facts = tmp_path / "stranger-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "run.yml").write_text(RUN)
    out = run_here(tmp_path, "-m", "evomerge", "evolve", "run.yml")
    assert out.count("done by a stranger") > 4
    assert "The merge" in out
    listed = run_here(tmp_path, "-m", "evomerge", "ls", "--json")
    for name in ("loudest", "halves", "length", "loud"):
        assert f'"name": "{name}"' in listed
    recipe = run_here(tmp_path, "-m", "evomerge", "show", "run", "--recipe", "0")
    assert "merge_method: loudest" in recipe


@pytest.mark.slow
def test_python_blocks_of_the_readme_run_in_order(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert blocks, "the README shows no Python"
    (tmp_path / "readme.py").write_text("\n".join(blocks))
    run_here(tmp_path, "readme.py")


def test_generated_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_recipe_in_the_readme_is_well_formed() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    recipe, warnings = parse_recipe(read_yaml(blocks[0], "README.md"))
    assert recipe.method == "ties"
    assert not warnings
    assert read_shape(RunConfig, read_yaml(blocks[1], "README.md"), Findings()) is not None
