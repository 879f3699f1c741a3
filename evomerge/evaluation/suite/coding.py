"""Small coding tasks: a function is asked for by its head and docstring, and called (pass@1).

The form is HumanEval's (Chen et al., 2021, https://arxiv.org/abs/2107.03374); the tasks are not.
"""

import ast
import re
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from evomerge.errors import EvaluationError
from evomerge.evaluation.base import Evaluator
from evomerge.evaluation.chat import Wanted, has_template, templated
from evomerge.evaluation.suite.sandbox import require_sandbox, run_calls
from evomerge.records import Item
from evomerge.types import LanguageModel

OPENING = "Complete this Python function.\n\n```python\n"
"""What stands before every prompt: a block left open, so that models go on writing code."""

CLOSING = "\n```"
"""What ends the block in a conversation, where the answer is a block of its own."""

STOPS = ("\n```", "\n\n\n", "\n#", "\n\ndef ", "\nclass ", "\nif __name__", "\nprint(", "\nassert ")
"""What comes after the function is done."""

FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)


class Coding(Evaluator):
    """1 where the generated function gives the expected result for every call, else 0.

    Items have `prompt` (Python up to a function's docstring), `function` (its name) and
    `calls` (pairs of arguments and expected result, as JSON). The prompt is put in a fenced block
    (without its last line break, which is part of a token with the indentation that follows),
    which the answer continues; an answer that defines the function itself, in a block of its own
    or not, stands for the whole program. A program that breaks off is taken as far as it can be
    parsed.

    Args:
        max_new_tokens: where an answer ends at the latest.
        apply_chat_template: yes, no, or `auto`: where the tokenizer has one. Then the block is
            closed, and the answer goes on to its own end.
    """

    fields: ClassVar[tuple[str, ...]] = ("prompt", "function", "calls")
    texts: ClassVar[tuple[str, ...]] = ("prompt", "function")

    def __init__(self, max_new_tokens: int = 160, apply_chat_template: Wanted = False) -> None:
        require_sandbox()
        self.max_new_tokens = max_new_tokens
        self.apply_chat_template: Wanted = apply_chat_template

    def check_items(self, task: str, items: Sequence[Item]) -> None:
        """Check fields, and that there is something to call."""
        super().check_items(task, items)
        for number, item in enumerate(items, start=1):
            calls = item.fields["calls"]
            pairs = isinstance(calls, list) and all(
                isinstance(c, list) and len(c) == 2 and isinstance(c[0], list) for c in calls
            )
            if not calls or not pairs:
                raise EvaluationError(
                    f"task {task}: item {number} has calls that cannot be made",
                    "`calls` are pairs [[arguments], result]",
                )

    def _score(self, subject: LanguageModel, items: Sequence[Item]) -> list[float]:
        prompts = [OPENING + item.fields["prompt"].rstrip() for item in items]
        stop: Sequence[str] = STOPS
        if self.apply_chat_template and has_template(subject.tokenizer, self.apply_chat_template):
            prompts, stop = [prompt + CLOSING for prompt in prompts], ()
        subject = templated(subject, self.apply_chat_template)
        answers = subject.generate(prompts, max_new_tokens=self.max_new_tokens, stop=stop)
        return [self._grade(a, i.fields) for a, i in zip(answers, items, strict=True)]

    def _grade(self, answer: str, fields: Mapping[str, Any]) -> float:
        program = assemble(fields["prompt"], answer, fields["function"])
        arguments = [call[0] for call in fields["calls"]]
        results = run_calls(program, fields["function"], arguments)
        return float(results is not None and results == [call[1] for call in fields["calls"]])


def assemble(prompt: str, answer: str, function: str) -> str:
    """Make a program of a prompt and its continuation."""
    defined = re.compile(rf"^\s*def {re.escape(function)}\b", re.MULTILINE)
    for whole in (*FENCE.findall(answer), answer):
        if defined.search(whole):
            return _parsable(textwrap.dedent(whole))
    body = answer.partition("```")[0]
    return _parsable(prompt.rstrip() + body)


def _parsable(program: str) -> str:
    """Return the longest beginning, in lines, that is Python; empty if there is none."""
    lines = program.splitlines()
    while lines and not _parses("\n".join(lines)):
        lines.pop()
    return "\n".join(lines)


def _parses(program: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the answer's odd escapes
        try:
            ast.parse(program)
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return False
    return True
