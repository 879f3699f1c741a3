"""What a run file may say, as pydantic reads it."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator

from evomerge.genome.techniques import STAGES, USUAL, MaskStrategy
from evomerge.recipe.schema import Document

DType = Literal["float32", "float16", "bfloat16"]

RUN_WIDE = (
    *("apply_chat_template", "fewshot_as_multiturn", "gen_kwargs", "num_fewshot", "scorer"),
    *("system_instruction", "task_search_path"),
)
"""Keys of a run that are options of every evaluator that has them, unless a task says otherwise."""


class GenomeSettings(Document):
    """What may vary: mergekit-evolve's `genome:` block, and a few keys more.

    `space` says what is searched: the weights of a merge; the part of every founder, which are the
    models and the base, in every layer; paths through the layers of all models, of which the first
    gives both ends; one choice a depth; the weights, and then paths through the winner and each
    model; a merge and a path through it at once; or the `techniques` of a tournament, where
    `technique_starts` says with which values of their parameters they begin, and a share of
    `mask_rate` of every task vector is dropped before it is added.

    `start` is a merge at which the search begins: a recipe, or a file or run folder that holds one.
    `refine` lists sizes of layer groups, coarse to fine: each is searched around what the one
    before has found, while the validation items see progress.
    """

    space: Literal[
        "parameters", "ancestry", "data_flow", "depth_wise", "both", "joint", "techniques"
    ] = "parameters"
    models: list[Annotated[str, Field(min_length=1)]] = Field(min_length=1)
    merge_method: str | None = None
    base_model: str | None = None
    layer_granularity: int = Field(default=0, ge=0)
    refine: list[int] = Field(default_factory=list)
    filters: dict[str, list[str]] | list[str] | None = None
    own_embeddings: bool = True
    start: str | dict[str, Any] | None = None
    normalize: bool | None = None
    allow_negative_weights: bool = False
    smooth: bool = False
    ranges: dict[str, list[bool | float | str]] = Field(default_factory=dict)
    parameters: dict[str, bool | float | str] = Field(default_factory=dict)
    dtype: DType | None = None
    tokenizer_source: str | None = None
    repeats: int = Field(default=1, ge=1)
    slots: int | None = Field(default=None, ge=1)
    scales: Literal["none", "slots", "matrix", "network"] = "slots"
    scale_range: tuple[float, float] = (0.5, 1.5)
    scale_grid: list[float] = Field(default=[0.8, 1.0, 1.25])
    input_scale_target: Literal["stream", "delta"] = "stream"
    stages: bool | None = None
    shortest: int | None = Field(default=None, ge=1)
    longest: int | None = Field(default=None, ge=1)
    most_distinct: int | None = Field(default=None, ge=1)
    together: int = Field(default=2, ge=1)
    skip: bool = True
    exportable: bool = True
    techniques: list[str] = Field(default=list(USUAL))
    technique_starts: dict[str, dict[str, float | list[float]]] = Field(default_factory=dict)
    mask_rate: float = Field(default=0.0, ge=0.0, le=0.99, allow_inf_nan=False)
    mask_strategy: MaskStrategy = "random"
    mask_rescale: bool = False

    @property
    def merges(self) -> bool:
        """Tell whether weights are searched."""
        return self.space in ("parameters", "both", "joint")

    @property
    def has_paths(self) -> bool:
        """Tell whether paths are searched."""
        if self.space == "techniques":
            return any(name in STAGES["stacking"] for name in self.techniques)
        return self.space not in ("parameters", "ancestry")

    @property
    def in_stages(self) -> bool:
        """Tell whether layers are searched first, all scales 1, and then scales."""
        staged = self.has_paths and self.scales == "slots"
        return staged if self.stages is None else self.stages

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
    """A task: its items, its evaluator (whose options stand beside), its weight.

    Without an evaluator it is a task of lm-evaluation-harness, which knows its own items. A
    negative weight asks for less of a score that is better when higher; one of weight 0 is only
    bounded, by `constraints`.
    """

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    name: str = Field(min_length=1)
    evaluator: str = "lm_eval"
    data: str | dict[Literal["search", "validation", "test"], str] | None = None
    weight: float = Field(default=1.0, ge=-1e6, le=1e6, allow_inf_nan=False)

    @field_validator("weight")
    @classmethod
    def _weight_weighs(cls, weight: float) -> float:
        if 0.0 < abs(weight) < 1e-6:
            raise ValueError("so small a weight counts for nothing; leave the task out")
        return weight

    @property
    def options(self) -> dict[str, Any]:
        """Return the evaluator's options."""
        return dict(self.model_extra or {})


class SearchSettings(Document):
    """A searcher (whose options stand beside) and its budget.

    After `seconds` of wall time no more candidates are asked for.
    """

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    algorithm: str = "cma"
    evaluations: int = Field(default=200, ge=1, le=10**9)
    seconds: float | None = Field(default=None, gt=0, le=1e9, allow_inf_nan=False)

    @property
    def options(self) -> dict[str, Any]:
        """Return the searcher's options."""
        return dict(self.model_extra or {})


class ItemSettings(Document):
    """Most items per task and split; all of them when absent.

    With `batch`, every generation meets that many search items per task, drawn anew and the same
    for all of its candidates.
    """

    search: int | None = Field(default=None, ge=1)
    batch: int | None = Field(default=None, ge=1)
    validation: int | None = Field(default=None, ge=1)
    test: int | None = Field(default=None, ge=1)


class RacingSettings(Document):
    """When a hopeless candidate is dropped: see evomerge.statistics.racing."""

    alpha: float = Field(default=0.1, gt=0, lt=1, allow_inf_nan=False)
    first: int = Field(default=30, ge=1)
    every: int = Field(default=10, ge=1)
    per_look: bool = False


class ExecutorSettings(Document):
    """Where candidates are tried: as many at once as cores, in the processor's own arithmetic.

    With `bits`, each is written to a temporary folder and loaded in so many bits a weight.
    """

    name: str = "processes"
    workers: int | None = Field(default=None, ge=1)
    threads: int | None = Field(default=None, ge=1)
    device: str | None = None
    arithmetic: DType | None = None
    bits: Literal[4, 8] | None = None
    timeout: float | None = Field(default=None, gt=0, le=1e6, allow_inf_nan=False)


class RunConfig(Document):
    """A whole run.

    `objectives` names the tasks that are goals of their own; without it there is one goal, the
    weighted mean of all tasks, or each task is one where the searcher is for several. `constraints`
    says what a task must at least have, in its own unit (at most, where lower is better): a number,
    'parent' (the best of them) or 'parent - 0.01'.
    Without `export` the winner stays a recipe, `best_config.yaml`.

    The keys `limit` (of search items), `num_fewshot`, `shuffle` (passed over in its own files, else
    refused: items are always drawn by seed), `random_init`, `apply_chat_template` and
    `fewshot_as_multiturn` are mergekit-evolve's. `RUN_WIDE` are the default for every task.
    """

    name: str = "run"
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    genome: GenomeSettings
    tasks: list[TaskSettings] = Field(min_length=1)
    search: SearchSettings = Field(default_factory=SearchSettings)
    items: ItemSettings = Field(default_factory=ItemSettings)
    executor: ExecutorSettings = Field(default_factory=ExecutorSettings)
    objectives: list[str] = Field(default_factory=list)
    constraints: dict[str, float | str] = Field(default_factory=dict)
    finalists: int = Field(default=5, ge=1)
    export: bool = True
    effort: Literal["quick", "normal", "thorough"] = "normal"
    racing: RacingSettings | bool | None = None
    estimator: Literal["mean", "control_variate", "item_response"] = "mean"
    scorer: Literal["own", "harness"] = "own"
    task_search_path: list[str] = Field(default_factory=list)
    i_know_this_is_the_test_set: bool = False
    limit: int | None = Field(default=None, ge=1)
    num_fewshot: int | None = Field(default=None, ge=0)
    apply_chat_template: bool | Literal["auto"] | None = None
    fewshot_as_multiturn: bool | None = None
    system_instruction: str | None = None
    gen_kwargs: dict[str, Any] | str | None = None
    shuffle: bool = False
    random_init: bool = False

    @field_validator("constraints", mode="before")
    @classmethod
    def _bounds_are_no_switches(cls, bounds: Any) -> Any:
        if isinstance(bounds, dict) and any(isinstance(value, bool) for value in bounds.values()):
            raise ValueError("a bound is a number, 'parent' or the like of 'parent - 0.01'")
        return bounds

    @field_validator("name")
    @classmethod
    def _name_is_a_folder_name(cls, name: str) -> str:
        if not name or Path(name).name != name or name.startswith(".") or not name.isprintable():
            raise ValueError(f"a run's name names its folder; {name!r} cannot")
        return name
