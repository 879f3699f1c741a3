"""The shape of a recipe file: which keys exist and what type each has. Nothing else."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

DType = Literal["float32", "float16", "bfloat16", "float64", "fp32", "fp16", "bf16", "auto"]
LayerRange = Annotated[list[int], Field(min_length=2, max_length=2)]
RECIPE_KEYS = {"merge_method", "models", "slices", "modules"}
"""A mapping with one of these keys, where a model may stand, is a recipe."""


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
    lora: ModelPath | str | None = None
    override_architecture: str | None = None


def _kind_of_model(value: Any) -> str:
    """Return the name of the form in which a model is given."""
    if isinstance(value, Mapping):
        return "RecipeDocument" if RECIPE_KEYS & value.keys() else "ModelName"
    return "str"


def _kind_of_token(value: Any) -> str:
    """Return the name of the form in which a token's source is given."""
    if isinstance(value, Mapping):
        return "TokenOrigin" if "kind" in value else "ModelName"
    return "str"


Reference = Annotated[str, Field(min_length=1), Tag("str")]
"""`path@revision+lora@revision`, or another document's name."""

NamedModel = Annotated[
    Reference | Annotated[ModelName, Tag("ModelName")],
    Discriminator(_kind_of_token),
]
"""A model, not a recipe."""

Model = Annotated[
    Reference
    | Annotated[ModelName, Tag("ModelName")]
    | Annotated["RecipeDocument", Tag("RecipeDocument")],
    Discriminator(_kind_of_model),
]
"""A model, or a recipe whose result is meant."""


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
    input_scale: float = 1.0
    base_model: Model | None = None
    parameters: dict[str, Any] | None = None
    residual_weight: float | None = None


class StackDocument(Document):
    """What a stack of layers is made of: an entry of `modules:`, or a whole recipe."""

    models: Annotated[list[InputDocument], Field(min_length=1)] | None = None
    slices: Annotated[list[SliceDocument], Field(min_length=1)] | None = None
    parameters: dict[str, Any] | None = None


class TokenOrigin(Document):
    """A token's embedding that is not just some model's own."""

    kind: Literal["zero", "model_token"]
    model: NamedModel | None = None
    token: str | None = None
    token_id: Annotated[int, Field(ge=0)] | None = None


class TokenDocument(Document):
    """An entry of `tokens:`."""

    source: Annotated[
        Reference
        | Annotated[ModelName, Tag("ModelName")]
        | Annotated[TokenOrigin, Tag("TokenOrigin")],
        Discriminator(_kind_of_token),
    ]
    force: bool = False


class TokenizerDocument(Document):
    """The long form of `tokenizer_source`."""

    source: NamedModel = "union"
    tokens: dict[str, TokenDocument] | None = None
    pad_to_multiple_of: Annotated[int, Field(ge=1, le=1_000_000)] | None = None


class RecipeDocument(StackDocument):
    """A whole recipe."""

    merge_method: str
    modules: Annotated[dict[str, StackDocument], Field(min_length=1)] | None = None
    base_model: Model | None = None
    dtype: DType | None = None
    out_dtype: DType | None = None
    tokenizer_source: NamedModel | None = None
    tokenizer: TokenizerDocument | None = None
    chat_template: str | None = None
    output: Literal["model", "lora"] | None = None
    lora_rank: Annotated[int, Field(ge=1)] | None = None
    name: Annotated[str, Field(min_length=1)] | None = None
    input_scale_target: Literal["stream", "delta"] = "stream"
    allow_negative_weights: bool | None = None
    smooth: bool | None = None


WITHOUT_EFFECT = {
    "allow_negative_weights": "weights are taken as written",
    "smooth": "weights are taken as written",
    "residual_weight": "mergekit does not read it either",
    "override_architecture": "the architecture is read off the model's tensors",
}
"""Keys that mergekit or its forks know and that change nothing here."""

MERGEKIT_PARAMETERS = frozenset(
    {
        *("weight", "density", "normalize", "rescale", "lambda", "t", "scale", "gamma", "epsilon"),
        *("int8_mask", "max_iter", "tol", "eps", "normalize_weights", "nuslerp_flatten"),
        *("nuslerp_row_wise", "filter_wise", "select_topk", "r", "alpha"),
    }
)
"""Parameters of any mergekit method: under a method that does not read them, worth a warning."""
