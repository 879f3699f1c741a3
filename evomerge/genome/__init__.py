"""Genomes: points of a search space that decode to recipes."""

from evomerge.genome.ancestry_space import AncestrySpace
from evomerge.genome.data_flow_space import DataFlowSpace
from evomerge.genome.depth_wise import DepthWiseSpace
from evomerge.genome.encoding import begin_at, encode
from evomerge.genome.joint_space import JointSpace
from evomerge.genome.parameter_space import ParameterSpace
from evomerge.genome.path_scales import PathScaleSpace
from evomerge.genome.technique_space import TechniqueSpace
from evomerge.genome.tensor_layout import from_tensor, to_tensor

__all__ = [
    "AncestrySpace",
    "DataFlowSpace",
    "DepthWiseSpace",
    "JointSpace",
    "ParameterSpace",
    "PathScaleSpace",
    "TechniqueSpace",
    "begin_at",
    "encode",
    "from_tensor",
    "to_tensor",
]
