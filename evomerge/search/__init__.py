"""Searchers propose genomes: the table of contents. One algorithm, one file, one line here."""

from evomerge.search.base import SEARCHERS, Searcher
from evomerge.search.cma import CMA
from evomerge.search.random import RandomSearch

SEARCHERS.register("cma", CMA)
SEARCHERS.register("random", RandomSearch)

__all__ = ["SEARCHERS", "Searcher"]
