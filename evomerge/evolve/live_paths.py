"""Paths over resident models: opened once, their layers lent, no weight copied.

All of a run's models are resident, so that no score depends on which of them a path visits. A merge
that stands on a path is made where the one before it stood; of the same merge, once.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from evomerge.engine import Models, make_plan
from evomerge.evolve.live import LiveModel
from evomerge.recipe import Recipe, find_hops
from evomerge.recipe.path import has_scales

if TYPE_CHECKING:
    from evomerge.inference.layer_path import LayerPool
    from evomerge.inference.prefix_tree import Population
    from evomerge.inference.transformers_model import TransformersModel


class LivePaths:
    """The models of a run, and paths through their layers.

    Args:
        models: reference -> recipe that passes the model through as it is.
        device: where they live.
        arithmetic: dtype they compute in; the fastest one here if None.
        seed: of random masks, in merges that stand on a path.
    """

    def __init__(
        self,
        models: Mapping[str, Recipe],
        device: str,
        arithmetic: str | None = None,
        *,
        seed: int = 0,
    ) -> None:
        self._recipes = dict(models)
        self._device, self._arithmetic, self._seed = device, arithmetic, seed
        self._seats: dict[Hashable, Seat] = {}
        self._pool: tuple[dict[Hashable, TransformersModel], LayerPool] | None = None

    def find(self, recipe: Recipe) -> "TransformersModel | None":
        """Return the resident model that a recipe passes through as it is, if it does."""
        for reference, own in self._recipes.items():
            if own == recipe:
                return self._seat(reference).take(own)
        return None

    def gather(self, paths: Sequence[Recipe]) -> "Population":
        """Make paths live, to be scored together.

        Args:
            paths: with the same merges on them, if any, which stay until others take their place.

        Raises:
            EvoMergeException: one is no path, or the models do not fit.
        """
        from evomerge.inference.prefix_tree import Population

        merges = find_merges(paths[0])
        names: dict[str | Recipe, Hashable] = {merge: k for k, merge in enumerate(merges)}
        hops = [
            [(names.get(hop.model, hop.model), hop.layer, hop.scale) for hop in find_hops(path)]
            for path in paths
        ]
        scaled = next((path for path in paths if has_scales(path)), paths[0])
        return Population(self._lend(merges), hops, scaled.input_scale_target)

    def forget(self) -> None:
        """Make every model anew when it is needed: somebody may have changed what is in them."""
        self._pool = None
        for seat in self._seats.values():
            seat.clear()

    def _lend(self, merges: Sequence[Recipe]) -> "LayerPool":
        """Return the layers of all models and of these merges."""
        from evomerge.inference.layer_path import LayerPool

        wanted = dict[Hashable, Recipe]([*self._recipes.items(), *enumerate(merges)])
        models = {key: self._seat(key).take(recipe) for key, recipe in wanted.items()}
        if self._pool is None or not _are_same(self._pool[0], models):
            self._pool = (models, LayerPool(models))
        return self._pool[1]

    def _seat(self, key: Hashable) -> "Seat":
        if self._arithmetic is None:
            self._arithmetic = find_common_arithmetic(self._recipes.values(), self._device)
        if key not in self._seats:
            live = LiveModel(self._device, self._arithmetic, seed=self._seed)
            self._seats[key] = Seat(live)
        return self._seats[key]


class Seat:
    """A place in memory where a model stays until another has to take it."""

    def __init__(self, live: LiveModel) -> None:
        self._live = live
        self._holder: tuple[Recipe, TransformersModel] | None = None

    def take(self, recipe: Recipe) -> "TransformersModel":
        """Return the model that a recipe makes."""
        if self._holder is None or self._holder[0] != recipe:
            self._holder = None
            self._holder = (recipe, self._live.realise(recipe))
        return self._holder[1]

    def clear(self) -> None:
        """Make the model anew the next time."""
        self._holder = None


def find_common_arithmetic(recipes: Iterable[Recipe], device: str) -> str:
    """Return the dtype in which models of all these recipes run side by side, and fast."""
    from evomerge.checkpoints.loading import find_arithmetic

    models = Models()
    found = {find_arithmetic(make_plan(recipe, models).dtype, device) for recipe in recipes}
    return found.pop() if len(found) == 1 else "float32"


def find_merges(path: Recipe) -> tuple[Recipe, ...]:
    """Return the merges that stand on a path, in the order in which it meets them."""
    return tuple(model for model in path.inputs if isinstance(model, Recipe))


def _are_same(
    first: "Mapping[Hashable, TransformersModel]", second: "Mapping[Hashable, TransformersModel]"
) -> bool:
    """Tell whether these are the same objects under the same names."""
    return first.keys() == second.keys() and all(first[key] is second[key] for key in first)
