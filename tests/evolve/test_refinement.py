"""Few groups of layers first, and smaller ones around the winner while validation improves."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evomerge.config import parse_config
from evomerge.engine import Models
from evomerge.errors import ConfigError
from evomerge.evolve import evolve, resume
from evomerge.evolve.build import build_searcher
from evomerge.evolve.phases import plan_phases, share_out
from evomerge.store import CandidateRow, open_store

Document = dict[str, Any]
MakeDocument = Callable[..., Document]
MERGE = {
    "models": ["zoo:sort", "zoo:reverse"],
    "merge_method": "task_arithmetic",
    "base_model": "zoo:base",
    "own_embeddings": False,
}
JUDGE = """
def judge(recipe, items):
    slices = recipe.get("slices", [])
    heads = [part["sources"][0]["parameters"]["weight"] for part in slices] or [0.0]
    return [{score} for item in items]
"""
STILL, FINER, FIRST = "0.5", "len(slices) / 10", "(len(slices) == 2) / 2"


@pytest.fixture
def document(tmp_path: Path) -> MakeDocument:
    """Return make(score, refine, **search) -> a run whose judge looks at recipes only."""
    splits = [name for name in ("search", "validation", "test") for _ in range(4)]
    rows = [{"x": k, "split": split} for k, split in enumerate(splits)]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def make(score: str, refine: list[int], **search: Any) -> Document:
        judge = tmp_path / "judge.py"
        judge.write_text(JUDGE.replace("{score}", score))
        task = {
            "name": "made up",
            "evaluator": "python_function",
            "data": str(tmp_path / "items.jsonl"),
            "function": f"{judge}:judge",
            "subject": "recipe",
        }
        return {
            "genome": MERGE | {"refine": refine},
            "tasks": [task],
            "search": {"algorithm": "cma", "evaluations": 60, "population": 10} | search,
            "executor": {"name": "local", "threads": 1},
            "finalists": 2,
        }

    return make


def rows(folder: Path, stage: str) -> list[CandidateRow]:
    with open_store(folder) as store:
        return store.candidates(stage)


def count(found: list[CandidateRow]) -> dict[str, int]:
    return {name: sum(row.phase == name for row in found) for name in {row.phase for row in found}}


def test_every_size_of_groups_is_a_phase_with_an_equal_part_of_the_budget(
    document: MakeDocument,
) -> None:
    phases = plan_phases(parse_config(document(STILL, [0, 2, 1])), Models())
    assert [phase.name for phase in phases] == ["one group", "groups of 2", "groups of 1"]
    assert [(phase.after, phase.refines) for phase in phases] == [
        (None, False),
        (0, True),
        (1, True),
    ]
    assert share_out(60, phases) == [20, 20, 20]


def test_search_goes_on_in_smaller_groups_while_validation_improves(
    document: MakeDocument, tmp_path: Path
) -> None:
    result = evolve(document(FINER, [0, 2, 1]), runs=tmp_path)
    assert count(rows(result.folder, "search")) == {
        "one group": 20, "groups of 2": 20, "groups of 1": 20
    }  # fmt: skip
    (winner, *_) = rows(result.folder, "test")
    assert len(winner.recipe["slices"]) == 4


@pytest.mark.parametrize("score", [STILL, FIRST])
def test_search_ends_where_smaller_groups_are_no_better(
    score: str, document: MakeDocument, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refine = [0, 2, 1] if score == STILL else [2, 1, 0][:2]
    with caplog.at_level(logging.WARNING):
        result = evolve(document(score, [*refine]), runs=tmp_path)
    found = count(rows(result.folder, "search"))
    if score == FIRST:  # the last phase is worse: the winner of the one before it stays
        assert found == {"groups of 2": 30, "groups of 1": 30}
        (winner, *_) = rows(result.folder, "test")
        assert len(winner.recipe["slices"]) == 2
    else:
        assert found == {"one group": 20, "groups of 2": 20}
        assert "groups of 2 were no better on validation items: 20 evaluations" in caplog.text


def test_smaller_groups_begin_at_the_winner_with_half_the_step(document: MakeDocument) -> None:
    config = parse_config(document(STILL, [0, 1], mean=0.1, sigma=0.2, population=200))
    first, second = plan_phases(config, Models())
    before = first.make(None)
    winner = before.decode(np.array([0.4, 0.8]))
    space = second.make(winner).space
    assert np.allclose(space.start(), [0.4] * 4 + [0.8] * 4)
    points = np.array(build_searcher(config, space, 1, refines=True).ask())
    assert np.allclose(points.mean(axis=0), space.start(), atol=0.04)
    assert points[:, :4].std(axis=0) == pytest.approx([0.1] * 4, abs=0.02)


@pytest.mark.parametrize("warm_start", [False, True])
def test_mean_of_every_phase_is_among_its_finalists(
    warm_start: bool, document: MakeDocument, tmp_path: Path
) -> None:
    made = document(FINER, [0, 2, 1], warm_start=warm_start, restarts="bipop")
    result = evolve(made, runs=tmp_path)
    names = [
        row.label for stage in ("snapshot", "validation") for row in rows(result.folder, stage)
    ]
    for phase in ("one group", "groups of 2", "groups of 1"):
        assert any(name.startswith(f"distribution mean of {phase}") for name in names)


@pytest.mark.parametrize("stop", [5, 26, 45])
def test_search_that_was_stopped_in_any_phase_goes_on_with_the_same_candidates(
    stop: int, document: MakeDocument, tmp_path: Path
) -> None:
    class Stopper:
        """Stops after so many candidates."""

        left = stop

        def begin(self, label: str, total: int) -> None:
            """Count on."""

        def advance(self, steps: int = 1, note: str = "") -> None:  # noqa: ARG002 - as it is called
            self.left -= steps
            if self.left <= 0:
                raise KeyboardInterrupt

        def end(self) -> None:
            """Count on."""

    wanted = document(FINER, [0, 2, 1], warm_start=True)
    whole = evolve(wanted, runs=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        evolve(wanted, runs=tmp_path / "parts", progress=Stopper())
    parts = resume("run", runs=tmp_path / "parts")
    for stage in ("search", "snapshot", "validation", "test"):
        first, second = (
            [(row.label, row.phase, row.fingerprint, row.objective) for row in found]
            for found in (rows(whole.folder, stage), rows(parts.folder, stage))
        )
        assert first == second


def test_groups_that_are_no_smaller_in_these_models_are_refused(document: MakeDocument) -> None:
    with pytest.raises(ConfigError, match=r"genome.refine\[1\]: groups of 9 layers are no smaller"):
        plan_phases(parse_config(document(STILL, [0, 9, 1])), Models())


@pytest.mark.parametrize(
    ("algorithm", "narrowed"),
    [
        ("natural_niches", {}),
        ("map_elites", {"_sigma": 0.05}),
        ("hill_climbing", {"_sigmas": (0.1, 0.025)}),
        ("tournament", {"mutation_rate": 0.05}),
    ],
)
def test_every_searcher_with_a_step_halves_it_and_others_refine_without(
    algorithm: str, narrowed: dict[str, Any], document: MakeDocument
) -> None:
    made = document(STILL, [0, 1])
    config = parse_config(made | {"search": {"algorithm": algorithm, "evaluations": 60}})
    space = plan_phases(config, Models())[0].make(None).space
    searcher = build_searcher(config, space, 1, refines=True)
    assert {name: getattr(searcher, name) for name in narrowed} == narrowed


@pytest.mark.parametrize("algorithm", ["random", "grid"])
def test_searchers_that_begin_nowhere_refine_nothing(
    algorithm: str, document: MakeDocument
) -> None:
    made = document(STILL, [0, 1]) | {"search": {"algorithm": algorithm, "evaluations": 60}}
    with pytest.raises(ConfigError, match=f"genome.refine: {algorithm} cannot begin at the winner"):
        parse_config(made)
