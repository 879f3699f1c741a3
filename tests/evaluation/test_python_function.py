"""Functions that get the raw model: what they may take, what they may answer, what is refused."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from evomerge.errors import EvaluationError
from evomerge.evaluation import SPLITS, build_evaluator, share_out
from evomerge.evaluation.python_function import PythonFunction
from evomerge.records import Item

Write = Callable[..., PythonFunction]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return make(parameters, body, **options) -> evaluator whose function is in a file."""

    def make(parameters: str, body: str, **options: Any) -> PythonFunction:
        file = tmp_path / f"judge{len(list(tmp_path.glob('*.py')))}.py"
        file.write_text(f"def rate({parameters}):\n    {body}\n")
        made = build_evaluator("python_function", {"function": f"{file}:rate", **options}, "t")
        assert isinstance(made, PythonFunction)
        return made

    return make


@pytest.fixture
def subject() -> Any:
    """Return what looks like a LanguageModel: a torch module and a tokenizer."""
    module = torch.nn.Linear(2, 2).eval()
    return SimpleNamespace(module=module, tokenizer="the tokenizer")


def items_of(judge: PythonFunction, limits: dict[str, int] | None = None) -> dict[str, Any]:
    documents = judge.documents()
    assert documents is not None
    return dict(share_out("t", documents, seed=3, limits=limits))


def test_function_that_owns_its_items_is_read_place_by_place(write: Write, subject: Any) -> None:
    judge = write("model, tokenizer", "return [k / 4 for k in range(40)]", items=40)
    items = items_of(judge)
    places = [item.fields["place"] for split in SPLITS for item in items[split]]
    assert sorted(places) == list(range(40))
    for split in SPLITS:
        found = judge.evaluate(subject, items[split])
        assert found == [item.fields["place"] / 4 for item in items[split]]
    assert (judge.per_item, judge.at_once, judge.holds_out) == (True, True, True)


def test_function_gets_the_module_and_the_tokenizer_by_name(write: Write, subject: Any) -> None:
    body = (
        "assert tokenizer == 'the tokenizer' and model.weight.shape == (2, 2); "
        "model.train(); return [1.0, 2.0, 3.0]"
    )
    judge = write("tokenizer, model, verbose=False", body, items=3)
    assert judge.find_out("t", subject) == {"items": 3}
    assert not subject.module.training  # what a function leaves behind is put right


def test_function_that_takes_items_gets_the_data(write: Write, subject: Any) -> None:
    judge = write("model, tokenizer, items", "return [item['x'] for item in items]")
    assert judge.documents() is None
    assert (judge.per_item, judge.at_once, judge.undeclared) == (True, False, False)
    assert judge.evaluate(subject, [Item("a", "t", {"x": 2}), Item("b", "t", {"x": 1})]) == [2, 1]


def test_function_that_takes_the_split_may_have_other_items_for_each(
    write: Write, subject: Any
) -> None:
    body = "return [float(k) for k in range({'search': 4, 'validation': 2, 'test': 3}[split])]"
    open_ = write("model, tokenizer, split", body)
    assert open_.undeclared
    options = open_.find_out("t", subject)
    assert options == {"items": {"search": 4, "validation": 2, "test": 3}}
    judge = write("model, tokenizer, split", body, **options)
    items = items_of(judge)
    assert [len(items[split]) for split in SPLITS] == [4, 2, 3]
    for split in SPLITS:
        found = judge.evaluate(subject, items[split])
        assert found == [item.fields["place"] for item in items[split]]


@pytest.mark.parametrize(
    ("answer", "metrics", "score"),
    [
        ("{'score': 0.5, 'other': 9}", ["score"], 0.5),
        ("{'b': 1.0, 'a': 2.0}", ["a", "b"], 1.5),
        ("{'a': __import__('torch').tensor(2.0)}", ["a"], 2.0),
        ("{'a': __import__('numpy').float32(2.0)}", ["a"], 2.0),
    ],
)
def test_mapping_is_one_number_and_says_so(
    write: Write, subject: Any, answer: str, metrics: list[str], score: float
) -> None:
    body = f"return {answer}"
    assert write("model, tokenizer", body).find_out("t", subject) == {"metrics": metrics}
    judge = write("model, tokenizer", body, metrics=metrics)
    assert (judge.per_item, judge.at_once, judge.holds_out) == (False, True, False)
    items = items_of(judge)
    assert [len(items[split]) for split in SPLITS] == [1, 1, 1]
    assert judge.evaluate(subject, items["search"]) == [score]
    told = write("model, tokenizer, split", "return {'a': len(split)}", metrics=["a"])
    assert told.holds_out
    assert told.evaluate(subject, items_of(told)["validation"]) == [len("validation")]


@pytest.mark.parametrize(
    ("body", "options", "message"),
    [
        ("return [1.0] * 4", {"items": 5}, r"the function gave 4 scores, not 5\. Return as many"),
        ("return 0.5", {"items": 5}, r"the function gave 0\.5\. Return a list of one score per"),
        ("return None", {"items": 5}, "the function gave None"),
        ("return []", {"items": 5}, r"the function gave \[\]"),
        ("return 'abcde'", {"items": 5}, "the function gave 'abcde'"),
        ("return {'a': 1}", {"items": 5}, r"the function gave \{'a': 1\}"),
        ("return ['1'] * 5", {"items": 5}, "gave scores that are not numbers"),
        ("return [float('nan')] * 5", {"items": 5}, "scores are NaN or infinite"),
        ("return {'b': 1}", {"metrics": ["a"]}, r"the judge gave no 'a'.*It gave b"),
        ("return {'a': 'good'}", {"metrics": ["a"]}, "the judge gave 'good' for 'a'. Give a num"),
        ("return {'a': float('nan')}", {"metrics": ["a"]}, "1 of 1 scores are NaN or infinite"),
        ("return [1.0]", {"metrics": ["a"]}, r"gave \[1\.0\], not numbers by name"),
    ],
)
def test_answer_other_than_declared_fails_the_candidate_in_one_line(
    write: Write, subject: Any, body: str, options: dict[str, Any], message: str
) -> None:
    judge = write("model, tokenizer", body, **options)
    items = items_of(judge, {"search": 2})["search"]
    with pytest.raises(EvaluationError, match=message) as caught:
        judge.evaluate(subject, items)
    assert str(caught.value).startswith("task t: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("body", ["return 0.5", "return None", "return 'abc'", "return []"])
def test_answer_that_is_neither_list_nor_mapping_cannot_be_declared(
    write: Write, subject: Any, body: str
) -> None:
    with pytest.raises(EvaluationError, match=r"the function gave .*or a mapping of numbers"):
        write("model, tokenizer", body).find_out("t", subject)


def test_mapping_of_a_function_that_gets_items_names_the_way_out(write: Write) -> None:
    judge = write("subject, items", "return {'f1': 1, 'acc': 1}", subject="recipe")
    with pytest.raises(EvaluationError, match=r"or declare `metrics: \[acc, f1\]`"):
        judge.evaluate({}, [Item("a", "t", {})])
    declared = write("subject, items", "return {'f1': 1}", subject="recipe", metrics=["f1"])
    assert declared.evaluate({}, [Item("a", "t", {}), Item("b", "t", {})]) == [1.0, 1.0]
    assert (declared.per_item, declared.holds_out) == (False, True)


@pytest.mark.parametrize(
    ("parameters", "options", "message"),
    [
        ("model", {}, r"takes \(model\); it must take \(model, tokenizer\), and items or split"),
        ("a, b, c", {}, r"takes \(a, b, c\); it must take"),
        ("model, tokenizer, device", {}, r"takes \(model, tokenizer, device\); it must take"),
        ("model, tokenizer, /", {}, "it must take"),
        ("model, tokenizer, items, split", {}, "takes items and split; items come from one split"),
        ("model, tokenizer", {"subject": "recipe"}, "so its subject is the model"),
        ("model, tokenizer", {"items": 0}, "items must be a number of at least 1"),
        ("model, tokenizer", {"items": True}, "items must be a number of at least 1"),
        ("model, tokenizer", {"items": {"search": 1}}, "items must say how many there are in each"),
        ("model, tokenizer, split", {"items": 3}, "items is one number per split exactly where"),
        ("model, tokenizer, items", {"items": 3}, "items is for a function that owns its items"),
        ("subject, items", {"items": 3}, "items is for a function that owns its items"),
        ("model, tokenizer", {"items": 3, "metrics": ["a"]}, "items is for a function that owns"),
    ],
)
def test_functions_and_options_that_do_not_fit_are_told_before_a_model_is_loaded(
    write: Write, parameters: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(EvaluationError, match=f"task t: python_function: .*{message}"):
        write(parameters, "pass", **options)


def test_what_a_function_prints_goes_to_stderr(
    write: Write, subject: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = write("model, tokenizer", "print('hello'); return [1.0]", items=1)
    assert judge.find_out("t", subject) == {"items": 1}
    assert capsys.readouterr() == ("", "hello\n")
