"""What is wrong with a document is told once, at the place where a reader finds it."""

from typing import Any

import pytest
from pydantic import Field, model_validator

from evomerge.recipe.schema import Document
from evomerge.recipe.shape import Findings, read_shape


class Part(Document):
    size: int


class Whole(Document):
    parts: list[Part] = Field(default_factory=lambda: [Part(size=1)], min_length=1)
    groups: dict[str, list[str]] | list[str] | None = None
    names: dict[str, Any] = Field(default_factory=dict)
    low: int = 0
    high: int = 1

    @model_validator(mode="after")
    def _ordered(self) -> "Whole":
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


def read(document: Any, *, lenient: bool = False) -> tuple[Whole | None, list[tuple[str, str]]]:
    findings = Findings()
    found = read_shape(Whole, document, findings, lenient=lenient)
    noted = findings.warnings if lenient else findings.problems
    return found, [(problem.path, problem.message) for problem in noted]


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({None: "x"}, [("null", "unknown key 'null'")]),
        ({3: "x"}, [("[3]", "unknown key '3'")]),
        ({"parts": [{"size": 1, None: 2}]}, [("parts[0].null", "unknown key 'null'")]),
        ({"low": 2}, [("", "low is above high")]),
        ({"low": 2, None: 1}, [("null", "unknown key 'null'"), ("", "low is above high")]),
        ({"parts": []}, [("parts", "list should have at least 1 item after validation, not 0")]),
        ({"groups": 3}, [("groups", "input should be a valid dictionary")]),
        ({"groups": {"a": 3}}, [("groups.a", "input should be a valid list")]),
        ({"groups": ["a", 3]}, [("groups[1]", "input should be a valid string")]),
    ],
)
def test_everything_is_told_at_its_place(document: Any, told: list[tuple[str, str]]) -> None:
    assert read(document)[1] == told


@pytest.mark.parametrize("part", [None, 3, {"size": "large"}])
def test_what_is_left_out_is_not_missed(part: Any) -> None:
    _, told = read({"parts": [part], "low": "x"})
    assert len(told) == 2
    assert {path.split(".")[0] for path, _ in told} == {"parts[0]", "low"}


def test_a_key_that_is_no_string_is_left_out_and_others_stay() -> None:
    found, told = read({None: 1, "low": 1, "names": {"": 1, "a": {None: 2, 0: 3}}}, lenient=True)
    assert told == [("null", "unknown key 'null'")]
    assert found == Whole(low=1, names={"": 1, "a": {None: 2, 0: 3}})
