"""The run file: what to evolve, judged by which tasks, searched how, run where.

```python
from evomerge.config import RunConfig, load_config

config = load_config("config.yml")
```
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from evomerge.checkpoints.locate import ZOO
from evomerge.errors import ConfigError, EvoMergeException, Problem, UnknownName
from evomerge.evaluation import EVALUATORS
from evomerge.executors import EXECUTORS
from evomerge.genome.sought import check_ranges
from evomerge.methods import METHODS
from evomerge.recipe.schema import Document
from evomerge.recipe.shape import Findings, read_shape
from evomerge.recipe.yaml_document import read_yaml
from evomerge.registry import Registry, suggest
from evomerge.search import SEARCHERS

DType = Literal["float32", "float16", "bfloat16"]


class GenomeSettings(Document):
    """What may vary: mergekit-evolve's `genome:` block, and a few keys more."""

    models: list[str] = Field(min_length=1)
    merge_method: str
    base_model: str | None = None
    layer_granularity: int = Field(default=0, ge=0)
    filters: dict[str, list[str]] | list[str] | None = None
    own_embeddings: bool = True
    normalize: bool | None = None
    allow_negative_weights: bool = False
    smooth: bool = False
    ranges: dict[str, list[bool | float | str]] = Field(default_factory=dict)
    parameters: dict[str, bool | float | str] = Field(default_factory=dict)
    dtype: DType | None = None
    tokenizer_source: str | None = None

    @property
    def fixed(self) -> dict[str, bool | float | str]:
        """Return the parameters that have a value, `normalize` among them."""
        flag = {} if self.normalize is None else {"normalize": self.normalize}
        return self.parameters | flag

    @property
    def components(self) -> dict[str, list[str]]:
        """Return filters as {component name: parts of tensor names}."""
        if isinstance(self.filters, dict):
            return self.filters
        return {part: [part] for part in self.filters or []}


class TaskSettings(Document):
    """A task: its items, its evaluator (whose options stand beside), its weight."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    name: str = Field(min_length=1)
    evaluator: str
    data: str | dict[Literal["search", "validation", "test"], str]
    weight: float = Field(default=1.0, ge=1e-6, le=1e6)

    @property
    def options(self) -> dict[str, Any]:
        """Return the evaluator's options."""
        return dict(self.model_extra or {})


class SearchSettings(Document):
    """A searcher (whose options stand beside) and its budget."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    algorithm: str = "cma"
    evaluations: int = Field(default=200, ge=1, le=10**9)

    @property
    def options(self) -> dict[str, Any]:
        """Return the searcher's options."""
        return dict(self.model_extra or {})


class ItemSettings(Document):
    """Most items per task and split; all of them when absent."""

    search: int | None = Field(default=None, ge=1)
    validation: int | None = Field(default=None, ge=1)
    test: int | None = Field(default=None, ge=1)


class ExecutorSettings(Document):
    """Where candidates are tried: as many at once as cores, in the processor's own arithmetic."""

    name: str = "processes"
    workers: int | None = Field(default=None, ge=1)
    threads: int | None = Field(default=None, ge=1)
    device: str | None = None
    arithmetic: DType | None = None


class RunConfig(Document):
    """A whole run."""

    name: str = "run"
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    genome: GenomeSettings
    tasks: list[TaskSettings] = Field(min_length=1)
    search: SearchSettings = Field(default_factory=SearchSettings)
    items: ItemSettings = Field(default_factory=ItemSettings)
    executor: ExecutorSettings = Field(default_factory=ExecutorSettings)
    finalists: int = Field(default=5, ge=1)

    @field_validator("name")
    @classmethod
    def _name_is_a_folder_name(cls, name: str) -> str:
        if not name or Path(name).name != name or name.startswith(".") or not name.isprintable():
            raise ValueError(f"a run's name names its folder; {name!r} cannot")
        return name


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
    """Turn plain values into a RunConfig.

    Args:
        document: plain values.
        source: what to call it in messages.
        folder: what relative paths are relative to; the current folder if absent.

    Raises:
        ConfigError: listing every problem with its YAML path.
    """
    findings = Findings()
    config = read_shape(RunConfig, document, findings)
    if config:
        for problem in _check(config):
            findings.wrong(problem.path, problem.message)
    if findings.problems or config is None:
        raise ConfigError(source, findings.problems)
    return _resolve_paths(config, folder or Path())


def shipped_configs() -> dict[str, Path]:
    """Return the shipped run files by name."""
    folder = Path(__file__).parent / "zoo"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def _check(config: RunConfig) -> Iterator[Problem]:
    genome = config.genome
    yield from _check_name(METHODS, genome.merge_method, "genome.merge_method")
    if genome.merge_method in METHODS.names():
        yield from _check_genome(genome)
    names = [task.name for task in config.tasks]
    for index, task in enumerate(config.tasks):
        path = f"tasks[{index}]"
        if names.index(task.name) != index:
            yield Problem(f"{path}.name", f"two tasks are called {task.name!r}")
        yield from _check_name(EVALUATORS, task.evaluator, f"{path}.evaluator")
        if task.evaluator in EVALUATORS.names():
            yield from _check_options(EVALUATORS.get(task.evaluator), task.options, path)
    yield from _check_name(SEARCHERS, config.search.algorithm, "search.algorithm")
    if config.search.algorithm in SEARCHERS.names():
        searcher = SEARCHERS.get(config.search.algorithm)
        taken = ("dimension", "seed")
        yield from _check_options(searcher, config.search.options, "search", taken=taken)
    yield from _check_name(EXECUTORS, config.executor.name, "executor.name")


def _check_genome(genome: GenomeSettings) -> Iterator[Problem]:
    spec = METHODS.get(genome.merge_method)
    parents = [m for m in genome.models if spec.base == "none" or m != genome.base_model]
    if spec.base == "required" and not genome.base_model:
        yield Problem("genome.base_model", f"{spec.name} needs a base model")
    if all(model == genome.base_model for model in genome.models):
        yield Problem("genome.models", "there is no model besides the base")
    if len(set(genome.models)) < len(genome.models):
        yield Problem("genome.models", "a model stands twice")
    if len(parents) < spec.min_models or (spec.max_models and len(parents) > spec.max_models):
        most = spec.max_models or "any number"
        yield Problem(
            "genome.models", f"{spec.name} takes {spec.min_models} to {most}, besides a base"
        )
    for name, value in genome.parameters.items():
        if name not in spec.parameters:
            hint = suggest(name, sorted(spec.parameters))
            yield Problem(f"genome.parameters.{name}", f"{spec.name} has no such parameter{hint}")
        elif message := spec.parameters[name].complain(value):
            yield Problem(f"genome.parameters.{name}", message)
    if genome.normalize is not None and "normalize" not in spec.parameters:
        yield Problem("genome.normalize", f"{spec.name} does not normalize")
    yield from check_ranges(spec, genome.ranges, genome.fixed)


def _check_name(registry: Registry[Any], name: str, path: str) -> Iterator[Problem]:
    try:
        registry.get(name)
    except UnknownName as error:
        yield Problem(path, str(error))


def _check_options(
    factory: Callable[..., Any], options: Mapping[str, Any], path: str, taken: tuple[str, ...] = ()
) -> Iterator[Problem]:
    parameters = inspect.signature(factory).parameters
    hints = get_type_hints(factory.__init__ if inspect.isclass(factory) else factory)
    known = [name for name in parameters if name not in taken]
    for option, value in options.items():
        if option not in known:
            hint = suggest(option, known) or f"; known: {', '.join(known) or 'none'}"
            yield Problem(f"{path}.{option}", f"unknown key {option!r}{hint}")
        elif message := _check_value(hints.get(option, Any), value):
            yield Problem(f"{path}.{option}", message)
    required = [n for n in known if parameters[n].default is inspect.Parameter.empty]
    for name in required:
        if name not in options:
            yield Problem(f"{path}.{name}", "field required")


def _check_value(hint: Any, value: Any) -> str:
    """Say what is wrong with an option, by its annotation; empty when nothing is."""
    try:
        TypeAdapter(hint).validate_python(value, strict=True)
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        return f"{message[0].lower()}{message[1:]}, not {value!r}"
    return ""


def _resolve_paths(config: RunConfig, folder: Path) -> RunConfig:
    genome = config.genome.model_copy(
        update={
            "models": [_resolve(model, folder) for model in config.genome.models],
            "base_model": config.genome.base_model and _resolve(config.genome.base_model, folder),
        }
    )
    return config.model_copy(
        update={"genome": genome, "tasks": [_resolve_task(t, folder) for t in config.tasks]}
    )


def _resolve_task(task: TaskSettings, folder: Path) -> TaskSettings:
    data = task.data
    found = (
        _resolve(data, folder)
        if isinstance(data, str)
        else {split: _resolve(path, folder) for split, path in data.items()}
    )
    values = {**task.model_dump(), "data": found}
    function = values.get("function")
    if isinstance(function, str) and ".py:" in function:
        place, _, name = function.rpartition(":")
        values["function"] = f"{_resolve(place, folder)}:{name}"
    return TaskSettings.model_validate(values)


def _resolve(reference: str, folder: Path) -> str:
    """Make a path absolute when it exists beside the run file or here; leave other names alone."""
    for place in (folder / reference, Path(reference).expanduser()):
        if not reference.startswith(ZOO) and place.exists():
            return str(place.absolute())
    return reference


__all__ = ["EvoMergeException", "RunConfig", "load_config", "parse_config", "shipped_configs"]
