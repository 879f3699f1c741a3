"""Generated functions, made into programs and called."""

import json
from typing import Any

import pytest

from evomerge.errors import EvaluationError
from evomerge.evaluation.suite import sandbox
from evomerge.evaluation.suite.coding import Coding, assemble
from evomerge.records import Item

PROMPT = 'def add(a, b):\n    """Return the sum."""\n'


def mark(answer: str, calls: Any = (((1, 2), 3), ((-1, 1), 0))) -> float:
    fields = {"prompt": PROMPT, "function": "add", "calls": json.loads(json.dumps(calls))}
    item = Item("k", "coding", fields)
    evaluator = Coding()
    evaluator.check_items("coding", [item])

    class Answering:
        tokenizer = module = None

        def generate(self, prompts: list[str], **options: Any) -> list[str]:
            assert prompts[0].endswith(PROMPT.rstrip())
            assert "\n```" in options["stop"]
            return [answer]

    return evaluator.evaluate(Answering(), [item])[0]


RIGHT = {
    "continues the prompt": "\n    return a + b\n",
    "takes several lines": "\n    c = a\n    c += b\n    return c\n",
    "breaks off": "\n    return a + b\n\nfor i in ran",
    "goes on with prose": "\n    return a + b\n\nThis function adds.",
    "closes the block": "\n    return a + b\n```\nThis adds.",
    "writes a block of its own": "Here it is:\n```python\ndef add(a, b):\n    return a + b\n```\n",
    "leaves its block open": "```\ndef add(x, y):\n    return sum([x, y])",
    "indents its block": "```py\n    def add(a, b):\n        return a + b\n```",
    "has an odd escape": "\n    '\\d'\n    return a + b\n",
    "says it all again": "def add(a, b):\n    return a + b\n",
}
WRONG = {
    "nothing": "",
    "prose": "The sum of a and b.",
    "another result": "\n    return a - b\n",
    "right once": "\n    return 3\n",
    "prints": "\n    print(a + b)\n",
    "loops": "\n    while True: pass\n",
    "another function": "```\ndef sum2(a, b):\n    return a + b\n```",
    "hopeless": "((((",
}


@pytest.mark.parametrize("answer", RIGHT.values(), ids=RIGHT)
def test_right_functions_earn_one(answer: str) -> None:
    assert mark(answer) == 1.0


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG)
def test_wrong_functions_earn_nothing(answer: str) -> None:
    assert mark(answer) == 0.0


def test_nothing_of_the_expected_results_is_in_the_program() -> None:
    assert assemble(PROMPT, "\n    return a + b", "add") == PROMPT + "    return a + b"


@pytest.mark.parametrize("calls", [[], "x", [[1, 2]], [[[1]]], [{"a": 1}], 3])
def test_calls_that_cannot_be_made_are_refused(calls: Any) -> None:
    item = Item("k", "coding", {"prompt": PROMPT, "function": "add", "calls": calls})
    with pytest.raises(EvaluationError, match="task coding: item 1 has calls that cannot be made"):
        Coding().check_items("coding", [item])


def test_a_platform_without_limits_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "CHILD", sandbox.CHILD.with_name("nowhere.py"))
    sandbox.require_sandbox.cache_clear()
    with pytest.raises(EvaluationError, match="generated code cannot be run within limits on this"):
        Coding()
    monkeypatch.undo()
    sandbox.require_sandbox.cache_clear()
    Coding()
