"""The built-in suite: its weights, its items, and real models that take it."""

import json
import math
from collections.abc import Sequence
from typing import Any

import pytest

from evomerge.checkpoints.loading import load_model, load_tokenizer
from evomerge.checkpoints.locate import locate
from evomerge.errors import EvaluationError
from evomerge.evaluation import SPLITS, Audit, Evaluator, build_evaluator, share_out
from evomerge.evaluation.suite import templates
from evomerge.evaluation.suite.battery import PARTS, Suite
from evomerge.evaluation.suite.sandbox import run_calls
from evomerge.inference.transformers_model import TransformersModel
from evomerge.records import Item

FEWEST = 60
"""Items of every part."""


def items_of(part: str) -> tuple[Evaluator, dict[str, tuple[Item, ...]]]:
    evaluator = build_evaluator("suite", {}, part)
    items = share_out(part, evaluator.documents() or {})
    for found in items.values():
        evaluator.check_items(part, found)
    return evaluator, items


def test_the_parts_have_the_weights_of_the_original() -> None:
    shares = Suite.parts("suite", {})
    assert shares == {
        "perplexity": 0.2,
        "coding": 0.15,
        "mathematics": 0.15,
        "writing": 0.15,
        "coherence": 0.15,
        "zero_shot_classification": 0.1,
        "zero_shot_qa": 0.1,
    }
    assert math.fsum(shares.values()) == 1.0


def test_a_part_can_be_a_task_of_its_own() -> None:
    assert Suite.parts("coding", {}) == {"coding": 1.0}
    assert Suite.parts("mine", {"part": "coding"}) == {"mine": 1.0}
    assert build_evaluator("suite", {"part": "coherence"}, "mine").fields == ()


def test_names_that_are_no_part_are_refused() -> None:
    with pytest.raises(EvaluationError, match=r"no part 'codng' \(did you mean 'coding'\?\). Call"):
        Suite.parts("codng", {})
    with pytest.raises(EvaluationError, match="the suite has no part 'poetry'"):
        build_evaluator("suite", {"part": "poetry"}, "mine")


def test_only_perplexity_is_better_when_lower() -> None:
    directions = {part: items_of(part)[0].higher_is_better for part in PARTS}
    assert [part for part, higher in directions.items() if not higher] == ["perplexity"]


@pytest.mark.parametrize("part", PARTS)
def test_every_part_has_items_in_three_fixed_splits(part: str) -> None:
    _, items = items_of(part)
    counts = {split: len(found) for split, found in items.items()}
    total = sum(counts.values())
    assert total >= FEWEST
    assert counts["search"] == round(0.4 * total)
    assert abs(counts["validation"] - counts["test"]) <= 1
    again = share_out(part, Suite(part).documents(), seed=1)
    for split in SPLITS:
        assert {i.key for i in items[split]} == {i.key for i in again[split]}


@pytest.mark.parametrize("part", PARTS)
def test_no_item_stands_twice(part: str) -> None:
    rows = [row for found in Suite(part).documents().values() for row in found]
    texts = [json.dumps(row, sort_keys=True) for row in rows]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("name", ["mathematics", "writing"])
def test_items_from_templates_are_what_the_templates_write(name: str) -> None:
    write = {"mathematics": templates.write_mathematics, "writing": templates.write_writing}[name]
    lines = (templates.FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == list(write())


def test_every_coding_task_has_a_solution_that_earns_full_marks() -> None:
    evaluator, items = items_of("coding")
    everything = [item for found in items.values() for item in found]
    program = "".join(i.fields["prompt"] + i.fields["solution"] + "\n" for i in everything)
    program += "def every(calls):\n    return [globals()[name](*a) for name, a in calls]\n"
    calls = [[i.fields["function"], call[0]] for i in everything for call in i.fields["calls"]]
    results = [call[1] for i in everything for call in i.fields["calls"]]
    assert run_calls(program, "every", [[calls]]) == [results]
    first = everything[:3]
    assert (
        evaluator.evaluate(Answering(["\n" + i.fields["solution"] for i in first]), first)
        == [1.0] * 3
    )


def test_no_story_and_no_label_gives_itself_away_by_its_place() -> None:
    for part in ("coherence", "zero_shot_classification"):
        _, items = items_of(part)
        for item in (item for found in items.values() for item in found):
            choices = item.fields["choices"]
            assert len(set(choices)) == len(choices)
            if part == "coherence":  # the same sentences, so the same length
                assert len({len(choice) for choice in choices}) == 1
        answers = [i.fields["answer"] for found in items.values() for i in found]
        assert max(answers.count(k) for k in set(answers)) < 0.6 * len(answers)


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        (" Oslo", 1.0),
        (" oslo.", 1.0),
        ("\n\nOslo\n\nQuestion:", 1.0),
        (" The answer is: Oslo", 1.0),
        (" the Oslo", 1.0),
        (" Oslo (Norway)", 1.0),
        (" Bergen", 0.0),
        ("", 0.0),
        (" Not Oslo", 0.0),
    ],
)
def test_short_answers_are_found(answer: str, score: float) -> None:
    evaluator = build_evaluator("suite", {}, "zero_shot_qa")
    item = Item("k", "t", {"prompt": "?", "target": ["Oslo"]})
    assert evaluator.evaluate(Answering([answer]), [item]) == [score]


@pytest.fixture(scope="module")
def model() -> TransformersModel:
    folder = locate("zoo:sort")
    module = load_model(folder)
    module.config.max_position_embeddings = 1024  # rotary positions have no end
    return TransformersModel(module, load_tokenizer(folder))


@pytest.mark.parametrize("part", PARTS)
def test_a_real_model_takes_the_suite(part: str, model: TransformersModel) -> None:
    evaluator, items = items_of(part)
    audit = Audit()
    scores = evaluator.evaluate(model, items["search"][:3], audit)
    assert all(0.0 <= score <= (50.0 if part == "perplexity" else 1.0) for score in scores)
    assert audit.measures()


class Answering:
    """A LanguageModel that gives prepared answers."""

    tokenizer = module = None

    def __init__(self, answers: Sequence[str]) -> None:
        self._answers = answers

    def generate(self, prompts: Sequence[str], **options: Any) -> list[str]:
        assert options["max_new_tokens"] > 0
        assert len(prompts) == len(self._answers)
        return list(self._answers)
