"""A search space whose points may be merged with each other, as EvoMerge's losers are.

Three genes more than a point itself has say that it stands for the mean of others' merges: a
pointer to the points that were blended, and the parents' shares. What was blended is remembered in
order, so a search that is replayed points at the same.

A merger of mergers is one weighted mean of merges: its cost does not double with every level. What
its parents are the means of is remembered with the blend, so neither does that of finding it out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evomerge.space import Choice, Gene, SearchSpace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evomerge.types import Genome

Values = Mapping[str, Choice]
POINTER, SHARE = "merger", "merger share"
MOST_BLENDS = 1_000_000
"""Range of the pointer: 0 is no merger, k the k-th blend."""
PARENTS = 3
"""Parents of a merger that have a gene for their share; further ones have the middle one."""
MIDDLE, LEAST = 0.5, 0.05
"""Where shares begin, and the least, before they are divided by their sum."""
DEEPEST = 8
"""Levels of mergers of mergers."""
MOST_MERGES = 27
"""Merges that a merger is the mean of at most; each costs a pass over all parameters."""


@dataclass(frozen=True, eq=False)
class Blend:
    """Points that were blended.

    Attributes:
        level: 1 where none of them is a merger, else 1 more than the highest of theirs.
        parents: of each, the points whose merges make it up, each once, and their shares, sum 1.
    """

    level: int
    parents: "tuple[list[tuple[Genome, float]], ...]"


class MergerSpace(SearchSpace):
    """A search space with mergers.

    Where points cannot be merged, their genes are crossed instead. A merger keeps the crossed genes
    of its parents, and becomes what they say when a mutation takes its pointer away.

    Args:
        genes: of a point that is no merger.
        applies: tells of a gene's name and a point's values whether the gene has an effect.
        shape: returns what the merges of two points must have in common to be averaged.
        known: points worth trying first, by name: {gene name: value}.
    """

    _dependent = True

    def __init__(
        self,
        genes: Sequence[Gene],
        *,
        applies: Callable[[str, Values], bool],
        shape: "Callable[[Genome], object]",
        known: Mapping[str, Values],
    ) -> None:
        self._applies, self._shape = applies, shape
        self._blends: list[Blend] = []
        shares = [Gene(f"{SHARE} {k}", LEAST, 1.0, start=MIDDLE) for k in range(PARENTS)]
        own = [Gene(POINTER, 0.0, float(MOST_BLENDS), start=0.0), *shares]
        super().__init__([*genes, *own])
        self._own = np.array([gene.name.startswith(POINTER) for gene in self.genes])
        silent = {POINTER: 0.0, **dict.fromkeys((gene.name for gene in shares), MIDDLE)}
        points = {name: self.encode({**values, **silent}) for name, values in known.items()}
        self.known = {name: self.settle(point) for name, point in points.items()}

    def effective(self, genome: "Genome") -> "NDArray[np.bool_]":
        """Tell which genes have an effect: of a merger, pointer and shares alone."""
        values = self.decode(genome)
        found = self._in_effect(values)
        return found & self._own if self._find_blend(values) else found

    def divide(self, genome: "Genome") -> "list[tuple[Genome, float]]":
        """Return the points whose merges make up a point's, each once, and their shares, sum 1.

        Args:
            genome: shape (genes,).
        """
        return self._divide(self.settle(genome))

    def blend(self, points: "Sequence[Genome]", rng: np.random.Generator) -> "Genome":
        """Return the merger of several points; their genes crossed, where they cannot be merged."""
        settled = [self.settle(point) for point in points]
        child = np.where(self._own, self.start(), super().blend(settled, rng))
        blend = Blend(1 + max(map(self._find_level, settled)), tuple(map(self._divide, settled)))
        if self._can_be_merged(blend):
            self._blends.append(blend)
            child[self.genes.index(self._pointer)] = self._pointer.place(float(len(self._blends)))
        return self.settle(child)

    @property
    def _pointer(self) -> Gene:
        return next(gene for gene in self.genes if gene.name == POINTER)

    def _can_be_merged(self, blend: Blend) -> bool:
        parts = {part.tobytes(): part for parts in blend.parents for part, _ in parts}
        return (
            1 < len(parts) <= MOST_MERGES
            and blend.level <= DEEPEST
            and len(self._blends) < MOST_BLENDS
            and len({self._shape(part) for part in parts.values()}) == 1
        )

    def _find_level(self, point: "Genome") -> int:
        blend = self._find_blend(self.decode(point))
        return blend.level if blend else 0

    def _divide(self, point: "Genome") -> "list[tuple[Genome, float]]":
        values = self.decode(point)
        blend = self._find_blend(values)
        if not blend:
            return [(point, 1.0)]
        shares = [float(values.get(f"{SHARE} {k}", MIDDLE)) for k in range(len(blend.parents))]
        found: dict[bytes, tuple[Genome, float]] = {}
        for parts, share in zip(blend.parents, shares, strict=True):
            for part, rest in parts:
                _, before = found.get(part.tobytes(), (part, 0.0))
                found[part.tobytes()] = part, before + rest * share / sum(shares)
        return list(found.values())

    def _find_blend(self, values: Values) -> Blend | None:
        """Return what a point is a merger of; None where its pointer points at no blend."""
        number = float(values[POINTER])
        known = number.is_integer() and 1 <= number <= len(self._blends)
        return self._blends[int(number) - 1] if known else None

    def _in_effect(self, values: Values) -> "NDArray[np.bool_]":
        blend = self._find_blend(values)
        parents = len(blend.parents) if blend else 0
        on = {POINTER: parents > 0, **{f"{SHARE} {k}": k < parents for k in range(PARENTS)}}
        applies = [
            on.get(g.name, g.name in on or self._applies(g.name, values)) for g in self.genes
        ]
        return np.logical_and(super()._in_effect(values), applies)
