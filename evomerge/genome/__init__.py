"""Genomes: points of a search space that decode to recipes."""

from evomerge.genome.data_flow_space import DataFlowSpace
from evomerge.genome.depth_wise import DepthWiseSpace
from evomerge.genome.joint_space import JointSpace
from evomerge.genome.parameter_space import ParameterSpace
from evomerge.genome.path_scales import PathScaleSpace

__all__ = ["DataFlowSpace", "DepthWiseSpace", "JointSpace", "ParameterSpace", "PathScaleSpace"]
