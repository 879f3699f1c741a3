"""The tournament's own configuration, as the original EvoMerge spells it.

```python
from evomerge.config import Configuration, MergeSettings, ModelReference, create_default_config

config = create_default_config()
```

`evomerge.config.tournament_run` turns it into a run file. Everything the original names is here,
with its defaults and bounds; `rule`, `tasks`, `seed`, `workers` and `limit` are new.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field, ValidationInfo, field_validator, model_validator

from evomerge.config.settings import TaskSettings
from evomerge.errors import ConfigError, Problem
from evomerge.genome.techniques import STAGES, USUAL, MaskStrategy
from evomerge.recipe.schema import Document
from evomerge.recipe.shape import Findings, read_shape
from evomerge.recipe.yaml_document import read_yaml
from evomerge.registry import suggest

PS, DFS = (*STAGES["interpolation"], *STAGES["addition"]), STAGES["stacking"]
TECHNIQUES = (*PS, *DFS)
Part = Literal[
    "perplexity",
    "coding",
    "mathematics",
    "writing",
    "coherence",
    "zero_shot_classification",
    "zero_shot_qa",
]
OBJECTIVES: dict[str, tuple[str, ...]] = {
    "overall_score": get_args(Part),
    "accuracy": ("coding", "mathematics", "zero_shot_classification", "zero_shot_qa"),
    **{part: (part,) for part in get_args(Part)},
}
"""Objective -> the parts of the built-in suite that it is made of."""
DEFAULT_OBJECTIVES = ("overall_score", "perplexity")


class ModelDomain(Document):
    """What a model is for."""

    name: str
    architecture: str = ""
    task_type: str = ""


class ModelReference(Document):
    """A model: what it is called, and a folder, `zoo:NAME` or hub id."""

    name: str = Field(min_length=1)
    path: str = Field(min_length=1)
    domain: ModelDomain | None = None


class MergeSettings(Document):
    """What may become of the models.

    Attributes:
        merge_method: 'ps' merges weights (stages one and two), 'dfs' leads through layers (stage
            three), 'ps_dfs' does both.
        parameters: technique -> parameter -> value with which it begins.
        custom_dir: folder of the runs; made where it is missing.
        ps_techniques: of stages one and two; where nobody says, linear, slerp, ties and dare.
        dfs_techniques: of stage three; where nobody says, frankenmerge and dfs.
        use_8bit: evaluate in 8 bits.
        use_4bit: evaluate in 4 bits.
        cross_domain_strategy: for models of different architectures.
        instruction_tuning_preservation: for the embeddings of instruction tokens.
        weight_mask_rate: share of every task vector that is dropped before stage two.
        use_weight_rescale: whether what is kept is divided by 1 - weight_mask_rate.
        mask_strategy: whether entries are dropped at random or the smallest of each tensor.
        use_disk_based_merge: merge without holding models in memory, which is always so.
        chunk_size: elements at a time.
    """

    merge_method: Literal["ps", "dfs", "ps_dfs"] = "ps_dfs"
    parameters: dict[str, dict[str, Any]] = Field(default_factory=dict)
    custom_dir: str = Field(default="./merged_models", min_length=1)
    ps_techniques: list[str] = Field(default=["linear"])
    dfs_techniques: list[str] = Field(default=[])
    use_8bit: bool = False
    use_4bit: bool = False
    cross_domain_strategy: Literal["adapter", "embedding_only", "full"] = "adapter"
    instruction_tuning_preservation: Literal["max", "mean"] = "max"
    weight_mask_rate: float = Field(default=0.0, ge=0.0, le=0.99, allow_inf_nan=False)
    use_weight_rescale: bool = False
    mask_strategy: MaskStrategy = "random"
    use_disk_based_merge: bool = False
    chunk_size: int = Field(default=1_000_000, ge=1)

    @field_validator("ps_techniques", "dfs_techniques")
    @classmethod
    def _are_techniques(cls, names: list[str], field: ValidationInfo) -> list[str]:
        mine = PS if field.field_name == "ps_techniques" else DFS
        if strays := [name for name in names if name in TECHNIQUES and name not in mine]:
            other = "dfs_techniques" if mine is PS else "ps_techniques"
            raise ValueError(
                f"{', '.join(strays)} belongs into {other}; here are {', '.join(mine)}"
            )
        return _known(names, mine)

    @model_validator(mode="after")
    def _fit(self) -> "MergeSettings":
        if self.use_8bit and self.use_4bit:
            raise ValueError("use_8bit and use_4bit exclude each other: choose one")
        if not self.techniques:
            raise ValueError(f"no technique is left for merge_method {self.merge_method!r}")
        return self

    @property
    def techniques(self) -> list[str]:
        """The techniques of all stages; a list that nobody set restricts nothing."""
        named = {name for field in ("ps_techniques", "dfs_techniques") for name in self._say(field)}
        kinds = {"ps": PS, "dfs": DFS, "ps_dfs": TECHNIQUES}[self.merge_method]
        return [name for name in kinds if name in named]

    def _say(self, field: str) -> Sequence[str]:
        said: Sequence[str] = getattr(self, field)
        kinds = PS if field == "ps_techniques" else DFS
        return said if field in self.model_fields_set else [n for n in USUAL if n in kinds]


class EvolutionSettings(Document):
    """How the tournament goes.

    Attributes:
        population_size: individuals of a generation.
        num_generations: at most, the first among them.
        mutation_rate: chance of a gene to change, and step of a number in units of its range.
        tournament_size: losers that are merged into one child; of how many the best wins (nsga2).
        early_stopping_generations: the search ends after so many without improvement.
        use_cma_es: search the same genes with CatCMA instead.
        adaptive_mutation: whether the rate rises as a generation lies closer together.
        objectives: overall_score, perplexity, accuracy, coherence or another part of the built-in
            suite; with `tasks`, names of those, and all of them where nobody says.
        rule: 'elite' ranks by the mean of the objectives; 'nsga2' takes them as goals.
        tasks: in place of the built-in suite, as in a run file.
        seed: of everything random.
        workers: candidates tried at once; as many as cores, or one per GPU, if absent.
        limit: most search items of each task.
    """

    population_size: int = Field(default=8, ge=2)
    num_generations: int = Field(default=50, ge=1)
    mutation_rate: Annotated[float, Field(gt=0.0, le=1.0, allow_inf_nan=False)] = 0.1
    tournament_size: int = Field(default=3, ge=2)
    early_stopping_generations: int = Field(default=10, ge=1)
    use_cma_es: bool = False
    adaptive_mutation: bool = True
    objectives: list[str] = Field(default=list(DEFAULT_OBJECTIVES), min_length=1)
    rule: Literal["elite", "nsga2"] = "elite"
    tasks: list[TaskSettings] = Field(default_factory=list)
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    workers: int | None = Field(default=None, ge=1)
    limit: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _fit(self) -> "EvolutionSettings":
        if self.tournament_size > self.population_size:
            raise ValueError(
                f"tournament_size {self.tournament_size} is more than population_size "
                f"{self.population_size}: nobody else is there to compete"
            )
        _known(self.goals, [task.name for task in self.tasks] or list(OBJECTIVES), "objective")
        return self

    @property
    def goals(self) -> list[str]:
        """The objectives; all tasks where there are any, and nobody says which."""
        if self.tasks and "objectives" not in self.model_fields_set:
            return [task.name for task in self.tasks]
        return self.objectives


class Configuration(Document):
    """A tournament: models, what may become of them, and how it goes.

    Fewer than three models are filled up with those of `create_default_config`.
    """

    models: list[ModelReference] = Field(default_factory=list)
    merge_settings: MergeSettings = Field(default_factory=MergeSettings)
    evolution_settings: EvolutionSettings = Field(default_factory=EvolutionSettings)
    target_domain: ModelDomain | None = None

    @field_validator("models")
    @classmethod
    def _models_differ(cls, models: list[ModelReference]) -> list[ModelReference]:
        paths = [model.path for model in models]
        if twin := next((path for path in paths if paths.count(path) > 1), None):
            raise ValueError(f"{twin} is named twice: leave one of them out")
        kinds = {m.domain.architecture: m for m in models if m.domain and m.domain.architecture}
        if len(kinds) > 1:
            told = ", ".join(f"{model.name} ({kind})" for kind, model in kinds.items())
            raise ValueError(f"only models of one architecture can be merged; here are {told}")
        return models

    @property
    def contestants(self) -> list[ModelReference]:
        """The models, filled up to three."""
        paths = {model.path for model in self.models}
        spare = [model for model in default_models() if model.path not in paths]
        return [*self.models, *spare[: max(0, 3 - len(self.models))]]


def default_models() -> list[ModelReference]:
    """Return the three models that a tournament has where none are named."""
    hub = {"instruct": "Qwen2.5-1.5B-Instruct", "coder": "Qwen2.5-Coder-1.5B-Instruct"}
    hub["math"] = "Qwen2.5-Math-1.5B-Instruct"
    return [ModelReference(name=name, path=f"Qwen/{model}") for name, model in hub.items()]


def create_default_config() -> Configuration:
    """Return the tournament that the original begins with: 2 × 2 × 2 merges of three models."""
    return Configuration(
        models=default_models(),
        merge_settings=MergeSettings(
            merge_method="ps_dfs",
            ps_techniques=["linear", "slerp", "ties", "dare"],
            dfs_techniques=["frankenmerge", "dfs"],
            parameters={
                "linear": {"weights": [1 / 3, 1 / 3, 1 / 3]},
                "slerp": {"t": 0.5},
                "ties": {"threshold": 0.1},
                "dare": {"threshold": 0.1, "amplification": 2.0},
            },
        ),
    )


def load_configuration(path: str | Path) -> Configuration:
    """Read a Configuration from a JSON or YAML file.

    Raises:
        ConfigError: it cannot be read, or is no Configuration; every problem is listed.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise wrong([Problem("", f"cannot be read: {reason}")], str(path)) from None
    document = read_yaml(text, str(path))
    if isinstance(document, dict) and "genome" in document:
        told = "this is a run file, no tournament: start it with `evomerge evolve`"
        raise wrong([Problem("", told)], str(path))
    return read_configuration(document, str(path))


def read_configuration(document: Any, source: str = "configuration") -> Configuration:
    """Turn plain values into a Configuration.

    Raises:
        ConfigError: listing every problem with its path.
    """
    findings = Findings()
    config = read_shape(Configuration, document, findings)
    if findings.problems or config is None:
        raise wrong(findings.problems, source)
    return config


def read_again(config: Any) -> Configuration:
    """Check a Configuration whose fields may have been assigned since it was made.

    Raises:
        ConfigError: listing every problem with its path; or it is none.
    """
    if not isinstance(config, Configuration):
        told = f"expected a Configuration, not {type(config).__name__}"
        raise wrong([Problem("", f"{told}, as `create_default_config` returns")])
    return read_configuration({name: _dump(value) for name, value in config})


def wrong(problems: Iterable[Problem], source: str = "configuration") -> ConfigError:
    """Return the error that lists what is wrong with a Configuration."""
    return ConfigError(source, problems, kind="configuration")


def _dump(value: Any) -> Any:
    """Return plain values, of all that was set."""
    if isinstance(value, list):
        return [_dump(each) for each in value]
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_unset=True, warnings=False)
    return value


def _known(names: list[str], known: Any, kind: str = "technique") -> list[str]:
    for name in names:
        if name not in known:
            hint = suggest(name, list(known))
            raise ValueError(f"unknown {kind} {name!r}{hint}; known: {', '.join(known)}")
    return list(dict.fromkeys(names))
