"""Evaluators score items: the table of contents. One evaluator, one file, one line here."""

from evomerge.evaluation.audit import Audit, find_suspicions
from evomerge.evaluation.base import EVALUATORS, Evaluator, build_evaluator
from evomerge.evaluation.bits_per_byte import BitsPerByte
from evomerge.evaluation.chat import templated
from evomerge.evaluation.command import Command
from evomerge.evaluation.exact_match import ExactMatch
from evomerge.evaluation.http_endpoint import HttpEndpoint
from evomerge.evaluation.language import build_detector
from evomerge.evaluation.lent import lent
from evomerge.evaluation.lm_eval_harness import LmEval
from evomerge.evaluation.mgsm import MGSM
from evomerge.evaluation.multiple_choice import MultipleChoice
from evomerge.evaluation.numerals import find_last_number
from evomerge.evaluation.python_function import PythonFunction
from evomerge.evaluation.suite import Suite
from evomerge.evaluation.task import SPLITS, Task, keep_apart, read_items, share_out

EVALUATORS.register("bits_per_byte", BitsPerByte)
EVALUATORS.register("command", Command)
EVALUATORS.register("exact_match", ExactMatch)
EVALUATORS.register("lm_eval", LmEval)
EVALUATORS.register("http", HttpEndpoint)
EVALUATORS.register("mgsm", MGSM)
EVALUATORS.register("multiple_choice", MultipleChoice)
EVALUATORS.register("python_function", PythonFunction)
EVALUATORS.register("suite", Suite)

__all__ = [
    "EVALUATORS",
    "SPLITS",
    "Audit",
    "Evaluator",
    "Task",
    "build_detector",
    "build_evaluator",
    "find_last_number",
    "find_suspicions",
    "keep_apart",
    "lent",
    "read_items",
    "share_out",
    "templated",
]
