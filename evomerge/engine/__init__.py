"""Carries out recipes: streamed into a folder, or into the parameters of a live model."""

from evomerge.engine.models import Models
from evomerge.engine.plan import Plan
from evomerge.engine.planner import Liberties, make_plan
from evomerge.engine.resident import Resident
from evomerge.engine.stream import merge

__all__ = ["Liberties", "Models", "Plan", "Resident", "make_plan", "merge"]
