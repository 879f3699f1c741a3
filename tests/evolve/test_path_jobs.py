"""Jobs of several paths: each scores as alone, at the price of what is different."""

from typing import Any

import pytest

from evomerge.config import RunConfig, parse_config
from evomerge.evolve.baselines import parent_trials
from evomerge.evolve.build import Setup
from evomerge.evolve.candidate import make_work
from evomerge.recipe import Hop, Recipe, make_path, parse_recipe
from evomerge.records import Candidate, Job, Outcome, Race

SORT = [Hop("zoo:sort", k) for k in range(4)]
PATHS = [
    make_path(SORT),
    make_path([*SORT[:3], Hop("zoo:reverse", 2), SORT[3]]),
    make_path([*SORT[:3], Hop("zoo:reverse", 2), Hop("zoo:reverse", 1), SORT[3]]),
    make_path([SORT[0], Hop("zoo:reverse", 1), *SORT[2:]]),
]
GENOME = {"space": "data_flow", "models": ["zoo:sort", "zoo:reverse"]}


def swap(word: str) -> str:
    """Return a word with its last two letters exchanged."""
    return word[:-2] + word[:-3:-1]


@pytest.fixture
def write(tmp_path: Any) -> Any:
    """Return make(evaluator, **options) -> a run on sorted words, of likelihoods or of texts."""
    import json

    words = ["pvx", "hmgco", "tb", "kqa", "zyx", "bac", "dfe", "ihg"]
    rows = [
        {
            "prompt": f"s {word}=",
            "choices": ["".join(sorted(word)), swap("".join(sorted(word))), word],
            "answer": 0,
            "target": "".join(sorted(word)),
            "text": "".join(sorted(word)),
            "split": split,
            "n": k,
        }
        for split in ("search", "validation", "test")
        for k, word in enumerate(w + split[0] for w in words)
    ]
    file = tmp_path / "items.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def make(evaluator: str, **options: Any) -> RunConfig:
        task = {"name": "sort", "evaluator": evaluator, "data": str(file), **options}
        return parse_config({"genome": GENOME, "tasks": [task]})

    return make


def candidates(paths: list[Recipe]) -> tuple[Candidate, ...]:
    return tuple(Candidate(f"f{k}", path) for k, path in enumerate(paths))


def run(config: RunConfig, cohort: tuple[Candidate, ...], **changes: Any) -> list[Outcome]:
    job = Job(0, cohort, {"sort": tuple(range(8))}, **changes)
    return list(make_work(Setup(config, "cpu", 1))(job).outcomes)


@pytest.mark.parametrize("evaluator", ["multiple_choice", "exact_match"])
def test_each_scores_as_alone_and_common_beginnings_are_run_once(
    evaluator: str, write: Any
) -> None:
    config = write(evaluator)
    together = run(config, candidates(PATHS))
    assert [outcome.failure for outcome in together] == [""] * 4
    for outcome, candidate in zip(together, candidates(PATHS), strict=True):
        (alone,) = run(config, (candidate,))
        assert (outcome.fingerprint, outcome.scores) == (alone.fingerprint, alone.scores)
    layers = [outcome.layers for outcome in together]
    assert layers[1:] == [(0, 0)] * 3
    run_, asked = layers[0]
    if evaluator == "multiple_choice":
        # 4 + 5 + 6 + 4 layers: three begin with three alike, two of these with a fourth
        assert run_ / asked == (3 + 1 + 1 + 1 + 1 + 1 + 3) / 19
    else:
        assert (run_, asked) == (0, 0)


def test_who_is_dropped_costs_nothing_any_more_and_the_others_go_on(write: Any) -> None:
    config = write("bits_per_byte")
    best = run(config, candidates(PATHS[:1]))[0].scores["sort"]
    rival = {key: -bits - 0.01 for key, bits in best.items()}  # the last bits are the batch's
    race = Race(alpha=0.9, first=2, every=1, per_look=True)
    lame = make_path([Hop("zoo:sort", 0), Hop("zoo:reverse", 1), SORT[3]])
    cohort = candidates([lame, *PATHS])
    together = run(config, cohort, rival_scores=rival, race=race)
    for outcome, candidate in zip(together, cohort, strict=True):
        (alone,) = run(config, (candidate,), rival_scores=rival, race=race)
        assert (outcome.raced_out, outcome.scores) == (alone.raced_out, alone.scores)
    assert together[0].raced_out
    assert not together[1].raced_out
    legs = 3  # of 2, 2 and 4 items: were nobody dropped, each would ask for as many layers
    assert together[0].layers[1] < legs * run(config, cohort)[0].layers[1]


def test_parents_paths_and_merges_may_be_one_job(write: Any) -> None:
    config = write("multiple_choice")
    blend = parse_recipe(
        {"merge_method": "linear", "models": [{"model": m} for m in GENOME["models"]],
         "parameters": {"weight": 1.0}}
    )[0]  # fmt: skip
    merged = make_path([Hop(blend, 0), Hop("zoo:sort", 1), Hop(blend, 2), Hop(blend, 3)])
    parent = parent_trials(config.genome)[0].recipe
    cohort = candidates([parent, PATHS[1], blend, merged, PATHS[0]])
    together = run(config, cohort)
    for outcome, candidate in zip(together, cohort, strict=True):
        (alone,) = run(config, (candidate,))
        assert not outcome.failure
        assert outcome.scores == alone.scores


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_path_through_layers_that_are_not_there_fails_alone(place: int, write: Any) -> None:
    beyond = make_path([Hop("zoo:sort", 0), Hop("zoo:sort", 9)])
    config = write("multiple_choice")
    cohort = candidates([*PATHS[:place], beyond, *PATHS[place:2]])
    together = run(config, cohort)
    assert [bool(outcome.failure) for outcome in together] == [k == place for k in range(3)]
    for outcome, candidate in zip(together, cohort, strict=True):
        assert outcome.scores == run(config, (candidate,))[0].scores


DAMAGE = """
def judge(subject, items):
    module = subject.module
    found = subject.score([("s ab=", "ab")])[0]
    for parameter in module.parameters():
        parameter.data.fill_(0.25)
    return [found] * len(items)
"""


def test_what_a_judge_does_to_a_path_is_not_in_the_next(write: Any, tmp_path: Any) -> None:
    (tmp_path / "damage.py").write_text(DAMAGE)
    config = write("python_function", function=f"{tmp_path / 'damage.py'}:judge")
    together = run(config, candidates(PATHS))
    for outcome, candidate in zip(together, candidates(PATHS), strict=True):
        assert outcome.scores == run(config, (candidate,))[0].scores
