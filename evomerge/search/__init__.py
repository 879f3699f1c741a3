"""Searchers propose genomes: the table of contents. One algorithm, one file, one line here."""

from evomerge.search.base import SEARCHERS, Searcher
from evomerge.search.catcma import CatCMA
from evomerge.search.cma import CMA
from evomerge.search.grid import GridSearch
from evomerge.search.mixed_ga import MixedGA
from evomerge.search.random import RandomSearch
from evomerge.search.sep_cma import SepCMA

SEARCHERS.register("catcma", CatCMA)
SEARCHERS.register("cma", CMA)
SEARCHERS.register("grid", GridSearch)
SEARCHERS.register("mixed_ga", MixedGA)
SEARCHERS.register("random", RandomSearch)
SEARCHERS.register("sep_cma", SepCMA)

__all__ = ["SEARCHERS", "Searcher"]
