"""Read run files; relative paths in them are relative to their folder."""

from pathlib import Path
from typing import Any

from evomerge.checkpoints.locate import ZOO
from evomerge.config.check import find_problems
from evomerge.config.mergekit_evolve import is_foreign, translate
from evomerge.config.settings import RunConfig, SearchSettings, TaskSettings
from evomerge.errors import ConfigError, Problem
from evomerge.evaluation import EVALUATORS
from evomerge.recipe import load_recipe, parse_recipe
from evomerge.recipe.shape import Findings, read_shape
from evomerge.recipe.yaml_document import read_yaml
from evomerge.search import SEARCHERS

START_FILES = ("best_config.yaml", "mergekit_config.yml")
"""What a run, or a merge, leaves of its recipe in its folder."""


def load_config(path: str | Path) -> RunConfig:
    """Read a run file; relative paths in it are relative to its folder.

    Raises:
        ConfigError: listing every problem with its YAML path.
    """
    place = shipped_configs().get(str(path), Path(path))
    try:
        text = place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(str(path), [Problem("", f"cannot be read: {reason}")]) from None
    document = read_yaml(text, str(path))
    if isinstance(document, dict):
        document.setdefault("name", place.stem)
    return parse_config(document, str(path), folder=place.parent)


def parse_config(
    document: Any, source: str = "run file", *, folder: Path | None = None
) -> RunConfig:
    """Turn plain values into a RunConfig; those of a file for mergekit-evolve, with a warning.

    Args:
        document: plain values.
        source: what to call it in messages.
        folder: what relative paths are relative to; the current folder if absent.

    Raises:
        ConfigError: listing every problem with its YAML path.
    """
    findings = Findings()
    document = translate(document, source) if is_foreign(document) else document
    config = read_shape(RunConfig, document, findings)
    if config:
        for problem in [p for p in find_problems(config) if not findings.blame(p.path)]:
            findings.wrong(problem.path, problem.message)
    if findings.problems or config is None:
        raise ConfigError(source, findings.problems)
    return _resolve_paths(config, folder or Path(), source)


def shipped_configs() -> dict[str, Path]:
    """Return the shipped run files by name."""
    folder = Path(__file__).parents[1] / "zoo"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def _resolve_paths(config: RunConfig, folder: Path, source: str) -> RunConfig:
    start = config.genome.start
    genome = config.genome.model_copy(
        update={
            **({"start": _read_start(start, folder, source)} if start is not None else {}),
            "models": [_resolve(model, folder) for model in config.genome.models],
            "base_model": config.genome.base_model and _resolve(config.genome.base_model, folder),
        }
    )
    return config.model_copy(
        update={
            "genome": genome,
            "search": _resolve_search(config.search, folder),
            "tasks": [_resolve_task(task, folder) for task in config.tasks],
            "task_search_path": [_resolve(path, folder) for path in config.task_search_path],
        }
    )


def _read_start(start: str | dict[str, Any], folder: Path, source: str) -> dict[str, Any]:
    """Return the document of a merge: what a run begins at is kept with it, not where it lay."""
    if isinstance(start, str):
        place = Path(_resolve(start, folder))
        files = [place / name for name in START_FILES] if place.is_dir() else [place]
        found = [file for file in files if file.is_file()]
        if not found:
            wanted = f"holds no {' and no '.join(START_FILES)}" if place.is_dir() else "is no file"
            raise ConfigError(source, [Problem("genome.start", f"{start} {wanted}")])
        return load_recipe(found[0], lenient=True).to_document()
    recipe, _ = parse_recipe(start, "genome.start", lenient=True)
    named = recipe.rename_models(lambda m: _resolve(m, folder) if isinstance(m, str) else m)
    return named.to_document()


def _resolve_search(search: SearchSettings, folder: Path) -> SearchSettings:
    kind = SEARCHERS.get(search.algorithm)
    options = kind.resolve_paths(search.options, lambda path: _resolve(path, folder))
    return search.model_copy(update=options)


def _resolve_task(task: TaskSettings, folder: Path) -> TaskSettings:
    data: Any = task.data
    if isinstance(data, str):
        data = _resolve(data, folder)
    elif data is not None:
        data = {split: _resolve(path, folder) for split, path in data.items()}
    kind = EVALUATORS.get(task.evaluator)
    options = kind.resolve_paths(task.options, lambda path: _resolve(path, folder))
    return TaskSettings.model_validate({**task.model_dump(), **options, "data": data})


def _resolve(reference: str, folder: Path) -> str:
    """Make a path absolute when it exists beside the run file or here; leave other names alone."""
    for place in (folder / reference, Path(reference).expanduser()):
        if not reference.startswith(ZOO) and place.exists():
            return str(place.absolute())
    return reference
