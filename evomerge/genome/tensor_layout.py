"""mergekit-evolve's layout of a genome: values by layer group, model, component and parameter.

Its genome is a tensor of shape (n_layer_groups, n_models, n_param_sets, n_params), flattened in
this order for the searcher. The parameters are a method's own in the order of its declaration
(weight, then density), the components the filters in their order and then whatever matches none.
Its values are in no range: weights that may not be negative count by their size, and so do
densities, up to 1.
"""

from typing import TYPE_CHECKING

import numpy as np

from evomerge.genome.parameter_space import ParameterSpace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evomerge.types import Genome

Place = tuple[int, int, int, int]


def to_tensor(space: ParameterSpace, genome: "Genome") -> "NDArray[np.float64]":
    """Return the values of a genome as mergekit-evolve holds them.

    Args:
        space: of the genome.
        genome: a point of it, shape (genes,), in [0, 1].

    Returns:
        Shape (layer groups, models, components, parameters); 0 where a place has no gene, as that
        of a base among the models.

    Raises:
        ValueError: the space has genes that mergekit-evolve's has not.
    """
    places, shape = _lay_out(space)
    tensor = np.zeros(shape)
    for place, value in zip(places, space.space.decode(genome).values(), strict=True):
        tensor[place] = value
    return tensor


def from_tensor(space: ParameterSpace, tensor: "NDArray[np.float64]") -> "Genome":
    """Return the genome that means what a tensor, or a flattened one, means to mergekit-evolve.

    Args:
        space: of the genome.
        tensor: shape (layer groups, models, components, parameters), or flattened.

    Returns:
        A point, shape (genes,), in [0, 1]; values beyond a gene's range are clipped.

    Raises:
        ValueError: another shape, or the space has genes that mergekit-evolve's has not.
    """
    places, shape = _lay_out(space)
    tensor = np.asarray(tensor, dtype=np.float64)
    if tensor.shape not in (shape, (np.prod(shape),)):
        names = "(layer groups, models, components, parameters)"
        raise ValueError(f"expected shape {shape}, {names}, or it flattened, not {tensor.shape}")
    tensor = tensor.reshape(shape)
    values = {}
    for gene, place in zip(space.space.genes, places, strict=True):
        value = float(tensor[place])
        values[gene.name] = abs(value) if gene.low >= 0.0 else value
    return space.space.encode(values)


def _lay_out(space: ParameterSpace) -> tuple[list[Place], Place]:
    """Return the place of every gene, in the genes' order, and the shape of the whole."""
    slots = list(space.slots())
    if any(group.layers is None for _, _, group, _ in slots):
        raise ValueError("embeddings have genes of their own here: set `own_embeddings: false`")
    if any(part.choices or model is None for part, model, _, _ in slots):
        raise ValueError("only numbers that every model has of its own are in that layout")
    parameters = list(dict.fromkeys(part.name for part, _, _, _ in slots))
    components, filters = list(space.components), [p for p in space.components.values() if p]
    places = [
        (
            space.layer_groups.index(group),
            space.models.index(space.parents[model or 0]),
            components.index(component),
            parameters.index(part.name),
        )
        for part, model, group, component in slots
    ]
    shape = (len(space.layer_groups), len(space.models), len(filters) + 1, len(parameters))
    return places, shape
