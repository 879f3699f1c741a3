"""A merge as one sees it from a search space: by the space's model names, tensor by tensor."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from evomerge.checkpoints.architecture import Layout
from evomerge.checkpoints.locate import display_name
from evomerge.methods import MethodSpec
from evomerge.recipe.check import inputs_of, lookup
from evomerge.recipe.model import Recipe, Slice
from evomerge.recipe.schedule import is_number, resolve

RESHARDED = re.compile(r"input_models/(.+?)(?:_\d+)+$")
"""How mergekit-evolve calls the copies that it makes of models."""


class RecipeView:
    """The values of a recipe's parameters.

    Args:
        recipe: which merges layers in their own order.
        spec: its method.
        layout: of the models.
        base: to which the values of a method with one base and one other model are turned.

    Raises:
        ValueError: the recipe stacks layers in another order, or merges other models.
    """

    def __init__(self, recipe: Recipe, spec: MethodSpec, layout: Layout, base: str | None) -> None:
        self.layout = layout
        self._recipe, self._spec = recipe, spec
        self._base = None if spec.base == "none" else base
        self._slices = [*_place_slices(recipe, layout.layers)]
        for _, _, part in self._slices:
            self._check_base(part)

    def get(self, name: str, model: str | None, tensor: str, layer: float | None) -> Any:
        """Return the value of a parameter for a tensor; the method's default where it says nothing.

        Args:
            name: of the parameter.
            model: whose it is; None for one that all models share.
            tensor: its name.
            layer: where it is, between layers too; None for a tensor outside of them.
        """
        first, end, part = self._find_slice(tensor, layer)
        depth = 0.0 if layer is None else _depth(layer - first, end - first)
        source = next((source for source in part.sources if source.model == model), None)
        value = resolve(lookup(self._recipe, part, source, name), tensor, depth)
        value = self._spec.parameters[name].default if value is None else value
        turned = self._spec.name == "slerp" and self._base_of(part) != self._base
        return 1.0 - value if turned and name == "t" and is_number(value) else value

    def _find_slice(self, tensor: str, layer: float | None) -> tuple[int, int, Slice]:
        if layer is None:
            return self._slices[-1 if tensor in self.layout.after else 0]
        return next((s for s in self._slices if s[0] <= layer < s[1]), self._slices[-1])

    def _base_of(self, part: Slice) -> "str | Recipe | None":
        return inputs_of(self._recipe, part, self._spec)[1]

    def _check_base(self, part: Slice) -> None:
        base = self._base_of(part)
        if base != self._base and (self._spec.name != "slerp" or base is None):
            told = f"its base model is {base}, the genome's is {self._base}"
            raise ValueError(told)


def _depth(layer: float, layers: int) -> float:
    """Return what `depth_of` does, between layers too."""
    return layer / (layers - 1) if layers > 1 else 1.0


def _place_slices(recipe: Recipe, layers: int) -> Iterator[tuple[int, int, Slice]]:
    """Yield every slice with its first layer in the result and the one after its last."""
    if not recipe.slices:
        raise ValueError("it merges several modules, and the genome has layers of one")
    place = 0
    for part in recipe.slices:
        spans = {source.layers or (0, layers) for source in part.sources}
        if len(spans) > 1 or min(spans)[0] != place:
            raise ValueError("it stacks layers, and the genome leaves every layer where it is")
        place = min(spans)[1]
        yield (*min(spans), part)
    if place != layers:
        raise ValueError(f"it has {place} layers, and the models have {layers}")


def match_models(theirs: Sequence[str], ours: Sequence[str]) -> dict[str, str]:
    """Return the name that each model of a recipe has in a genome.

    They are the same folder or the same name; or else folders of the same last name, of which
    mergekit-evolve makes copies.

    Args:
        theirs: model references of the recipe, each once.
        ours: those of the genome, each once.

    Raises:
        ValueError: naming a model that only one of them has.
    """
    places = {_place(name): name for name in ours}
    found = {name: places[_place(name)] for name in theirs if _place(name) in places}
    for name in theirs:
        alike = [mine for mine in ours if _last_name(mine) == _last_name(name)]
        if name not in found and len(alike) == 1 and alike[0] not in found.values():
            found[name] = alike[0]
    for name in theirs:
        if name not in found:
            raise ValueError(f"it merges {name}, which is no model of the genome")
    for name in ours:
        if name not in found.values():
            raise ValueError(f"it does not merge {display_name(name)}, which the genome does")
    return found


def _place(name: str) -> str:
    path = Path(name).expanduser()
    return str(path.resolve()) if path.exists() else name


def _last_name(name: str) -> str:
    copied = RESHARDED.search(name)
    return copied[1] if copied else Path(name).name
