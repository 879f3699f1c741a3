"""M2N2, model merging of natural niches (Abrantes et al., 2025).

https://arxiv.org/abs/2508.16204

Candidates compete for the items: what an item has to give is shared by all that solve it, so that
whoever solves what others do not is kept. An item has as much to give as its task's weight says,
shared evenly among the task's items. The second parent is one that is strong where the first
is weak. Children are blended on a sphere, in one proportion up to a random layer and in the
opposite one from there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from evomerge.records import Evaluated, Origin
from evomerge.search.base import Kind, Searcher
from evomerge.search.sphere import Sphere, slerp
from evomerge.search.variation import first_points, mutate
from evomerge.space import SearchSpace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evomerge.types import Genome


@dataclass(frozen=True, eq=False)
class Member:
    """One of the archive.

    Attributes:
        place: in the order of asking.
        point: its genome.
        rewards: score per item, higher is better; empty where it has not been told yet.
        violation: by how much it misses bounds.
    """

    place: int
    point: "Genome"
    rewards: "NDArray[np.float64]"
    violation: float = 0.0


class NaturalNiches(Searcher):
    """An archive whose members share what each item gives; needs the score of every item.

    It begins with the points that the space knows, such as the founders of an ancestry; else with
    random ones. Then each child takes a place in the archive, and the least fit leaves it. What
    misses bounds leaves first. Choices come from one parent up to the split and from the other
    behind it.

    Args:
        space: the genes, in the order of the layers where there are any.
        seed: of the draws.
        archive: its size, at least 2.
        alpha: how strongly an item's reward is shared: 1 gives each that solves it an equal part,
            0 gives all of it to each (no niches, a plain genetic algorithm).
        sigma: standard deviation of a mutation, in units of the cube's edge; 0 mutates nothing. If
            absent 0 where the space knows where to begin, as for models that were trained, and
            else 0.1.
        batch: children that are asked for together, at least 1.
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"continuous", "mixed", "per_item"})
    looks_at_items: ClassVar[bool] = True

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        archive: int = 20,
        alpha: float = 1.0,
        sigma: float | None = None,
        batch: int = 8,
    ) -> None:
        super().__init__(space, seed=seed)
        if archive < 2 or batch < 1:
            raise ValueError("natural_niches needs an archive of at least 2 and a batch of 1")
        if not 0.0 <= alpha <= 10.0 or not 0.0 <= (sigma or 0.0) <= 10.0:
            raise ValueError("natural_niches needs alpha and sigma in [0, 10]")
        self.batch = batch
        self._most, self._alpha = archive, alpha
        self._rng = np.random.default_rng(seed)
        self._first = first_points(space, archive, self._rng)
        self._sigma = (0.0 if len(space.known) > 1 else 0.1) if sigma is None else sigma
        self._sphere = Sphere(space)
        self._unknown: list[Member] = []
        self._archive: list[Member] = []
        self._keys: tuple[str, ...] = ()
        self._weights = np.ones(1)

    def elites(self) -> list[tuple[int, str]]:
        """Return the archive, the fittest first: how much of the reward is whose."""
        scores, shares = self._scores(), self._shares()
        counted = self._weights > 0.0
        found = []
        for i in np.argsort(-shares.sum(axis=1), kind="stable") if self._archive else ():
            others = np.delete(scores, i, axis=0).max(axis=0, initial=-np.inf)
            alone = int((counted & (scores[i] > others)).sum())
            share = shares[i].sum() / max(shares.sum(), 1e-300)
            only = f", alone best at {alone} item{'s' * (alone > 1)}" * (alone > 0)
            found.append((self._archive[i].place, f"{share:.1%} of the reward{only}"))
        return found

    def _ask(self, count: int) -> "list[Genome]":
        points = []
        for place in range(self.asked, self.asked + count):
            if place < len(self._first):
                how, point = self._first[place]
                self._unknown.append(Member(place, point, np.empty(0)))
                self._born.append(Origin(how))
            else:
                mother, father = self._choose_parents()
                point = self._cross(mother.point, father.point)
                point = mutate(self.space, point, self._sigma, self._rng)
                self._born.append(Origin("merger", (mother.place, father.place)))
            points.append(point)
        return points

    def _tell(self, results: Sequence[Evaluated]) -> None:
        first = self.told - len(results)
        for place, result in enumerate(results, first):
            if result.standing == 2:
                member = Member(place, result.genome, self._read(result), result.violation)
                self._archive.append(member)
                if len(self._archive) > self._most:
                    del self._archive[self._find_least()]

    def _read(self, result: Evaluated) -> "NDArray[np.float64]":
        """Return its scores, item by item; its objectives, where there are no items."""
        if not result.item_scores:
            return np.array(result.objectives)
        if not self._keys:
            self._keys = tuple(result.item_scores)
            weights = result.item_weights or dict.fromkeys(self._keys, 1.0)
            self._weights = np.array([weights.get(key, 0.0) for key in self._keys])
        return np.array([result.item_scores.get(key, math.nan) for key in self._keys])

    def _find_least(self) -> int:
        fitness = self._shares().sum(axis=1)
        missed = np.array([member.violation for member in self._archive])
        return int(np.lexsort((fitness, -missed))[0])

    def _scores(self) -> "NDArray[np.float64]":
        """Return the archive's scores, finite, shape (members, items)."""
        scores = np.array([member.rewards for member in self._archive], ndmin=2)
        least = np.where(np.isfinite(scores), scores, np.inf).min(axis=0, initial=np.inf)
        return np.where(np.isfinite(scores), scores, np.where(np.isfinite(least), least, 0.0))

    def _shares(self) -> "NDArray[np.float64]":
        """Return what each member gets of each item, shape (members, items): w S/z^alpha, z = Σ S.

        Scores below zero are counted from the least in the archive. The paper has no weights w.
        """
        scores = self._scores()
        scores = scores - np.minimum(scores.min(axis=0, initial=0.0), 0.0)
        total = scores.sum(axis=0)
        shares: NDArray[np.float64] = scores / np.where(total > 0.0, total, 1.0) ** self._alpha
        return shares * self._weights

    def _choose_parents(self) -> tuple[Member, Member]:
        """Draw one by fitness, and one by attraction g(q) = Σ max(0, F_qj - F_1j)."""
        if len(self._archive) < 2:  # as long as nothing is known, all are alike
            mother, father = self._rng.choice(len(self._unknown), 2, replace=False)
            return self._unknown[mother], self._unknown[father]
        shares = self._shares()
        mother = self._draw(shares.sum(axis=1), -1)
        father = self._draw(np.maximum(shares - shares[mother], 0.0).sum(axis=1), mother)
        return self._archive[mother], self._archive[father]

    def _draw(self, weights: "NDArray[np.float64]", but: int) -> int:
        """Draw in proportion; evenly from all `but` one where nobody has any weight."""
        if not weights.sum() > 0.0:
            weights = np.array([float(i != but) for i in range(len(weights))])
        return int(self._rng.choice(len(weights), p=weights / weights.sum()))

    def _cross(self, mother: "Genome", father: "Genome") -> "Genome":
        """Blend two points: `share` of the father before the split, of the mother behind it."""
        share, cuts = self._rng.random(), self._sphere.cuts
        before = np.arange(len(self.space)) < cuts[self._rng.integers(len(cuts))]
        one, other = self._sphere.values(mother), self._sphere.values(father)
        angle = self._sphere.angle(one, other)
        near, far = slerp(share, angle), slerp(1.0 - share, angle)
        factors = [np.where(before, near[k], far[k]) for k in (0, 1)]
        blended = self._sphere.places(factors[0] * one + factors[1] * other)
        chosen = np.where(before == (share < 0.5), mother, father)
        return np.where(self.space.choosing, chosen, blended)
