"""Recipes: what to merge, in mergekit's YAML dialect, frozen and fingerprinted."""

from evomerge.recipe.bases import name_bases
from evomerge.recipe.fingerprint import fingerprint_recipe
from evomerge.recipe.load import library, load_recipe, parse_recipe
from evomerge.recipe.model import Module, Recipe, Slice, Source
from evomerge.recipe.path import Hop, find_hops, is_path, make_path
from evomerge.recipe.schedule import Rule, Schedule, constant
from evomerge.recipe.tokenizer import Tokenizer, TokenSource
from evomerge.recipe.yaml_document import read_yaml, write_yaml

__all__ = [
    "Hop",
    "Module",
    "Recipe",
    "Rule",
    "Schedule",
    "Slice",
    "Source",
    "TokenSource",
    "Tokenizer",
    "constant",
    "find_hops",
    "fingerprint_recipe",
    "is_path",
    "library",
    "load_recipe",
    "make_path",
    "name_bases",
    "parse_recipe",
    "read_yaml",
    "write_yaml",
]
