"""The promises of the task-arithmetic family: what is kept, what is dropped, what is divided."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evomerge.methods import METHODS, merge_tensors
from evomerge.methods.generalized_task_arithmetic import FAMILY

NAMES = [spec.name for spec in FAMILY]
SPARSE = [name for name in NAMES if "density" in METHODS.get(name).parameters]
RANDOM = ["dare_linear", "dare_ties", "della_linear", "della"]
BANDED = ["breadcrumbs", "breadcrumbs_ties"]


def draw(count: int, *shape: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(sum(shape))
    return [torch.randn(shape, generator=generator) for _ in range(count)]


def thin(name: str, delta: Tensor, **values: Any) -> Tensor:
    """Merge one model into a base of zeros: what is left of its task vector."""
    known = METHODS.get(name).parameters
    settings = {k: v for k, v in ({"normalize": False} | values).items() if k in known}
    return merge_tensors(name, [delta], torch.zeros_like(delta), weight=1.0, **settings)


def test_the_family_is_a_table_of_eight_names_and_the_general_one() -> None:
    assert len(NAMES) == 9
    general = {"weight", "density", "gamma", "epsilon", "sparsifier", "consensus"}
    assert general | {"normalize", "rescale", "lambda"} == set(FAMILY[0].parameters)
    for spec in FAMILY[1:]:
        assert set(spec.parameters) < set(FAMILY[0].parameters)
        assert not {"sparsifier", "consensus"} & set(spec.parameters)


@pytest.mark.parametrize(
    ("name", "sparsifier", "consensus"),
    [
        ("task_arithmetic", "none", "none"), ("ties", "magnitude", "sum"),
        ("dare_linear", "random", "none"), ("dare_ties", "random", "sum"),
        ("breadcrumbs", "outliers", "none"), ("breadcrumbs_ties", "outliers", "sum"),
        ("della_linear", "rank", "none"), ("della", "rank", "sum"),
    ],
)  # fmt: skip
def test_a_name_is_a_row_of_the_general_method(name: str, sparsifier: str, consensus: str) -> None:
    base, *models = draw(4, 12, 40)
    spec = METHODS.get(name)
    values: dict[str, Any] = {"weight": [0.5, 0.3, 0.4], "density": [0.3, 0.5, 0.7]}
    values = {k: v for k, v in values.items() if k in spec.parameters}
    defaults = {k: p.default for k, p in spec.parameters.items() if k not in values}
    general = merge_tensors(
        "generalized_task_arithmetic", models, base, seed=3,
        sparsifier=sparsifier, consensus=consensus, **defaults, **values,
    )  # fmt: skip
    assert torch.equal(merge_tensors(name, models, base, seed=3, **values), general)


@pytest.mark.parametrize("rescale", [True, False, "paper"])
@pytest.mark.parametrize("name", SPARSE)
def test_density_zero_gives_the_base(name: str, rescale: object) -> None:
    base, *models = draw(3, 5, 7)
    sparsifiers = ["magnitude", "random", "outliers", "rank"] if name == NAMES[0] else [None]
    for sparsifier in sparsifiers:
        chosen = {"sparsifier": sparsifier} if sparsifier else {}
        merged = merge_tensors(
            name, models, base, weight=0.7, density=0.0, rescale=rescale, **chosen
        )
        assert torch.equal(merged, base)


@pytest.mark.parametrize("rescale", [True, False, "paper"])
@pytest.mark.parametrize("name", SPARSE)
def test_density_one_is_the_plain_task_vector(name: str, rescale: object) -> None:
    (delta,) = draw(1, 5, 7)
    assert torch.equal(thin(name, delta, density=1.0, rescale=rescale), delta)


@settings(deadline=None, max_examples=60)
@given(
    raw=st.lists(st.integers(-4, 4), min_size=1, max_size=60),
    density=st.floats(0.01, 0.99),
)
def test_ties_keeps_the_strictly_larger_ones_and_of_equals_the_first(
    raw: list[int], density: float
) -> None:
    delta = torch.tensor(raw, dtype=torch.float32)
    kept = max(1, int(density * len(raw)))
    order = sorted(range(len(raw)), key=lambda i: (-abs(raw[i]), i))[:kept]
    expected = torch.zeros(len(raw))
    expected[order] = delta[order]
    assert torch.equal(thin("ties", delta, density=density), expected)


@settings(deadline=None, max_examples=80)
@given(
    size=st.integers(1, 80), density=st.floats(0.0, 0.99), gamma=st.floats(0.0, 1.0),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_breadcrumbs_counts_as_mergekit_counts(
    size: int, density: float, gamma: float, seed: int
) -> None:
    delta = torch.from_numpy(np.random.default_rng(seed).permutation(size) + 1.0).float()
    wanted, top = int(density * size), int(gamma * size)
    small = max(0, size - wanted - top)  # outliers give way where the density needs them
    expected = [float(v) if small < v <= small + wanted else 0.0 for v in delta.tolist()]
    for name in BANDED:
        assert thin(name, delta, density=density, gamma=gamma).tolist() == expected


@pytest.mark.parametrize("name", RANDOM)
def test_paper_divides_what_is_kept_by_its_probability(name: str) -> None:
    (delta,) = draw(1, 30, 50)
    epsilon = 0.1 if name.startswith("della") else 0.0
    plain = thin(name, delta, density=0.4, epsilon=epsilon, rescale=False)
    paper = thin(name, delta, density=0.4, epsilon=epsilon, rescale="paper")
    assert torch.equal(plain[plain != 0], delta[plain != 0])
    ranks = delta.abs().argsort(dim=1).argsort(dim=1)
    chances = 0.4 - epsilon + ranks / 49 * 2 * epsilon
    torch.testing.assert_close(paper, plain / chances)


@pytest.mark.parametrize("name", ["ties", *BANDED])
def test_paper_leaves_the_largest_as_they_are(name: str) -> None:
    (delta,) = draw(1, 30, 50)
    paper = thin(name, delta, density=0.4, rescale="paper")
    assert torch.equal(paper, thin(name, delta, density=0.4, rescale=False))


@pytest.mark.parametrize("name", [name for name in SPARSE if name != NAMES[0]])
def test_true_restores_the_sum_of_magnitudes(name: str) -> None:
    (delta,) = draw(1, 40, 50)
    values = {"density": 0.3, "epsilon": 0.1, "gamma": 0.05}
    left = thin(name, delta, rescale=True, **values)
    assert float(left.abs().sum()) == pytest.approx(float(delta.abs().sum()), rel=1e-5)
    plain = thin(name, delta, rescale=False, **values)
    ratio = (left / plain)[plain != 0]
    assert float(ratio.max() - ratio.min()) < 1e-5


@pytest.mark.parametrize("name", SPARSE[1:])
def test_a_task_vector_of_zeros_stays_zero(name: str) -> None:
    assert not thin(name, torch.zeros(6, 8), density=0.5, rescale=True).any()


def test_in_della_the_large_are_kept_more_often_than_the_small() -> None:
    row = torch.linspace(1.0, 2.0, 40)
    delta = row.repeat(4000, 1)
    kept = (thin("della", delta, density=0.5, epsilon=0.3, rescale=False) != 0).float().mean(dim=0)
    expected = torch.linspace(0.2, 0.8, 40)
    assert float((kept - expected).abs().max()) < 4 * 0.5 / 4000**0.5
    assert float(kept.mean()) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("shape", [(), (1,), (300, 1)])
def test_in_della_a_row_of_one_has_the_density_itself(shape: tuple[int, ...]) -> None:
    delta = torch.ones(shape)
    kept = thin("della_linear", delta, density=0.5, epsilon=0.4, rescale="paper")
    assert set(kept.unique().tolist()) <= {0.0, 2.0}
    assert 0.4 * delta.numel() - 1 < float((kept != 0).sum()) < 0.6 * delta.numel() + 1


def test_in_della_a_vector_is_one_row() -> None:
    (vector,) = draw(1, 500)
    as_vector = thin("della", vector, density=0.5, epsilon=0.3)
    assert torch.equal(as_vector, thin("della", vector.view(1, -1), density=0.5, epsilon=0.3)[0])


@pytest.mark.parametrize(
    ("density", "epsilon", "most"),
    [(0.9, 0.15, "0.1"), (0.1, 0.1, "0.1"), (0.85, 0.15, "0.15"), (0.5, 0.9, "0.5")],
)
@pytest.mark.parametrize("name", ["della", "della_linear", "generalized_task_arithmetic"])
def test_chances_outside_zero_and_one_are_refused(
    name: str, density: float, epsilon: float, most: str
) -> None:
    chosen = {"sparsifier": "rank"} if name.startswith("gen") else {}
    message = rf"epsilon must be in \[0, {most}\), not {epsilon}: density ± epsilon must lie within"
    with pytest.raises(ValueError, match=message):
        METHODS.get(name).settle({"weight": 1, "density": density, "epsilon": epsilon, **chosen}, 1)


@pytest.mark.parametrize("density", [0.0, 1.0])
def test_without_chance_any_epsilon_will_do(density: float) -> None:
    METHODS.get("della").settle({"weight": 1, "density": density, "epsilon": 0.9}, 1)
    general = METHODS.get("generalized_task_arithmetic")
    general.settle({"weight": 1, "density": 0.9, "sparsifier": "random"}, 1)


@settings(deadline=None, max_examples=100)
@given(density=st.floats(0, 1), epsilon=st.floats(0, 1))
def test_reconciled_chances_are_accepted(density: float, epsilon: float) -> None:
    della = METHODS.get("della")
    values = {"weight": 1.0, "density": density, "epsilon": epsilon}
    found = della.reconcile(values)
    assert not della.complain_together(found)
    assert found["density"] == density
    if not della.complain_together(values):
        assert found == values


@pytest.mark.parametrize("name", RANDOM)
def test_a_mask_is_a_function_of_seed_model_and_index(name: str) -> None:
    base, a, b = draw(3, 20, 30)
    both = merge_tensors(name, [a, b], base, seed=4, weight=[1.0, 0.0], density=0.5)
    alone = merge_tensors(name, [a], base, seed=4, weight=1.0, density=0.5)
    other = merge_tensors(name, [a], base, seed=5, weight=1.0, density=0.5)
    assert torch.equal(both, alone)
    assert not torch.equal(alone, other)


def test_normalize_divides_by_those_that_took_part() -> None:
    base = torch.zeros(3)
    a, b = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([3.0, -1.0, 0.0])
    merge = {"weight": [0.5, 0.25], "normalize": True}
    elected = merge_tensors("ties", [a, b], base, **merge).tolist()
    assert elected == pytest.approx([1.25 / 0.75, 2.0, 4.0])
    everyone = merge_tensors("task_arithmetic", [a, b], base, **merge)
    assert everyone.tolist() == pytest.approx([1.25 / 0.75, 0.75 / 0.75, 2.0 / 0.75])


def test_normalized_weights_that_cancel_count_as_they_are() -> None:
    base = torch.zeros(2)
    a, b = torch.tensor([4.0, 1.0]), torch.tensor([-2.0, 3.0])
    for weights in ([0.5, -0.5], [0.1, -0.1]):
        for name in ("task_arithmetic", "ties"):
            merged = merge_tensors(name, [a, b], base, weight=weights, normalize=True)
            both, first = weights[0] * 6.0, weights[0] * -2.0
            # ties: 0.5·1 and -0.5·3 disagree, and the latter is divided by its own weight
            second = first if name == "task_arithmetic" else 3.0
            assert merged.tolist() == pytest.approx([both, second])


@pytest.mark.parametrize("name", NAMES)
def test_lambda_scales_what_is_added(name: str) -> None:
    base, *models = draw(3, 9, 11)
    full, half, none = (
        merge_tensors(name, models, base, weight=0.6, lambda_=scale) for scale in (1.0, 0.5, 0.0)
    )
    torch.testing.assert_close(half - base, (full - base) / 2, atol=1e-6, rtol=1e-5)
    assert torch.equal(none, base)


@pytest.mark.parametrize("name", NAMES)
def test_a_negative_weight_turns_a_task_vector_around(name: str) -> None:
    base, a = draw(2, 9, 11)
    values = {"normalize": False, "weight": -0.7}
    merged = merge_tensors(name, [a], base, **values)
    turned = merge_tensors(name, [2 * base - a], base, **(values | {"weight": 0.7}))
    torch.testing.assert_close(merged, turned, atol=1e-5, rtol=1e-5)
