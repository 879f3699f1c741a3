"""Each evaluator's arithmetic, on models whose answers are known beforehand, and on the zoo."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.checkpoints.loading import load_model, load_tokenizer
from evomerge.checkpoints.locate import locate
from evomerge.errors import EvaluationError, UnknownName
from evomerge.evaluation import EVALUATORS, Audit, Evaluator, build_evaluator, read_items
from evomerge.inference.transformers_model import TransformersModel
from evomerge.records import Item
from evomerge.types import LanguageModel, ScoreRequest


@dataclass
class Scripted:
    """A LanguageModel that answers from a table and remembers what it was asked."""

    likelihoods: dict[str, float] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    asked: list[Any] = field(default_factory=list)
    tokenizer: Any = None
    module: Any = None

    def score(self, requests: Sequence[ScoreRequest]) -> list[float]:
        self.asked.extend(requests)
        return [self.likelihoods[continuation] for _, continuation in requests]

    def generate(
        self, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[str]:
        self.asked.append((max_new_tokens, tuple(stop)))
        return [self.answers[prompt] for prompt in prompts]


def item(**fields: Any) -> Item:
    return Item(str(sorted(fields.items())), "t", fields)


def make(name: str, **options: Any) -> Evaluator:
    return build_evaluator(name, options, "t")


def scores(name: str, model: Any, *items: Item, **options: Any) -> list[float]:
    evaluator = make(name, **options)
    evaluator.check_items("t", items)
    return evaluator.evaluate(model, items)


# ---------------------------------------------------------------------------- multiple choice


def test_the_likeliest_choice_is_the_answer() -> None:
    model = Scripted({"yes": -1.0, "no": -2.0, "perhaps, who knows": -4.0})
    choices = list(model.likelihoods)
    items = [item(prompt="?", choices=choices, answer=right) for right in range(3)]
    assert scores("multiple_choice", model, *items) == [1.0, 0.0, 0.0]
    # per byte: -1/3, -1, -4/18: the long one wins
    assert scores("multiple_choice", model, *items, normalization="bytes") == [0.0, 0.0, 1.0]
    assert model.asked[:3] == [("?", choice) for choice in choices]


def test_bytes_not_characters_normalize() -> None:
    model = Scripted({"ééé": -5.0, "aaaa": -4.0})  # 6 bytes: -0.83; 4 bytes: -1.0
    question = item(prompt="?", choices=["ééé", "aaaa"], answer=0)
    assert scores("multiple_choice", model, question, normalization="bytes") == [1.0]
    assert scores("multiple_choice", model, question) == [0.0]


def test_a_model_that_gives_no_numbers_fails_instead_of_choosing_the_first() -> None:
    model = Scripted({"a": math.nan, "b": math.nan, "c": -1.0})
    items = [item(prompt="?", choices=[choice, "b"], answer=0) for choice in ("a", "c")]
    with pytest.raises(EvaluationError, match="task t: 2 of 2 scores are NaN or infinite"):
        scores("multiple_choice", model, *items)
    judge = build_evaluator("multiple_choice", {}, "t")
    with pytest.raises(
        EvaluationError,
        match="So are the model's own log-likelihoods: look at the weights it was made with",
    ):
        judge.evaluate(model, items, Audit())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"prompt": "?", "choices": ["a"]},
            "task t: item 1 has no 'answer'. Items need prompt, ch",
        ),
        ({"prompt": None, "choices": ["a"], "answer": 0}, "item 1 has no 'prompt'"),
        ({"prompt": "?", "choices": ["a"], "answer": 1}, "has answer 1 for 1 choices. `answer` is"),
        ({"prompt": "?", "choices": ["a"], "answer": -1}, "has answer -1 for 1 choices"),
        ({"prompt": "?", "choices": ["a"], "answer": "0"}, "has answer '0' for 1 choices"),
        ({"prompt": "?", "choices": ["a", "b"], "answer": True}, "has answer True for 2 choices"),
        ({"prompt": "?", "choices": [], "answer": 0}, "has answer 0 for 0 choices"),
        ({"prompt": "?", "choices": "ab", "answer": 0}, "has choices that are no list of texts"),
        ({"prompt": "?", "choices": [1, 2], "answer": 0}, "has choices that are no list of texts"),
        ({"prompt": "?", "choices": 3, "answer": 0}, "has choices that are no list of texts"),
        ({"prompt": 3, "choices": ["a"], "answer": 0}, "item 1 has a 'prompt' that is not a text"),
    ],
)
def test_questions_that_cannot_be_asked_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        make("multiple_choice").check_items("t", [item(**fields)])


# ------------------------------------------------------------------------------- exact match


@pytest.mark.parametrize(
    ("answer", "target", "options", "score"),
    [
        (" 42\n", "42", {}, 1.0),
        ("42.", "42", {}, 0.0),
        ("42", 42, {}, 1.0),
        ("Paris", "paris", {}, 0.0),
        ("Paris", "paris", {"ignore_case": True}, 1.0),
        ("STRASSE", "straße", {"ignore_case": True}, 1.0),
        ("b", ["a", "b"], {}, 1.0),
        ("c", ["a", "b"], {}, 0.0),
        ("a", [], {}, 0.0),
        ("3 and 4 make 7.", "7", {"pattern": r"\d+"}, 1.0),
        ("x=3, y=4", "4", {"pattern": r"\w=(\d+)"}, 1.0),
        ("none", "7", {"pattern": r"\d+"}, 0.0),
        ("none", "", {"pattern": r"(\d+)|none"}, 1.0),
        ("", "", {}, 1.0),
    ],
)
def test_an_answer_is_right_or_wrong(
    answer: str, target: Any, options: dict[str, Any], score: float
) -> None:
    model = Scripted(answers={"?": answer})
    assert scores("exact_match", model, item(prompt="?", target=target), **options) == [score]


def test_what_is_right_in_the_other_language_counts_nothing_and_is_audited() -> None:
    answers = {"1": "BCD", "2": "bcd", "3": "BxD", "4": "", "5": "BCd"}
    items = [item(prompt=prompt, target="BCD") for prompt in answers]
    evaluator = make("exact_match", ignore_case=True, language="J", detector="alphabet:A-Z")
    evaluator.audit = Audit()
    assert evaluator.evaluate(Scripted(answers=answers), items) == [1.0, 0.0, 0.0, 0.0, 1.0]
    assert evaluator.audit.measures()["wrong_language"] == 2 / 5
    free = make("exact_match", ignore_case=True)
    free.audit = Audit()
    assert free.evaluate(Scripted(answers=answers), items) == [1.0, 1.0, 0.0, 0.0, 1.0]
    assert "wrong_language" not in free.audit.measures()


def test_the_language_of_the_whole_answer_counts_not_only_of_what_is_extracted() -> None:
    model = Scripted(answers={"?": "答えは7です。", "!": "So the answer is 7 then."})
    items = [item(prompt=prompt, target="7") for prompt in model.answers]
    options = {"pattern": r"\d+", "language": "ja"}
    assert scores("exact_match", model, *items, **options) == [1.0, 0.0]
    assert scores("exact_match", model, *items, **options, detector="none") == [1.0, 1.0]


def test_generation_is_asked_for_as_the_options_say() -> None:
    model = Scripted(answers={"?": "a"})
    scores("exact_match", model, item(prompt="?", target="a"), max_new_tokens=7, stop="\n")
    scores("exact_match", model, item(prompt="?", target="a"), stop=["x", "y"])
    assert model.asked == [(7, ("\n",)), (32, ("x", "y"))]


# ----------------------------------------------------------------------------- bits per byte


@settings(deadline=None, max_examples=50)
@given(nats=st.floats(-100, 0), text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_bits_per_byte_is_information_over_utf8_length(nats: float, text: str) -> None:
    model = Scripted({text: nats})
    (found,) = scores("bits_per_byte", model, item(text=text, prompt="p"))
    assert found == pytest.approx(-nats / math.log(2) / len(text.encode()))
    assert model.asked == [("p", text)]
    assert make("bits_per_byte").higher_is_better is False


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": "?"}, "task t: item 1 has no 'text'"),
        ({"text": ""}, "task t: item 1 has an empty 'text'. Leave such items out"),
        ({"text": 3}, "task t: item 1 has a 'text' that is not a text"),
        ({"text": "a", "prompt": ["b"]}, "task t: item 1 has a 'prompt' that is not a text"),
    ],
)
def test_texts_without_bits_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        make("bits_per_byte").check_items("t", [item(**fields)])


# --------------------------------------------------------------------------- python function


@pytest.fixture
def judge(tmp_path: Path) -> Callable[..., str]:
    def write(body: str) -> str:
        (tmp_path / "judge.py").write_text(f"def rate(subject, items):\n    {body}\n")
        return f"{tmp_path / 'judge.py'}:rate"

    return write


@pytest.mark.parametrize(
    "body",
    [
        "return [len(item['prompt']) for item in items]",
        "return tuple(float(len(item['prompt'])) for item in items)",
        "import numpy; return numpy.array([len(item['prompt']) for item in items])",
        "import torch; return torch.tensor([len(item['prompt']) for item in items]).half()",
    ],
)
def test_a_function_in_a_file_rates_items_in_whatever_sequence(
    judge: Callable[..., str], body: str
) -> None:
    items = [item(prompt="a" * n) for n in range(4)]
    assert scores("python_function", None, *items, function=judge(body)) == [0.0, 1.0, 2.0, 3.0]


def test_a_function_in_a_module_works_and_may_judge_recipes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "def weigh(subject, items):\n    return [subject['weight']] * len(items)\n"
    (tmp_path / "scales_of_ours.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    judge = make(
        "python_function",
        function="scales_of_ours:weigh",
        subject="recipe",
        higher_is_better=False,
    )
    assert (judge.subject, judge.higher_is_better) == ("recipe", False)
    assert judge.evaluate({"weight": 2}, [item(a=1), item(a=2)]) == [2.0, 2.0]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "return [1.0]",
            "task t: the evaluator gave 1 scores for 2 items. Return one number per it",
        ),
        ("return [1.0] * 3", "task t: the evaluator gave 3 scores for 2 items"),
        ("return 0.5", "task t: the evaluator gave 0.5 for 2 items"),
        ("return None", "task t: the evaluator gave None for 2 items"),
        ("import torch; return torch.tensor(0.5)", "task t: the evaluator gave 0.5 for 2 items"),
        ("return (x for x in items)", "task t: the evaluator gave <generator"),
        ("return {'a': 1, 'b': 2}", "task t: the evaluator gave {'a': 1, 'b': 2} for 2 items"),
        ("return ['good', 'bad']", "task t: the evaluator gave scores that are not numbers"),
        ("return [None, 1]", "task t: the evaluator gave scores that are not numbers"),
        ("return [[1], [2]]", "task t: the evaluator gave scores that are not numbers"),
        ("return [float('nan'), 1]", "task t: 1 of 2 scores are NaN or infinite. Make the metric"),
        ("return [float('inf'), float('nan')]", "task t: 2 of 2 scores are NaN or infinite"),
    ],
)
def test_scores_that_cannot_be_used_are_one_clear_line(
    judge: Callable[..., str], body: str, message: str
) -> None:
    with pytest.raises(EvaluationError, match=message) as caught:
        scores("python_function", None, item(a=1), item(a=2), function=judge(body))
    assert "\n" not in str(caught.value)


def test_what_a_function_raises_is_its_own_and_what_it_changes_stays_with_it(
    judge: Callable[..., str],
) -> None:
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        scores("python_function", None, item(a=1), function=judge("return [1 / 0]"))
    question = item(a=1)
    scores("python_function", None, question, function=judge("items[0].clear(); return [1]"))
    assert question.fields == {"a": 1}


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("judge.py", "'judge.py' names no function. Write package.module:name or path/to/file.py"),
        (":rate", "':rate' names no function"),
        (5, "5 names no function"),
        (
            "/nowhere/judge.py:rate",
            "judge.py cannot be imported: .*there is no file /nowhere/judge",
        ),
        ("no_such_module_here:rate", "no_such_module_here cannot be imported: No module named"),
        ("math:no_such_function", "math has no function 'no_such_function'. Check the name after"),
        ("math:pi", "math has no function 'pi'"),
        ("..relative:rate", "relative cannot be imported: TypeError: "),
    ],
)
def test_a_function_that_is_not_there_is_one_clear_line(reference: Any, message: str) -> None:
    with pytest.raises(EvaluationError, match=message) as caught:
        make("python_function", function=reference)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("code", ["1 / 0", "def rate(:", "raise RuntimeError('two\\nlines')"])
def test_a_module_that_fails_while_it_is_imported_is_one_clear_line(
    tmp_path: Path, code: str
) -> None:
    (tmp_path / "broken.py").write_text(code)
    with pytest.raises(EvaluationError, match=r"broken.py cannot be imported: ") as caught:
        make("python_function", function=f"{tmp_path / 'broken.py'}:rate")
    assert "\n" not in str(caught.value)


# ----------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "exact_match",
            {"stopp": "x"},
            r"exact_match has no option 'stopp' \(did you mean 'stop'\?",
        ),
        ("bits_per_byte", {"x": 1}, "task t: bits_per_byte has no option 'x'. It has none"),
        (
            "exact_match",
            {"max_new_tokens": 0},
            "max_new_tokens must be a whole number of at least 1",
        ),
        ("exact_match", {"max_new_tokens": 1.5}, "max_new_tokens must be a whole number"),
        ("exact_match", {"max_new_tokens": True}, "max_new_tokens must be a whole number"),
        ("exact_match", {"pattern": "("}, "pattern is not a regular expression: missing"),
        ("exact_match", {"pattern": 3}, "task t: exact_match: first argument must be string"),
        ("exact_match", {"stop": ""}, "stop must be a text or a list of texts, none of them empty"),
        ("exact_match", {"stop": ["a", 3]}, "stop must be a text or a list of texts"),
        ("exact_match", {"stop": 3}, "task t: exact_match: "),
        ("exact_match", {"threshold": 1.0}, "threshold is a certainty from 0 to below 1, not 1.0"),
        ("exact_match", {"language": "J", "detector": "letters"}, "language detector 'letters'"),
        ("multiple_choice", {"normalization": "words"}, "must be 'none' or 'bytes', not 'words'"),
        ("multiple_choice", {"normalization": ["bytes"]}, "must be 'none' or 'bytes', not"),
        ("python_function", {}, "python_function: .*missing 1 required positional argument: 'func"),
        (
            "python_function",
            {"function": "math:sqrt", "subject": "x"},
            "subject must be 'model' or ",
        ),
    ],
)
def test_options_that_cannot_be_are_one_clear_line(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(EvaluationError, match=message) as caught:
        make(name, **options)
    assert "\n" not in str(caught.value)
    assert "task t: " in str(caught.value)


def test_an_unknown_evaluator_is_told_with_the_closest_name() -> None:
    with pytest.raises(
        UnknownName, match=r"unknown evaluator 'exact' \(did you mean 'exact_match'"
    ):
        make("exact")
    assert set(EVALUATORS.names()) >= {"bits_per_byte", "exact_match", "multiple_choice"}


def test_no_items_give_no_scores() -> None:
    for name in ("bits_per_byte", "exact_match", "multiple_choice"):
        assert make(name).evaluate(Scripted(), []) == []


# ---------------------------------------------------------------------------------- the zoo


@pytest.fixture(scope="module")
def specialist() -> LanguageModel:
    torch.set_num_threads(1)
    folder = locate("zoo:reverse")
    return TransformersModel(load_model(folder).float(), load_tokenizer(folder))


def test_a_specialist_solves_its_own_task_by_every_measure(specialist: LanguageModel) -> None:
    items = read_items("reverse", "zoo:reverse", limits={"test": 60})["test"]
    solved = np.mean(scores("exact_match", specialist, *items, max_new_tokens=16))
    assert solved >= 0.9  # zoo/README.md: 0.99 on its own task
    chosen = [
        item(
            prompt=question.fields["prompt"],
            choices=[question.fields["target"][::-1] + "a", question.fields["target"]],
            answer=1,
        )
        for question in items
    ]
    assert np.mean(scores("multiple_choice", specialist, *chosen)) >= 0.95
    right = [item(prompt=i.fields["prompt"], text=i.fields["target"]) for i in items]
    wrong = [item(prompt=i.fields["prompt"], text=i.fields["target"][::-1] + "a") for i in items]
    bits = [np.mean(scores("bits_per_byte", specialist, *texts)) for texts in (right, wrong)]
    assert bits[0] < 0.5 < bits[1]
