"""Recipes: what to merge, in mergekit's YAML dialect, frozen and fingerprinted."""

from evomerge.recipe.fingerprint import fingerprint_recipe
from evomerge.recipe.load import library, load_recipe, parse_recipe
from evomerge.recipe.model import Module, Recipe, Slice, Source, Tokenizer, TokenSource
from evomerge.recipe.schedule import Rule, Schedule, constant
from evomerge.recipe.yaml_document import read_yaml, write_yaml

__all__ = [
    "Module",
    "Recipe",
    "Rule",
    "Schedule",
    "Slice",
    "Source",
    "TokenSource",
    "Tokenizer",
    "constant",
    "fingerprint_recipe",
    "library",
    "load_recipe",
    "parse_recipe",
    "read_yaml",
    "write_yaml",
]
