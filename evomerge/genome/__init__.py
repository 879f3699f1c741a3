"""Genomes: points of a search space that decode to recipes."""

from evomerge.genome.parameter_space import ParameterSpace

__all__ = ["ParameterSpace"]
