"""Both spaces in one genome (Akiba et al., 2024, section 3.3, searches them one after the other).

https://arxiv.org/abs/2403.13187

The first genes say what a merge is made of, the others which of its layers, and of other models',
a path leads through. A genome decodes to a path with a recipe on it.
"""

from typing import TYPE_CHECKING

from evomerge.genome.data_flow_space import DataFlowSpace
from evomerge.genome.depth_wise import DepthWiseSpace
from evomerge.genome.parameter_space import ParameterSpace
from evomerge.recipe.model import Recipe
from evomerge.space import SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome

MERGE = "the merge"
"""Stands for the merge in the pool of the path."""


class JointSpace:
    """The genome of a search in both spaces at once.

    Args:
        merge: the genome of the merge.
        path: the genome of the path; its pool has MERGE where the merge's layers are.

    Attributes:
        space: the genes of the merge, then those of the path.
    """

    def __init__(self, merge: ParameterSpace, path: DataFlowSpace | DepthWiseSpace) -> None:
        self.merge, self.path = merge, path
        self.space = SearchSpace([*merge.space.genes, *path.space.genes])

    def decode(self, genome: "Genome") -> Recipe:
        """Turn a point of the unit cube into a path with a merge on it."""
        point = self.space.clip(genome)
        merged = self.merge.decode(point[: len(self.merge.space)])
        path = self.path.decode(point[len(self.merge.space) :])
        return path.rename_models(lambda model: merged if model == MERGE else model)
