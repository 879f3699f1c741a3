"""The flags of mergekit-evolve and LLM-Evo-Merge: what each means in a run file, if anything."""

import inspect
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from evomerge.errors import ConfigError, Problem

LLM = "llm"
LLM_OPTIONS = {
    "max_generation": "max_generation",
    "sigma_low": "sigma_low",
    "sigma_high": "sigma_high",
    "max_retries": "max_retries",
    "llm_model": "model",
    "llm_base_url": "base_url",
}
"""Flag of LLM-Evo-Merge -> option of the searcher `llm`."""

RESIDENT = "every worker merges into a model that it keeps in memory"
READ_ONCE = "models are read where they lie"
DEVICES = "see `executor` in the run file, and --workers"
UNTOUCHED = "models are judged with the weights that would be written"
WITHOUT_EFFECT = {
    "in_memory": RESIDENT,
    "vllm": "transformers runs the models",
    "num_gpus": DEVICES,
    "merge_cuda": DEVICES,
    "trust_remote_code": "no model's code is run",
    "allow_crimes": "models that do not fit are refused",
    "batch_size": "batches are as large as fits",
    "load_in_8bit": UNTOUCHED,
    "load_in_4bit": UNTOUCHED,
    "quantization_config": UNTOUCHED,
    "wandb": "`evomerge show RUN --json` has every number",
    "wandb_project": "`evomerge show RUN --json` has every number",
    "wandb_entity": "`evomerge show RUN --json` has every number",
    "reshard": READ_ONCE,
}
"""Flags that change nothing here, and why."""

LEAST = {"force_population_size": 2, "max_generation": 1, "max_retries": 0}
STEP_SIZES = {"sigma0": 10.0, "sigma_low": 1.0, "sigma_high": 1.0}
"""Flag -> the largest step size that makes sense."""


class Strategy(StrEnum):
    """How mergekit-evolve schedules candidates."""

    POOL = "pool"
    BUFFERED = "buffered"
    SERIAL = "serial"

    @property
    def executor(self) -> str:
        """The executor that stands for it: processes, or one worker here."""
        return "local" if self is Strategy.SERIAL else "processes"


def _flag(*names: str) -> Any:
    return typer.Option(*names, hidden=True)


@dataclass(frozen=True, kw_only=True)
class ForeignOptions:
    """What a command line for mergekit-evolve or LLM-Evo-Merge says besides our own options."""

    storage_path: Annotated[str | None, _flag("--storage-path")] = None
    strategy: Annotated[Strategy | None, _flag("--strategy", "-s")] = None
    sigma0: Annotated[float | None, _flag("--sigma0")] = None
    force_population_size: Annotated[int | None, _flag("--force-population-size")] = None
    save_final_model: Annotated[bool, _flag("--save-final-model/--no-save-final-model")] = True
    evils: Annotated[
        bool, _flag("--i-understand-the-depths-of-the-evils-i-am-unleashing")
    ] = False  # fmt: skip
    max_generation: Annotated[int | None, _flag("--max-generation")] = None
    sigma_low: Annotated[float | None, _flag("--sigma-low")] = None
    sigma_high: Annotated[float | None, _flag("--sigma-high")] = None
    max_retries: Annotated[int | None, _flag("--max-retries")] = None
    api_key: Annotated[str | None, _flag("--api-key")] = None
    llm_model: Annotated[str | None, _flag("--llm-model")] = None
    llm_base_url: Annotated[str | None, _flag("--llm-base-url")] = None
    in_memory: Annotated[bool | None, _flag("--in-memory/--no-in-memory")] = None
    vllm: Annotated[bool | None, _flag("--vllm/--no-vllm")] = None
    num_gpus: Annotated[int | None, _flag("--num-gpus")] = None
    merge_cuda: Annotated[bool | None, _flag("--merge-cuda/--no-merge-cuda")] = None
    trust_remote_code: Annotated[
        bool | None, _flag("--trust-remote-code/--no-trust-remote-code")
    ] = None  # fmt: skip
    allow_crimes: Annotated[bool | None, _flag("--allow-crimes/--no-allow-crimes")] = None
    batch_size: Annotated[str | None, _flag("--batch-size")] = None
    load_in_8bit: Annotated[bool | None, _flag("--load-in-8bit")] = None
    load_in_4bit: Annotated[bool | None, _flag("--load-in-4bit")] = None
    quantization_config: Annotated[str | None, _flag("--quantization-config")] = None
    wandb: Annotated[bool | None, _flag("--wandb/--no-wandb")] = None
    wandb_project: Annotated[str | None, _flag("--wandb-project")] = None
    wandb_entity: Annotated[str | None, _flag("--wandb-entity")] = None
    reshard: Annotated[bool | None, _flag("--reshard/--no-reshard")] = None

    @property
    def for_llm(self) -> dict[str, Any]:
        """What is said to a language model that searches, as the searcher's options."""
        given = {option: getattr(self, flag) for flag, option in LLM_OPTIONS.items()}
        return {option: value for option, value in given.items() if value is not None}

    @property
    def asks_llm(self) -> bool:
        """Tell whether any flag makes sense only where a language model searches."""
        return bool(self.for_llm) or self.api_key is not None

    def changes(self) -> dict[str, Any]:
        """Return what the flags change in a run file, as a part of it."""
        search = {"algorithm": LLM, **self.for_llm} if self.asks_llm else {"sigma": self.sigma0}
        search["population"] = self.force_population_size
        if self.max_generation and self.force_population_size:
            search["evaluations"] = self.max_generation * self.force_population_size
        return {
            "search": search,
            "executor": {"name": self.strategy and self.strategy.executor},
            "export": None if self.save_final_model else False,
            "i_know_this_is_the_test_set": self.evils or None,
        }

    def without_effect(self) -> str:
        """Name the flags that were given and change nothing, with the reasons; empty for none."""
        reasons = dict(WITHOUT_EFFECT)
        if self.asks_llm:
            reasons["sigma0"] = "a language model has --sigma-low and --sigma-high"
        told: dict[str, list[str]] = {}
        for name, reason in reasons.items():
            if (value := getattr(self, name)) is not None:
                told.setdefault(reason, []).append(_spell(name, value))
        return "; ".join(f"{', '.join(flags)} ({reason})" for reason, flags in told.items())


def accept_foreign_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command understand those flags; it gets them as one argument, `theirs`."""
    own = inspect.signature(command)
    names = [field.name for field in fields(ForeignOptions)]

    @wraps(command)
    def accepting(**given: Any) -> None:
        theirs = ForeignOptions(**{name: given.pop(name) for name in names if name in given})
        command(**given, theirs=theirs)

    hints = get_type_hints(ForeignOptions, include_extras=True)
    more = inspect.signature(ForeignOptions).parameters.values()
    parameters = [p for p in own.parameters.values() if p.name != "theirs"]
    parameters += [p.replace(annotation=hints[p.name]) for p in more]
    keywords = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    vars(accepting)["__signature__"] = own.replace(parameters=keywords)
    accepting.__annotations__ = {p.name: p.annotation for p in keywords}
    return accepting


def place_run(theirs: ForeignOptions, name: str | None, runs: Path) -> tuple[str | None, Path]:
    """Return a run's name and the folder it is in; a storage path is both at once.

    Raises:
        ConfigError: the storage path is no folder, or the name is given twice.
    """
    if theirs.storage_path is None:
        return name, runs
    path = Path(os.path.abspath(theirs.storage_path))
    if name is not None or runs != Path("runs"):
        told = "is the run's folder; leave out --name and --runs"
    elif not theirs.storage_path:
        told = "is empty; name the folder that the run shall have"
    elif not path.name or path.name.startswith(".") or not path.name.isprintable():
        told = f"{theirs.storage_path} cannot be a run's folder; name one, without a dot in front"
    elif path.exists() and not path.is_dir():
        told = f"{theirs.storage_path} is a file; name the folder that the run shall have"
    else:
        return path.name, path.parent
    raise ConfigError("options", [Problem("--storage-path", told)])


def find_slips(theirs: ForeignOptions, *, seconds: float | None) -> Iterator[Problem]:
    """Yield numbers that no search can begin with."""
    if seconds is not None and not 0.0 < seconds < math.inf:
        yield Problem("--seconds, or --timeout", f"expected more than 0 seconds, not {seconds:g}")
    for name, least in LEAST.items():
        if (count := getattr(theirs, name)) is not None and count < least:
            yield Problem(_spell(name), f"expected at least {least}, not {count}")
    for name, most in STEP_SIZES.items():
        if (size := getattr(theirs, name)) is not None and not 0.0 < size <= most:
            yield Problem(_spell(name), f"expected more than 0, at most {most:g}, not {size:g}")
    low, high = theirs.sigma_low, theirs.sigma_high
    if low is not None and high is not None and low > high:
        yield Problem("--sigma-low", f"{low:g} is above --sigma-high, {high:g}")


def find_contradictions(
    theirs: ForeignOptions, *, workers: int | None, algorithm: str | None
) -> Iterator[Problem]:
    """Yield what cannot be meant together."""
    if theirs.load_in_4bit and theirs.load_in_8bit:
        yield Problem("--load-in-4bit", "contradicts --load-in-8bit; leave one of them out")
    if theirs.strategy is Strategy.SERIAL and workers is not None and workers > 1:
        yield Problem("--strategy", f"serial is one worker, not {workers}; leave out --workers")
    if theirs.asks_llm and algorithm not in (None, LLM):
        flag = next(n for n in (*LLM_OPTIONS, "api_key") if getattr(theirs, n) is not None)
        told = f"is for `--algorithm {LLM}`, not {algorithm}; leave one of them out"
        yield Problem(_spell(flag), told)


def _spell(name: str, value: object = True) -> str:
    """Write an option as people do."""
    return f"--{'no-' if value is False else ''}{name.replace('_', '-')}"
