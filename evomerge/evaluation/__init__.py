"""Evaluators score items: the table of contents. One evaluator, one file, one line here."""

from evomerge.evaluation.base import EVALUATORS, Evaluator, build_evaluator
from evomerge.evaluation.bits_per_byte import BitsPerByte
from evomerge.evaluation.exact_match import ExactMatch
from evomerge.evaluation.multiple_choice import MultipleChoice
from evomerge.evaluation.python_function import PythonFunction
from evomerge.evaluation.task import SPLITS, Task, keep_apart, read_items

EVALUATORS.register("bits_per_byte", BitsPerByte)
EVALUATORS.register("exact_match", ExactMatch)
EVALUATORS.register("multiple_choice", MultipleChoice)
EVALUATORS.register("python_function", PythonFunction)

__all__ = [
    "EVALUATORS",
    "SPLITS",
    "Evaluator",
    "Task",
    "build_evaluator",
    "keep_apart",
    "read_items",
]
