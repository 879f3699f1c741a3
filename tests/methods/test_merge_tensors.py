"""Merging plain tensors at the edges of what the methods take."""

import math

import pytest
import torch
from torch import Tensor

from evomerge.errors import UnknownName
from evomerge.methods import METHODS, merge_tensors

BASED = [name for name, spec in METHODS.items() if spec.base == "required" and spec.zero_gives_base]
TRIMMED = ["ties", "dare_linear", "dare_ties"]


def draw(count: int, size: int = 300) -> list[Tensor]:
    generator = torch.Generator().manual_seed(size)
    return [torch.randn(size, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("method", TRIMMED)
def test_density_one_drops_nothing(method: str) -> None:
    base, a = draw(2)
    merged = merge_tensors(method, [a], base, weight=1.0, density=1.0)
    torch.testing.assert_close(merged, a, rtol=0, atol=1e-6)


def test_the_smallest_density_keeps_one_entry_in_ties() -> None:
    base, a = draw(2)
    merged = merge_tensors("ties", [a], base, weight=1.0, density=1e-9)
    assert int((merged != base).sum()) == 1
    assert int((merged != base).nonzero()) == int((a - base).abs().argmax())


@pytest.mark.parametrize("method", ["dare_linear", "dare_ties"])
def test_the_smallest_density_drops_everything_in_dare(method: str) -> None:
    base, a = draw(2)
    assert torch.equal(merge_tensors(method, [a], base, weight=1.0, density=1e-9), base)


@pytest.mark.parametrize("density", [0.1, 0.33, 0.9])
def test_ties_keeps_exactly_its_share(density: float) -> None:
    base, a = draw(2, size=1000)
    merged = merge_tensors("ties", [a], base, weight=1.0, density=density)
    assert int((merged != base).sum()) == int(density * 1000)


@pytest.mark.parametrize("method", TRIMMED)
def test_rescaling_restores_the_norm(method: str) -> None:
    base, a = torch.zeros(4000), draw(1, size=4000)[0]
    merged = merge_tensors(method, [a], base, weight=1.0, density=0.3, rescale=True)
    assert float(merged.abs().sum()) == pytest.approx(float(a.abs().sum()), rel=1e-5)
    assert 0.25 < float(merged.count_nonzero()) / 4000 < 0.35


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("method", BASED)
def test_models_equal_to_the_base_change_nothing(method: str, normalize: bool) -> None:
    base = draw(1)[0]
    settings = {"normalize": normalize} if "normalize" in METHODS.get(method).parameters else {}
    merged = merge_tensors(method, [base, base], base, weight=[0.3, -2.0], **settings)
    assert torch.equal(merged, base)


@pytest.mark.parametrize("method", BASED)
def test_weights_that_cancel_leave_no_hole_in_the_result(method: str) -> None:
    base, a, b = draw(3)
    settings = {"normalize": True} if "normalize" in METHODS.get(method).parameters else {}
    merged = merge_tensors(method, [a, b], base, weight=[1.0, -1.0], **settings)
    assert torch.isfinite(merged).all()


@pytest.mark.parametrize("t", [0.0, 1.0])
def test_slerp_ends_at_its_models(t: float) -> None:
    base, other = draw(2)
    assert torch.equal(merge_tensors("slerp", [other], base, t=t), other if t else base)


def test_slerp_of_opposite_vectors_goes_straight_through_zero() -> None:
    base = draw(1)[0]
    merged = merge_tensors("slerp", [-base], base, t=0.25)
    torch.testing.assert_close(merged, 0.5 * base)


def test_slerp_looks_at_the_whole_tensor_not_at_its_rows() -> None:
    base, other = torch.eye(2), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    merged = merge_tensors("slerp", [other], base, t=0.5)
    torch.testing.assert_close(merged, torch.full((2, 2), math.sqrt(0.5)))


@pytest.mark.parametrize("size", [1e20, 1e-25])
def test_slerp_of_large_and_of_tiny_values_follows_the_arc(size: float) -> None:
    base, other = torch.tensor([size, 0.0, size]), torch.tensor([0.0, size, size])
    a, b = base.double() / size, other.double() / size
    exact = (math.sin(0.7 * math.pi / 3) * a + math.sin(0.3 * math.pi / 3) * b) * size
    merged = merge_tensors("slerp", [other], base, t=0.3).double()
    torch.testing.assert_close(merged, exact / math.sin(math.pi / 3), rtol=1e-6, atol=0)


def test_one_model_is_a_merge_too() -> None:
    (a,) = draw(1)
    assert torch.equal(merge_tensors("linear", [a], weight=0.5), a)
    assert torch.equal(merge_tensors("passthrough", [a]), a)


def test_the_seed_draws_another_mask_and_the_same_seed_the_same() -> None:
    base, a = draw(2)
    first, again, other = (
        merge_tensors("dare_linear", [a], base, seed=seed, weight=1.0, density=0.5)
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_any_shape_and_dtype_comes_out_as_float32_of_that_shape() -> None:
    tensor = torch.ones((2, 3, 1), dtype=torch.bfloat16)
    merged = merge_tensors("linear", [tensor, tensor.double()], weight=1.0)
    assert (merged.shape, merged.dtype) == ((2, 3, 1), torch.float32)


@pytest.mark.parametrize("density", [0.0, 1 / 300, 0.5, 1.0])
@pytest.mark.parametrize("odd", [math.nan, math.inf])
@pytest.mark.parametrize("method", [*BASED, "slerp"])
def test_nan_in_a_model_stays_visible(method: str, odd: float, density: float) -> None:
    base, a = draw(2)
    a[7] = odd
    spec = METHODS.get(method)
    wanted = {"t": 0.5, "weight": 1.0, "density": density, "epsilon": 0.001, "rescale": False}
    values = {name: value for name, value in wanted.items() if name in spec.parameters}
    merged = merge_tensors(method, [a] * max(1, spec.min_models), base, **values)
    assert not torch.isfinite(merged[7])


A, B = torch.ones(2), torch.zeros(2)


@pytest.mark.parametrize(
    ("arguments", "values", "message"),
    [
        (("linear", [A, B]), {}, "weight is missing"),
        (("linear", [A, B]), {"weigth": 1}, "no parameter 'weigth'.*did you mean 'weight'"),
        (("linear", [A, B]), {"weight": [1]}, "weight needs 2 values"),
        (("ties", [A], B), {"weight": 1, "density": -1}, r"density must be in \[0, 1\]: -1"),
        (("della", [A], B), {"weight": 1, "density": 0.9}, r"epsilon must be in \[0, 0.1\)"),
        (("ties", [A]), {"weight": 1}, "ties needs a base tensor"),
        (("linear", [A], B), {"weight": 1}, "linear takes no base tensor"),
        (("slerp", [A, A], B), {"t": 0}, "slerp takes 1 tensors besides a base, not 2"),
        (("linear", []), {"weight": 1}, "takes 1 to any number of tensors besides a base, not 0"),
        (("linear", [A, A[:1]]), {"weight": 1}, r"differ in shape: \(1,\), \(2,\)"),
    ],
)
def test_what_cannot_be_merged_is_refused_in_one_line(
    arguments: tuple[object, ...], values: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        merge_tensors(*arguments, **values)  # type: ignore[arg-type]  # wrong on purpose
    assert "\n" not in str(caught.value)


def test_an_unknown_method_names_the_known_ones() -> None:
    with pytest.raises(UnknownName, match=r"'tise' \(did you mean 'ties'\?\)\. Known: .*linear"):
        merge_tensors("tise", [A])


@pytest.mark.parametrize("weight", [[1.0, -1.0], 0.0, [0.1, 0.2, -0.3]])
def test_an_average_is_not_divided_by_nothing(weight: float | list[float]) -> None:
    tensors = draw(len(weight) if isinstance(weight, list) else 2)
    with pytest.raises(ValueError, match="linear cannot normalize weights that sum to zero"):
        merge_tensors("linear", tensors, weight=weight)
    assert merge_tensors("linear", tensors, weight=weight, normalize=False).isfinite().all()


@pytest.mark.parametrize(
    ("method", "count", "wanted"),
    [("linear", 0, "1 to any number of"), ("passthrough", 2, "1"), ("nuslerp", 3, "2")],
)
def test_a_wrong_number_of_tensors_is_told(method: str, count: int, wanted: str) -> None:
    with pytest.raises(ValueError, match=f"takes {wanted} tensors besides a base, not {count}"):
        merge_tensors(method, draw(count))
