"""Populations: each member scores to the bit as alone, at the price of what is different."""

import math
import random
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.genome import DataFlowSpace
from evomerge.inference import batches, families, prefix_tree
from evomerge.inference.layer_host import LayerHost
from evomerge.inference.layer_path import LayerPath, LayerPool, find_steps
from evomerge.inference.prefix_tree import Population, plant
from evomerge.inference.scoring import Tally
from evomerge.inference.transformers_model import TransformersModel
from evomerge.recipe import find_hops

Make = Callable[..., TransformersModel]
Hops = Sequence[tuple[Any, int, float]]
KINDS = ["llama", "qwen3", "mistral", "gemma2", "gemma3_text", "gpt_neox", "gpt2", "phi3"]
LIMIT = 160
LAYERS = [("A", 0), ("A", 1), ("B", 0), ("B", 1), ("B", 2), ("B", 3)]
FORK = [
    [("A", 0, 1.0), ("A", 1, 1.0)],
    [("A", 0, 1.0), ("B", 0, 1.0), ("A", 1, 1.0)],
    [("A", 0, 1.0), ("B", 0, 1.0), ("B", 1, 1.0), ("A", 1, 1.0)],
]
"""Nine layers of six different beginnings."""

token = st.integers(3, 23)
row = st.lists(token, min_size=1, max_size=9)
scale = st.sampled_from([1.0, 1.0, 1.0, 0.9, 1.2])
hop = st.tuples(st.sampled_from(LAYERS), scale).map(lambda drawn: (*drawn[0], drawn[1]))
path = st.lists(hop, min_size=1, max_size=6)


@pytest.fixture
def pool(make: Make) -> LayerPool:
    return LayerPool(
        {"A": make("llama", limit=LIMIT), "B": make("llama", limit=LIMIT, deeper=True)}
    )


def ask(count: int = 5, seed: int = 0) -> list[tuple[list[int], list[int]]]:
    """Make contexts of equal length with three answers each: one batch, and what continues it."""
    source = random.Random(seed)
    contexts = [source.choices(range(3, 24), k=20) for _ in range(count)]
    return [(context, source.choices(range(3, 24), k=3)) for context in contexts for _ in range(3)]


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=8)
@given(data=st.data())
def test_each_member_scores_to_the_bit_as_it_does_alone(
    kind: str, make: Make, data: st.DataObject
) -> None:
    models = {"A": make(kind, limit=LIMIT), "B": make(kind, limit=LIMIT, deeper=True)}
    stems = data.draw(st.lists(st.lists(token, max_size=50), min_size=1, max_size=2))
    contexts = st.tuples(st.sampled_from(stems), row).map(lambda parts: (*parts[0], *parts[1]))
    known = data.draw(st.lists(contexts, min_size=1, max_size=5))
    requests = data.draw(st.lists(st.tuples(st.sampled_from(known), row), min_size=1, max_size=12))
    paths = data.draw(st.lists(path, min_size=1, max_size=6))
    target = data.draw(st.sampled_from(["stream", "delta"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefix_tree, "HELD", data.draw(st.sampled_from([1, 60, 1 << 15])))
        patch.setattr(families, "LEAST", data.draw(st.sampled_from([4, 32])))
        patch.setattr(batches, "BATCH_TOKENS", data.draw(st.sampled_from([90, 8192])))
        pool = LayerPool(models)
        population = Population(pool, paths, target)
        for number, hops in enumerate(paths):
            alone = LayerPath(pool, hops, target).score_tokens(requests)
            assert population.member(number).score_tokens(requests) == alone


@contextmanager
def counting(pool: LayerPool) -> Iterator[list[int]]:
    """Count how often layers are run, in the only element."""
    runs = [0]
    hooks = [
        layer.register_forward_hook(lambda *_: runs.__setitem__(0, runs[0] + 1))
        for host in pool.hosts.values()
        for layer in host.layers
    ]
    try:
        yield runs
    finally:
        for hook in hooks:
            hook.remove()


def test_what_paths_have_in_common_is_computed_once_and_the_rest_is_remembered(
    pool: LayerPool,
) -> None:
    population = Population(pool, FORK)
    requests = ask()
    passes = 2  # contexts, and what continues them
    with counting(pool) as runs:
        population.member(1).score_tokens(requests)
        assert runs[0] == 6 * passes
        for number in (0, 2):
            population.member(number).score_tokens(requests)
        assert runs[0] == 6 * passes
    assert (population.computed, population.asked) == (6, 9)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (2, 0, 1)])
@pytest.mark.parametrize("error", [MemoryError, RuntimeError])
def test_who_fails_fails_alone(
    error: type[Exception], order: tuple[int, ...], pool: LayerPool
) -> None:
    def refuse(*_: Any) -> None:
        raise error("layer B1")

    expected = [LayerPath(pool, hops).score_tokens(ask()) for hops in FORK[:2]]
    population = Population(pool, FORK)
    pool.hosts["B"].layers[1].register_forward_hook(refuse)
    for number in order:
        member = population.member(number)
        if number == 2:
            with pytest.raises(error, match="layer B1"):
                member.score_tokens(ask())
            population.drop(number)
        else:
            assert member.score_tokens(ask()) == expected[number]


def test_what_was_foretold_is_not_lost_when_somebody_fails(pool: LayerPool) -> None:
    population = Population(pool, FORK)
    population.drop(2)
    population.member(0).score_tokens(ask())

    def refuse(*_: Any) -> None:
        raise MemoryError

    with counting(pool) as runs:
        hook = pool.hosts["B"].layers[1].register_forward_hook(refuse)
        with pytest.raises(MemoryError):
            population.member(2).score_tokens(ask())
        hook.remove()
        before = runs[0]
        population.member(1).score_tokens(ask())
        assert runs[0] == before


def test_a_path_may_be_longer_than_calls_can_be_nested(pool: LayerPool) -> None:
    ends = [("A", 0, 1.0), ("A", 1, 1.0)]
    paths = [ends * 600, [*ends * 599, ("B", 0, 1.0), ("A", 1, 1.0)]]
    population, requests = Population(pool, paths), [([3, 4, 5], [6])]
    for number, hops in enumerate(paths):
        alone = LayerPath(pool, hops).score_tokens(requests)
        assert population.member(number).score_tokens(requests) == alone
    assert (population.computed, population.asked) == (1202, 2400)


def test_equal_paths_are_computed_once(pool: LayerPool) -> None:
    population = Population(pool, [FORK[1], FORK[1], FORK[1]])
    found = [population.member(number).score_tokens(ask()) for number in range(3)]
    assert found[0] == found[1] == found[2]
    assert (population.computed, population.asked) == (3, 9)


def test_paths_that_begin_with_different_models_are_trees_of_their_own(pool: LayerPool) -> None:
    other = [[("B", layer, scale) for _, layer, scale in hops] for hops in FORK]
    population = Population(pool, [*FORK, *other])
    population.member(4).score_tokens(ask())
    assert population.computed == 5
    population.member(0).score_tokens(ask())
    assert (population.computed, population.asked) == (11, 18)


def test_nothing_is_computed_for_a_member_that_was_dropped(pool: LayerPool) -> None:
    population = Population(pool, FORK)
    population.drop(2)
    population.member(0).score_tokens(ask())
    assert (population.computed, population.asked) == (4, 5)
    expected = LayerPath(pool, FORK[2]).score_tokens(ask())
    assert population.member(2).score_tokens(ask()) == expected, "unless it asks after all"
    assert population.computed == 8
    population.drop(1)
    population.member(0).score_tokens(ask(seed=1))
    assert (population.computed, population.asked) == (10, 11)


def test_members_that_ask_what_others_did_not_are_on_their_own(pool: LayerPool) -> None:
    population = Population(pool, FORK)
    found = [population.member(k).score_tokens(ask(seed=k)) for k in range(3)]
    assert population.computed == 6 + 3 + 4
    for k, scores in enumerate(found):
        assert scores == LayerPath(pool, FORK[k]).score_tokens(ask(seed=k))
    assert population.member(2).score_tokens(ask(seed=0)) == LayerPath(pool, FORK[2]).score_tokens(
        ask(seed=0)
    )
    assert population.computed == 6 + 3 + 4, "what was foretold is not forgotten"


def test_several_questions_are_answered_in_whatever_order(pool: LayerPool) -> None:
    population = Population(pool, FORK)
    for number, order in enumerate([(0, 1), (1, 0), (0, 1)]):
        for seed in order:
            population.member(number).score_tokens(ask(seed=seed))
    assert (population.computed, population.asked) == (12, 18)


def test_texts_are_scored_and_written_as_alone(pool: LayerPool) -> None:
    population, requests = (
        Population(pool, FORK),
        [("abc = ", "def"), ("abc = ", "dea"), ("h", "a")],
    )
    for number, hops in enumerate(FORK):
        member, alone = population.member(number), LayerPath(pool, hops)
        assert member.score(requests) == alone.score(requests)
        prompts = ["abc =", "hij"]
        assert member.generate(prompts, max_new_tokens=6) == alone.generate(
            prompts, max_new_tokens=6
        )
    assert population.computed < population.asked


@pytest.mark.parametrize("repeats", [1, 2, 3])
@pytest.mark.parametrize("depths", [(12, 12), (12, 16), (24, 24, 24)])
def test_the_first_stage_of_a_search_saves_more_than_half(
    depths: tuple[int, ...], repeats: int
) -> None:
    genome = DataFlowSpace(dict(zip("ABC", depths, strict=False)), repeats=repeats, scales="none")
    rng = np.random.default_rng(0)
    points = [genome.space.quantile(rng.random(len(genome.space))) for _ in range(64)]
    hops = [find_hops(genome.decode(point)) for point in points]
    paths = [find_steps([(hop.model, hop.layer, hop.scale) for hop in one]) for one in hops]
    root = plant({path: Tally([]) for path in paths})
    assert sum(map(len, paths)) > 2 * root.count_steps()


@torch.inference_mode()
def test_few_hidden_states_are_kept_at_a_time(
    pool: LayerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = random.Random(1)
    paths = {
        (("A", 0, 1.0), *((*generator.choice(LAYERS), 1.0) for _ in range(12))) for _ in range(64)
    }
    kept: list[Any] = []
    most = 0

    def spy(host: LayerHost, *arguments: Any) -> torch.Tensor:
        nonlocal most
        out = run(host, *arguments)
        kept[:] = [one for one in kept if one() is not None]
        kept.append(weakref.ref(out))
        most = max(most, len(kept))
        return out

    run = LayerHost.run
    monkeypatch.setattr(LayerHost, "run", spy)
    population = Population(pool, sorted(paths))
    population.member(0).score_tokens([([3, 4, 5], [6])])
    assert population.computed > 400
    assert most <= math.log2(64) + 2
