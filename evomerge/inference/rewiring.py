"""Copies of a model that share all of its weights, with some of their parts exchanged."""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from evomerge.errors import EvaluationError

NUMBERS = ("layer_idx", "layer_id")
"""What a layer and its parts call the place of their keys and values in a cache."""
FULL = "full_attention"


def find_layers(module: Any) -> tuple[str, ...]:
    """Return where a model has its layers, e.g. ('model', 'layers').

    That is the list of as many modules as the configuration says, in a part that has it.

    Raises:
        EvaluationError: there is none.
    """
    config = module.config.get_text_config()
    for name, part in module.named_modules():
        for own, child in part.named_children():
            kind = getattr(getattr(part, "config", None), "model_type", None)
            right = isinstance(child, nn.ModuleList) and len(child) == config.num_hidden_layers
            if right and kind == config.model_type:
                return (*filter(None, name.split(".")), own)
    raise EvaluationError(
        f"{type(module).__name__} has no list of its {config.num_hidden_layers} layers, so no path "
        "leads through them",
        "Search in parameter space instead",
    )


def rewire(
    module: Any, place: Sequence[str], layers: Sequence[Any], config: Any, *, blank: bool = False
) -> Any:
    """Return a copy of a model with other layers.

    Args:
        module: the model, or a part of it; it stays as it is.
        place: where its layers are.
        layers: what comes there.
        config: of the copy.
        blank: whether its embeddings are taken out; zeros come instead.
    """
    made, (name, *rest) = share(module), place
    made.config = config
    if rest:
        made._modules[name] = rewire(module._modules[name], rest, layers, config, blank=blank)
        return made
    made._modules[name] = nn.ModuleList(layers)
    embeddings = {k: part for k, part in made._modules.items() if isinstance(part, nn.Embedding)}
    if blank:
        made._modules |= {k: stand_in(v, partial(draw_blank, v)) for k, v in embeddings.items()}
    return made


def graft_end(made: Any, donor: Any, place: Sequence[str]) -> None:
    """Give a rewired copy all of another model but its embeddings and its layers.

    Args:
        made: the copy.
        donor: the other model.
        place: where both have their layers.
    """
    name, *rest = place
    for key, part in donor._modules.items():
        if key == name and rest:
            graft_end(made._modules[name], part, rest)
        elif key != name and not isinstance(part, nn.Embedding):
            made._modules[key] = part


def exchange_head(module: Any, head: Any) -> Any:
    """Return a copy of a model with another's head."""
    made, own = share(module), module.get_output_embeddings()
    made._modules |= {name: head for name, part in made._modules.items() if part is own}
    return made


def resize(config: Any, types: Sequence[str]) -> Any:
    """Return a copy of a text model's configuration for another number of layers.

    Args:
        config: stays as it is.
        types: of the layers, e.g. 'sliding_attention'; only their number counts where a
            configuration has none.
    """
    made = copy.copy(config)
    made.num_hidden_layers = len(types)
    if getattr(config, "layer_types", None):
        made.layer_types = [name or FULL for name in types]
    return made


def renumber(module: Any) -> Any:
    """Return a copy of a layer that looks for its keys and values at a cache's first place."""
    parts = {k: renumber(part) for k, part in module._modules.items() if part is not None}
    changed = {k: part for k, part in parts.items() if part is not module._modules[k]}
    numbers = [name for name in NUMBERS if name in vars(module)]
    if not changed and not numbers:
        return module
    made = share(module)
    made._modules |= changed
    for name in numbers:
        setattr(made, name, 0)
    return made


def stand_in(module: Any, forward: Callable[..., Any]) -> Any:
    """Return a copy of a module that does something else."""
    made = share(module)
    made.forward = forward
    return made


def share(module: Any) -> Any:
    """Return a copy of a module with the same weights; its parts and hooks may be exchanged."""
    made = copy.copy(module)
    for name, value in vars(module).items():
        if isinstance(value, dict) and (name == "_modules" or "_hooks" in name):
            vars(made)[name] = value.copy()
    return made


def draw_blank(embedding: Any, ids: Tensor, *_: Any, position_ids: Tensor | None = None) -> Tensor:
    """Return zeros in the shape in which an embedding returns what tokens [rows, width] mean.

    Some make their own positions of a mask, [rows, all before and width], unless they are given.
    """
    weight: Tensor = embedding.weight
    shape = ids.shape if position_ids is None else position_ids.shape
    return weight.new_zeros(()).expand(*shape, weight.shape[1])
