"""MGSM as published: the last number, in the right language, on items the search never sees."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from evomerge.checkpoints.loading import load_model, load_tokenizer
from evomerge.checkpoints.locate import locate
from evomerge.errors import EvaluationError
from evomerge.evaluation import Audit, build_evaluator, read_items
from evomerge.evaluation.mgsm import MGSM, STOPS, TEMPLATES
from evomerge.inference.transformers_model import TransformersModel
from evomerge.records import Item


@dataclass
class Scripted:
    """A LanguageModel that gives prepared answers and remembers how it was asked."""

    answers: Sequence[str]
    prompts: list[str] = field(default_factory=list)
    asked: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)

    def generate(
        self, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str] = (), **_: Any
    ) -> list[str]:
        self.prompts.extend(prompts)
        self.asked.append((max_new_tokens, tuple(stop)))
        return list(self.answers)


def item(**fields: Any) -> Item:
    return Item(json.dumps(fields), "mgsm", fields)


def marks(answers: Sequence[str], result: Any = 18, **options: Any) -> list[float]:
    evaluator = build_evaluator("mgsm", options, "mgsm")
    items = [item(question=f"問{k}", answer_number=result) for k in range(len(answers))]
    evaluator.check_items("mgsm", items)
    return evaluator.evaluate(Scripted(answers), items)


def test_an_answer_counts_when_number_and_language_are_right() -> None:
    answers = [
        "5個と13個なので、合計は5+13=18個です。答えは18です。",
        "リンゴは十八個あるので、答えは18.0です。",
        "合計は13+4=17個です。答えは17です。",
        "There are 5 + 13 = 18 apples. The answer is 18.",
        "答えは18です。ただし、1個は傷んでいます。",
        "わかりません。",
        "18",
        "",
    ]
    assert marks(answers) == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert marks(answers, detector="none") == [1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0]


def test_commas_group_digits_and_the_pattern_of_the_paper_does_not_know_it() -> None:
    answers = ["全部で1,234円です。", "全部で１，２３４円です。", "全部で234円です。"]  # noqa: RUF001 - full-width
    assert marks(answers, 1234) == [1.0, 1.0, 0.0]
    assert marks(answers, 234, numbers="paper") == [1.0, 1.0, 1.0]


def test_points_group_digits_where_the_language_says_so() -> None:
    sentence = "Das macht insgesamt also genau {} Euro, die sie bezahlen muss."
    answers = [sentence.format("1.234"), sentence.format("1,234")]
    assert marks(answers, 1234, language="de") == [1.0, 0.0]
    assert marks(answers, 1234, language="de", numbers="point") == [0.0, 1.0]


def test_the_threshold_is_a_certainty() -> None:
    answers = ["ABab 18", "AB 18", "ab 18"]
    assert marks(answers, detector="alphabet:A-Z", language="J") == [0.0, 1.0, 0.0]
    assert marks(answers, detector="alphabet:A-Z", language="J", threshold=0.4) == [1.0, 1.0, 0.0]


def test_what_went_wrong_is_told_to_the_audit() -> None:
    evaluator, audit = MGSM(), Audit()
    answers = ["答えは18です。", "答えは17です。", "わかりません。", "The answer is 18."]
    questions = [item(question=str(k), answer_number=18) for k in range(4)]
    assert evaluator.evaluate(Scripted(answers), questions, audit) == [1.0, 0.0, 0.0, 0.0]
    assert audit.measures() == {"unparsed": 0.25, "wrong_language": 0.25}


def test_questions_are_put_as_in_the_paper() -> None:
    model = Scripted(["18"])
    MGSM().evaluate(model, [item(question="{question}は何?", answer_number=18)])
    (prompt,) = model.prompts
    assert prompt.startswith("以下に、あるタスクを説明する指示があります。")
    assert prompt.endswith("一歩一歩考えましょう。\n\n### 指示:\n{question}は何?\n\n### 応答:")
    assert model.asked == [(1024, STOPS)]


@pytest.mark.parametrize(
    ("options", "prompt"),
    [
        ({"language": "de"}, "?"),
        ({"template": "plain"}, "?"),
        ({"language": "de", "template": "ja-alpaca-cot"}, TEMPLATES["ja-alpaca-cot"]),
        ({"template": "Q: {question}\nA:"}, "Q: ?\nA:"),
    ],
)
def test_other_templates_can_be_chosen(options: dict[str, Any], prompt: str) -> None:
    model = Scripted(["18"])
    question = item(question="?", answer_number=18)
    build_evaluator("mgsm", options | {"stop": "\n", "max_new_tokens": 9}, "t").evaluate(
        model, [question]
    )
    assert model.prompts == [prompt.replace("{question}", "?")]
    assert model.asked == [(9, ("\n",))]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"language": "jp"}, "fastText knows no language 'jp'"),
        ({"template": "ja-alpaca"}, r"no \{question\} in it \(did you mean 'ja-alpaca-cot'\?\)"),
        ({"numbers": "dot"}, "numbers must be one of point, comma, paper, not 'dot'"),
        ({"threshold": 1.0}, "threshold is a certainty from 0 to below 1, not 1.0"),
        ({"max_new_tokens": 0}, "max_new_tokens must be a whole number of at least 1"),
        ({"detector": "none", "lang": "ja"}, r"no option 'lang' \(did you mean 'language'\?\)"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        build_evaluator("mgsm", options, "mgsm")


@pytest.mark.parametrize(
    "stated",
    [
        {"answer_number": 1234},
        {"answer_number": 1234.0},
        {"answer": "1,234"},
        {"answer": "5 + 1229 = 1234.\n#### 1,234"},
        {"answer": None, "answer_number": "1234"},
    ],
)
def test_results_may_be_stated_in_several_ways(stated: dict[str, Any]) -> None:
    evaluator = MGSM(detector="none")
    question = item(question="?", **stated)
    evaluator.check_items("mgsm", [question])
    assert evaluator.evaluate(Scripted(["1234"]), [question]) == [1.0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"answer_number": 3}, "task mgsm: item 1 has no 'question'. Items need question"),
        ({"question": 3, "answer": 3}, "item 1 has a 'question' that is not a text"),
        ({"question": "?"}, "item 1 has no number for an answer. Items need answer_number or an"),
        ({"question": "?", "answer": "many"}, "item 1 has no number for an answer"),
        ({"question": "?", "answer": [3]}, "item 1 has no number for an answer"),
        ({"question": "?", "answer": True}, "item 1 has no number for an answer"),
    ],
)
def test_bad_items_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        MGSM(detector="none").check_items("mgsm", [item(**fields)])


# --------------------------------------------------------------------------------- the files


def write_files(folder: Path, search: Sequence[str], test: Sequence[str]) -> dict[str, str]:
    rows = [json.dumps({"question": q, "answer_number": 7}) for q in search]
    (folder / "search.jsonl").write_text("\n".join(rows), encoding="utf-8")
    rows = [json.dumps({"question": f"{q} (v)", "answer": "#### 7"}) for q in search]
    (folder / "validation.jsonl").write_text("\n".join(rows), encoding="utf-8")
    lines = [f"{q}\t1,00{k}\r\n" for k, q in enumerate(test)]
    (folder / "mgsm_ja.tsv").write_text("".join(lines), encoding="utf-8", newline="")
    return {
        "search": str(folder / "search.jsonl"),
        "validation": str(folder / "validation.jsonl"),
        "test": str(folder / "mgsm_ja.tsv"),
    }


def test_search_items_and_the_published_file_stay_apart(tmp_path: Path) -> None:
    data = write_files(tmp_path, ["一?", "二?", "三?"], ["四?", "五?"])
    items = read_items("mgsm", data)
    MGSM(detector="none").check_items("mgsm", items["test"])
    asked = {split: {i.fields["question"] for i in found} for split, found in items.items()}
    assert asked["search"] == {"一?", "二?", "三?"}
    assert asked["test"] == {"四?", "五?"}
    assert {i.fields["answer"] for i in items["test"]} == {"1,000", "1,001"}


def test_a_test_question_among_the_search_items_is_refused(tmp_path: Path) -> None:
    data = write_files(tmp_path, ["一?", "二?", "三?"], ["四?", "二?"])
    with pytest.raises(EvaluationError, match="1 items stand in both search and test"):
        read_items("mgsm", data)


def test_a_line_without_a_tab_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mgsm_ja.tsv"
    path.write_text("一?\t7\n二? 8\n", encoding="utf-8")
    with pytest.raises(EvaluationError, match=r"line 2 of .* is not question, tab, answer"):
        read_items("mgsm", str(path))


def test_a_real_model_is_asked_and_marked() -> None:
    folder = locate("zoo:sort")
    model = TransformersModel(load_model(folder), load_tokenizer(folder))
    questions = [item(question=q, answer=7) for q in ("s cab=", "s fed=")]
    evaluator = MGSM(language="en", detector="alphabet:a-z", max_new_tokens=8)
    audit = Audit()
    assert evaluator.evaluate(model, questions, audit) == [0.0, 0.0]
    measures = audit.measures()
    assert measures["unparsed"] == 1.0
    assert measures["wrong_language"] == 0.0
    assert measures["answers"] == 2.0
