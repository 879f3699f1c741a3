"""Ancestry: what part every founder has in every layer of a merge (after Abrantes et al., 2025).

https://arxiv.org/abs/2508.16204

A child of merges of founders is itself a merge of the founders. So a genome is one coefficient per
layer group and founder, in the order of the layers. What any number of generations leads to is made
in one pass over the founders, and nothing is rounded in between.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from evomerge.checkpoints.architecture import Layout
from evomerge.genome.parameter_space import ParameterSpace
from evomerge.recipe.model import Recipe
from evomerge.space import Gene, SearchSpace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evomerge.types import Genome

COEFFICIENTS = (-0.5, 1.5)
"""Where coefficients lie: in [0, 1] between founders, a little above on the sphere through them."""


class AncestrySpace:
    """The genome of merges that descend from founders.

    It knows each founder alone, and begins with all in equal parts.

    Args:
        founders: references of at least two models; the first gives configuration and tokenizer.
        layout: of the models.
        layer_granularity: layers per group; 0 means 1.
        own_embeddings: whether embeddings and head have coefficients of their own; otherwise they
            follow the first and the last layer group.
        dtype: of the merged model.
        tokenizer_source: as in recipes.
        measure: finds the space's metric, of this genome; called when that is first asked for.
    """

    def __init__(
        self,
        founders: Sequence[str],
        layout: Layout,
        *,
        layer_granularity: int = 0,
        own_embeddings: bool = True,
        dtype: str | None = None,
        tokenizer_source: str | None = None,
        measure: "Callable[[AncestrySpace], NDArray[np.float64]] | None" = None,
    ) -> None:
        self._merge = ParameterSpace(
            founders,
            "linear",
            layout,
            layer_granularity=layer_granularity or 1,
            own_embeddings=own_embeddings,
            ranges={"weight": COEFFICIENTS},
            parameters={"normalize": False},
            dtype=dtype,
            tokenizer_source=tokenizer_source,
        )
        genes = _sort_by_layer(self._merge.space.genes)
        genes = [replace(gene, start=1.0 / len(founders)) for gene in genes]
        owners = np.array([_owner(gene) for gene in genes])
        empty = SearchSpace(genes)
        alone = {
            founder: empty.encode(dict(zip((g.name for g in genes), owners == k, strict=True)))
            for k, founder in enumerate(founders)
        }
        metric = None if measure is None else lambda: measure(self)
        self.space = SearchSpace(genes, known=alone, metric=metric)

    def decode(self, genome: "Genome") -> Recipe:
        """Turn a point of the unit cube into a recipe: one sum of the founders per tensor."""
        return self._merge.decode(self._merge.space.encode(self.space.decode(genome)))


def _sort_by_layer(genes: Sequence[Gene]) -> list[Gene]:
    """Return the genes in the order of the layers, the head's last; founders in theirs."""
    groups = list(dict.fromkeys(map(_group, genes)))
    groups.sort(key=lambda group: group == "head")
    return sorted(genes, key=lambda gene: groups.index(_group(gene)))


def _group(gene: Gene) -> str:
    return gene.name.partition("/")[2]


def _owner(gene: Gene) -> int:
    return int(gene.name.partition("/")[0].partition(".")[2])
