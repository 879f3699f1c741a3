"""Searchers propose genomes: the table of contents. One algorithm, one file, one line here."""

from evomerge.search.base import SEARCHERS, Searcher
from evomerge.search.catcma import CatCMA
from evomerge.search.cma import CMA
from evomerge.search.como_catcma import COMOCatCMA
from evomerge.search.cycle_qd import CycleQD
from evomerge.search.grid import GridSearch
from evomerge.search.hill_climbing import HillClimbing
from evomerge.search.llm_es import LLM
from evomerge.search.map_elites import MAPElites
from evomerge.search.mixed_ga import MixedGA
from evomerge.search.natural_niches import NaturalNiches
from evomerge.search.nsga2 import NSGA2
from evomerge.search.nsga3 import NSGA3
from evomerge.search.random import RandomSearch
from evomerge.search.sep_cma import SepCMA
from evomerge.search.tournament import Tournament

SEARCHERS.register("catcma", CatCMA)
SEARCHERS.register("cma", CMA)
SEARCHERS.register("como_catcma", COMOCatCMA)
SEARCHERS.register("cycle_qd", CycleQD)
SEARCHERS.register("grid", GridSearch)
SEARCHERS.register("hill_climbing", HillClimbing)
SEARCHERS.register("llm", LLM)
SEARCHERS.register("map_elites", MAPElites)
SEARCHERS.register("mixed_ga", MixedGA)
SEARCHERS.register("natural_niches", NaturalNiches)
SEARCHERS.register("nsga2", NSGA2)
SEARCHERS.register("nsga3", NSGA3)
SEARCHERS.register("random", RandomSearch)
SEARCHERS.register("sep_cma", SepCMA)
SEARCHERS.register("tournament", Tournament)

__all__ = ["SEARCHERS", "Searcher"]
