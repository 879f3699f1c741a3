"""A language model as evolution strategy: what it is shown, and what becomes of its answers."""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from evomerge.errors import EndpointError, EvoMergeException
from evomerge.records import Evaluated
from evomerge.search.llm_es import LLM
from evomerge.search.prompt import answer_fittest
from evomerge.space import Gene, SearchSpace
from evomerge.testing.searchers import check_searcher
from evomerge.types import Message, Reply

if TYPE_CHECKING:
    from evomerge.types import Genome

PLAIN = SearchSpace([Gene("a"), Gene("b", 0.0, 4.0)])
MIXED = SearchSpace([*(Gene(f"{k}") for k in range(10)), Gene("c", choices=("x", "y", "z"))])


class Model:
    """Answers by a function of how often it was asked, and remembers the questions."""

    def __init__(self, answer: Callable[[int], str]) -> None:
        self.questions: list[list[Message]] = []
        self._answer = answer

    def __call__(self, messages: Sequence[Message]) -> Reply:
        self.questions.append(list(messages))
        return self._answer(len(self.questions)), {"model": "scripted"}


def climb(searcher: LLM, generations: int = 4) -> "list[Genome]":
    asked = []
    for _ in range(generations):
        points = searcher.ask()
        searcher.tell([Evaluated(p, (-float(((p - 0.8) ** 2).sum()),)) for p in points])
        asked += points
    return asked


def tell(searcher: LLM, *results: tuple[list[float], float]) -> None:
    searcher.ask()
    searcher.tell([Evaluated(np.array(point), (score,)) for point, score in results])


def test_searcher_keeps_the_contract() -> None:
    check_searcher(lambda space, seed: LLM(space, seed=seed, backend="mock"))


def test_model_names_the_mean_of_the_next_generation() -> None:
    searcher = LLM(PLAIN, ask=Model(lambda _: "[25, 80]"), population=200, sigma_high=0.1)
    tell(searcher, ([0.5, 0.5], 1.0))
    drawn = np.array(searcher.ask())
    assert np.allclose(drawn.mean(axis=0), [0.25, 0.8], atol=0.02)
    assert np.allclose(searcher.recommend(), [[0.25, 0.8]])


def test_generations_and_members_are_shown_from_worst_to_best() -> None:
    model = Model(lambda _: "[50, 50]")
    searcher = LLM(PLAIN, ask=model, population=4, context_generations=2, context_members=2)
    tell(searcher, ([0.1, 0.1], 0.9), ([0.2, 0.2], 0.1), ([0.3, 0.3], 0.5))
    tell(searcher, ([0.4, 0.4], 0.2))
    tell(searcher, ([0.5, 0.5], 0.3), ([0.6, 0.6], float("nan")))
    searcher.ask()
    _, *shown = model.questions[-1][0]["content"].split("\n\n")
    assert shown == ["failed: [60, 60]\n0.3: [50, 50]", "0.5: [30, 30]\n0.9: [10, 10]", "1.3:"]


def test_what_has_no_full_score_is_shown_with_the_reason() -> None:
    model = Model(lambda _: "[50, 50]")
    searcher = LLM(PLAIN, ask=model, population=4)
    point = np.array([0.5, 0.5])
    searcher.ask()
    searcher.tell(
        [
            Evaluated(point, (0.7,), violation=0.1),
            Evaluated(point, (0.9,), raced_out=True),
            Evaluated(point, (0.2, 0.6), overall=0.4),
        ]
    )
    searcher.ask()
    shown = model.questions[0][0]["content"].split("\n\n")[1:]
    assert shown == ["dropped: [50, 50]\ninfeasible: [50, 50]\n0.4: [50, 50]", "0.404:"]


@pytest.mark.parametrize(
    ("scores", "shown"),
    [
        ((0.8, 0.79999), ["0.79999", "0.8", "0.80001:"]),
        ((0.8, 0.5), ["0.5", "0.8", "1.1:"]),
        ((0.3, 0.1 + 0.2), ["0.3", "0.3", "0.303:"]),
        ((1.0, 1.0 - 1e-9), ["0.999999999", "1", "1.000000001:"]),
        ((12345.6, 12345.5), ["12345.5", "12345.6", "12345.7:"]),
    ],
)
def test_the_best_and_the_aim_are_told_apart(scores: tuple[float, float], shown: list[str]) -> None:
    model = Model(lambda _: "[50, 50]")
    searcher = LLM(PLAIN, ask=model)
    tell(searcher, *(([0.5, 0.5], score) for score in scores))
    searcher.ask()
    _, lines, aim = model.questions[0][0]["content"].split("\n\n")
    assert [*(line.partition(":")[0] for line in lines.splitlines()), aim] == shown


def test_nothing_tells_the_fitness_where_it_is_hidden() -> None:
    """Neither a number, nor an order, nor who is shown: equal asks whatever was told."""
    said = []
    for sign in (1.0, -1.0):
        model = Model(lambda _: "[50, 50]")
        searcher = LLM(PLAIN, ask=model, population=6, show_fitness=False, context_members=3)
        for scores in ((1.0, 2.0, 3.0, 4.0), (9.0, 0.0, 5.0, 7.0)):
            points = [[0.1 * k, 0.2] for k in range(len(scores))]
            tell(searcher, *zip(points, [sign * score for score in scores], strict=True))
        searcher.ask()
        said.append(model.questions[-1][0]["content"])
    assert said[0] == said[1]
    assert "fitness" not in said[0]


def test_many_genes_are_asked_for_block_by_block(tmp_path: Path) -> None:
    searcher = LLM(MIXED, backend="mock", block=4, log=tmp_path / "log", resolution=1000)
    climb(searcher, 2)
    questions = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    sizes = [len(json.loads(question["answer"])) for question in questions]
    assert sizes == [4, 4, 3]
    text = questions[2]["messages"][0]["content"]
    assert "3 integers from 0 to at most 1000, 1000, 2 in this order" in text
    assert "Integers number 3 stand for choices" in text


def test_bad_answer_is_asked_for_again_with_the_reason() -> None:
    model = Model(lambda n: "I think [50]" if n == 1 else "[25, 80]")
    searcher = LLM(PLAIN, ask=model)
    climb(searcher, 2)
    assert np.allclose(searcher.recommend(), [[0.25, 0.8]])
    assert searcher.fallbacks == 0
    assert not searcher.remarks()
    assert [turn["role"] for turn in model.questions[1]] == ["user", "assistant", "user"]
    assert model.questions[1][1]["content"] == "I think [50]"
    assert "holds 1 integers, not 2" in model.questions[1][2]["content"]


def test_mean_of_the_best_stands_in_for_an_answer_that_stays_bad(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = Model(lambda _: "no idea\n")
    searcher = LLM(PLAIN, ask=model, max_retries=2, population=4, context_members=2)
    with caplog.at_level(logging.WARNING):
        tell(searcher, ([0.2, 0.4], 1.0), ([0.4, 0.8], 2.0), ([0.9, 0.9], 0.0))
        tell(searcher, ([0.2, 0.4], 0.0))
        assert len(model.questions) == 3
        assert np.allclose(searcher.recommend(), [[0.3, 0.6]])
        searcher.ask()
    assert (searcher.fallbacks, searcher.proposed) == (2, 2)
    assert searcher.remarks() == [
        "2 of 2 answers of the language model were replaced by the mean of the best"
    ]
    [record] = caplog.records
    assert r"'no idea\n' is no answer: it holds no list in brackets" in record.getMessage()


def test_search_goes_on_when_the_endpoint_does_not(caplog: pytest.LogCaptureFixture) -> None:
    """Its other blocks are not asked for in vain; the next generation tries again."""
    asked = 0

    def fail(messages: Sequence[Message]) -> Reply:
        nonlocal asked
        asked += 1
        if asked > 1:
            return answer_fittest(messages)
        raise EndpointError("the language model is down", "Start it")

    searcher = LLM(MIXED, ask=fail, block=4)
    climb(searcher, 2)
    assert (asked, searcher.fallbacks) == (1, 3)
    assert "the language model is down. Start it" in caplog.text
    climb(searcher, 1)
    assert (asked, searcher.fallbacks) == (4, 3)


@pytest.mark.parametrize("known", [0, 1, 2, 4])
def test_interrupted_search_goes_on_from_its_log(tmp_path: Path, known: int) -> None:
    log = tmp_path / "log.jsonl"
    texts = {1: "[50, 50]", 2: "nonsense", 3: "[90, 10]", 4: "[1]", 5: "[10, 90]", 6: "[0, 0]"}
    whole = climb(LLM(PLAIN, seed=7, ask=Model(texts.__getitem__), log=log))
    lines = log.read_text().splitlines(keepends=True)
    assert len(lines) == 5
    log.write_text("".join(lines[:known]) + lines[-1][:20])
    model = Model(lambda n: texts[known + n])
    again = climb(LLM(PLAIN, seed=7, ask=model, log=log))
    assert np.array_equal(whole, again)
    assert len(model.questions) == 5 - known
    assert [json.loads(line)["answer"] for line in log.read_text().splitlines()] == [
        texts[number] for number in range(1, 6)
    ]


def test_replay_needs_no_model_and_says_where_it_differs(tmp_path: Path) -> None:
    log = tmp_path / "exchanges-0.jsonl"
    whole = climb(LLM(PLAIN, seed=7, backend="mock", log=log))
    for replay in (log, tmp_path):
        replayed = LLM(PLAIN, seed=7, replay=replay, log=tmp_path / "other")
        replayed.probe()
        assert np.array_equal(whole, climb(replayed))
    assert not (tmp_path / "other").exists()
    other = LLM(PLAIN, seed=8, replay=str(log))
    with pytest.raises(EvoMergeException, match=r"cannot be replayed here: question 1 of this"):
        climb(other)


def test_no_model_is_asked_for_a_generation_that_is_not_drawn() -> None:
    model = Model(lambda _: "[50, 50]")
    searcher = LLM(PLAIN, ask=model, max_generation=3)
    climb(searcher, 3)
    assert searcher.finished
    searcher.recommend()
    assert len(model.questions) == 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"population": 1}, "llm needs a population of at least 2"),
        ({"context_members": 0}, "context_members must be at least 1, not 0"),
        ({"context_generations": 0}, "context_generations must be at least 1"),
        ({"block": 0}, "block must be at least 1"),
        ({"resolution": 0}, "resolution must be at least 1"),
        ({"max_retries": -1}, "max_retries >= 0"),
        ({"timeout": 0.0}, "timeout > 0"),
        ({"timeout": float("nan")}, "timeout > 0"),
        ({"backend": "local"}, "a local model is loaded by a run"),
        ({"backend": "remote"}, "backend is openai, local, mock, not 'remote'"),
        ({"replay": "nowhere.jsonl"}, "there is no log of exchanges at nowhere.jsonl"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        LLM(PLAIN, **{"backend": "mock", **options})
