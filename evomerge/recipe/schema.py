"""The shape of a recipe file: which keys exist and what type each has. Nothing else."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

DType = Literal["float32", "float16", "bfloat16", "float64", "fp32", "fp16", "bf16", "auto"]
LayerRange = Annotated[list[int], Field(min_length=2, max_length=2)]


class Document(BaseModel):
    """Base: a key nobody knows is an error, never silence."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class ModelPath(Document):
    """A model by path and revision."""

    path: str
    revision: str | None = None


class ModelName(Document):
    """mergekit's long form of a model."""

    model: ModelPath | str
    lora: Any = None
    override_architecture: str | None = None


Model = str | ModelName


class InputDocument(Document):
    """An entry of `models:`."""

    model: Model
    parameters: dict[str, Any] | None = None


class SourceDocument(InputDocument):
    """An entry of `sources:`."""

    layer_range: LayerRange | None = None


class SliceDocument(Document):
    """An entry of `slices:`."""

    sources: Annotated[list[SourceDocument], Field(min_length=1)]
    base_model: Model | None = None
    parameters: dict[str, Any] | None = None
    residual_weight: float | None = None


class TokenizerDocument(Document):
    """mergekit's long form of `tokenizer_source`."""

    source: str | None = None
    tokens: dict[str, Any] | None = None
    pad_to_multiple_of: int | None = None


class RecipeDocument(Document):
    """A whole recipe."""

    merge_method: str
    models: Annotated[list[InputDocument], Field(min_length=1)] | None = None
    slices: Annotated[list[SliceDocument], Field(min_length=1)] | None = None
    modules: dict[str, Any] | None = None
    base_model: Model | None = None
    parameters: dict[str, Any] | None = None
    dtype: DType | None = None
    out_dtype: DType | None = None
    tokenizer_source: str | None = None
    tokenizer: TokenizerDocument | None = None
    chat_template: str | None = None
    name: str | None = None
    allow_negative_weights: bool | None = None
    smooth: bool | None = None


WITHOUT_EFFECT = {
    "name": "only one document is read; a name has nothing to refer to",
    "allow_negative_weights": "weights are taken as written",
    "smooth": "weights are taken as written",
    "residual_weight": "mergekit does not read it either",
    "override_architecture": "the architecture is read off the model's tensors",
}
"""Keys that mergekit or its forks know and that change nothing here."""

NOT_YET = {
    "modules": "merging several modules of one model is not supported yet; list `models:` instead",
    "tokens": "choosing single tokens' sources is not supported yet; leave it out",
    "pad_to_multiple_of": "padding the vocabulary is not supported yet; leave it out",
    "lora": "adapters are not supported yet; apply them to their base first",
}
"""Keys whose meaning would be lost if they were passed over."""

MERGEKIT_PARAMETERS = frozenset(
    {
        *("weight", "density", "normalize", "rescale", "lambda", "t", "scale", "gamma", "epsilon"),
        *("int8_mask", "max_iter", "tol", "eps", "normalize_weights", "nuslerp_flatten"),
        *("nuslerp_row_wise", "filter_wise", "select_topk", "r", "alpha"),
    }
)
"""Parameters of any mergekit method: under a method that does not read them, worth a warning."""
