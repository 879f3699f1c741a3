"""Native kernels against the torch form: the same bits, on every path this processor runs."""

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar, get_args

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from evomerge.errors import EvoMergeException
from evomerge.tensor_ops import kernels, native_library
from evomerge.tensor_ops.blocks import Block, Scratch, Views, gather
from evomerge.tensor_ops.consensus import (
    Election,
    RandomMask,
    Thinning,
    Votes,
    thinned_norms,
)
from evomerge.tensor_ops.interpolation import Blend
from evomerge.tensor_ops.philox import draw_bits, philox_key
from evomerge.tensor_ops.quantile import Deltas, MagnitudeCut, find_largest, find_magnitude_cuts
from evomerge.tensor_ops.random_mask import keep_mask
from evomerge.tensor_ops.ranked_chances import RankedChances
from evomerge.tensor_ops.ranks import WORTH_SAMPLING, Magnitudes, magnitudes
from evomerge.tensor_ops.reductions import ROW, gram

T = TypeVar("T")
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
INTEGERS = {torch.float32: torch.int32, torch.bfloat16: torch.int16, torch.float16: torch.int16}
EDGES = {
    torch.float32: [0, 1, 0x007FFFFF, 0x00800000, 0x477FEFFF, 0x477FF000, 0x7F7F8000, 0x7F800000],
    torch.bfloat16: [0, 1, 0x7F, 0x80, 0x477F, 0x7F7F, 0x7F80],
    torch.float16: [0, 1, 0x3FF, 0x400, 0x7BFF, 0x7C00],
}
"""Bits of zero, subnormals, what just overflows or does not, and infinity, in each dtype."""

NANS = {
    torch.float32: [0x7FC00000, 0x7F800001],
    torch.bfloat16: [0x7FC0, 0x7F81],
    torch.float16: [0x7E00, 0x7C01],
}

SIZES = st.integers(0, 70) | st.sampled_from([1023, 1024, 1025, 2047, 2049, 4095, 6151])
WEIGHTS = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 1e-30]) | st.floats(-3, 3)
FACTORS = st.sampled_from([1.0, 2.0, 1 / 3]) | st.floats(0.1, 3)
PATHS = native_library.available()


def test_where_there_is_a_compiler_there_are_kernels() -> None:
    if any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        assert PATHS, f"build them: {native_library.REBUILD}"
        assert "baseline" in PATHS


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(native_library.SWITCH, request.param)
    return str(request.param)


def draw_tensor(
    draw: st.DrawFn, size: int, *, nan: bool, dtypes: tuple[torch.dtype, ...] = DTYPES
) -> Tensor:
    """Random numbers around one, some of them equal, some of them edges of their dtype."""
    dtype = draw(st.sampled_from(dtypes))
    seed = draw(st.integers(0, 2**30))
    random = np.random.default_rng(seed)
    values = torch.from_numpy(random.normal(size=size)).to(dtype)
    values = torch.where(torch.from_numpy(random.random(size) < 0.3), values.round(), values)
    odd = EDGES[dtype] + (NANS[dtype] if nan else [])
    bits = torch.from_numpy(random.choice(odd, size)).to(INTEGERS[dtype]).view(dtype)
    signs = torch.from_numpy(random.choice([1.0, -1.0], size)).to(dtype)
    share = draw(st.sampled_from([0.0, 0.02, 0.5]))
    return torch.where(torch.from_numpy(random.random(size) < share), bits * signs, values)


@st.composite
def operand_tensors(draw: st.DrawFn, nan: bool = True) -> tuple[list[Tensor], Tensor]:
    size, count = draw(SIZES), draw(st.integers(1, 6))
    dtypes = draw(st.sampled_from([DTYPES, (torch.bfloat16,)]))
    tensors = [draw_tensor(draw, size, nan=nan, dtypes=dtypes) for _ in range(count + 1)]
    return tensors[1:], tensors[0]


def assert_same_bits(native: Tensor, reference: Tensor) -> None:
    numbers = ~reference.isnan()  # of a NaN torch itself gives other bits in vectors than alone
    assert torch.equal(native.isnan(), ~numbers)
    integers = INTEGERS[native.dtype]
    unlike = numbers & (native.view(integers) != reference.view(integers))
    places = unlike.nonzero().flatten().tolist()
    assert not places, (native[places[:5]], reference[places[:5]], places[:5])


def check_formula(
    formula: Blend | Election, tensors: list[Tensor], base: Tensor | None, start: int = 0
) -> None:
    for dtype in DTYPES:
        out = torch.full((len(tensors[0]),), 7.0).to(dtype)
        floats = [tensor.float().clone() for tensor in tensors]
        origin = None if base is None else base.float().clone()
        block = Block(start, floats, origin, torch.empty(len(out)))
        reference = formula(block).to(dtype)
        finite = formula.write(Views(start, tensors, base), out)
        assert finite is bool(torch.isfinite(reference).all())
        assert_same_bits(out, reference)


def hold_to_torch(examples: int) -> Any:
    """Run a property on every path: the fixture sets a variable, which examples may share."""
    shared = [HealthCheck.function_scoped_fixture]
    return settings(deadline=None, max_examples=examples, suppress_health_check=shared)


@pytest.mark.usefixtures("path")
@hold_to_torch(60)
@given(case=operand_tensors(), data=st.data())
def test_a_blend_has_the_bits_of_torch(
    case: tuple[list[Tensor], Tensor], data: st.DataObject
) -> None:
    tensors, base = case
    weights = tuple(data.draw(WEIGHTS) for _ in tensors)
    divisor, scale = data.draw(FACTORS), data.draw(WEIGHTS)
    check_formula(Blend(weights, deltas=True, divisor=divisor, scale=scale), tensors, base)
    check_formula(Blend(weights, divisor=divisor), tensors, None)
    check_formula(Blend(weights, base=data.draw(WEIGHTS)), tensors, base)


@st.composite
def cuts(draw: st.DrawFn, delta: Tensor, start: int) -> MagnitudeCut | None:
    """None, or a cut at a magnitude that occurs (or at another), for some of its equals."""
    if draw(st.booleans()):
        return None
    others = [0.0, 0.7, math.inf, math.nan, 3.4028234663852886e38]
    sizes = [abs(v) for v in delta.float().tolist()[:8]]
    place = draw(st.integers(start - 2, start + len(delta) + 1))
    return MagnitudeCut(draw(st.sampled_from(others + sizes)), place)


@st.composite
def thinnings(draw: st.DrawFn, delta: Tensor, start: int, *, plain: bool = False) -> Thinning:
    if plain:
        return Thinning(floor=draw(cuts(delta, start)), ceiling=draw(cuts(delta, start)))
    key = (draw(st.integers(0, 9)), "model", "tensor")
    density = st.sampled_from([0.0, 1.0, 2.0**-32]) | st.floats(0, 1)
    return Thinning(
        floor=draw(cuts(delta, start)),
        ceiling=draw(cuts(delta, start)),
        mask=draw(st.none() | st.builds(RandomMask, st.just(key), density)),
        factor=draw(FACTORS),
    )


@pytest.mark.usefixtures("path")
@hold_to_torch(160)
@given(case=operand_tensors(), data=st.data(), start=st.integers(0, 3000))
def test_an_election_has_the_bits_of_torch(
    case: tuple[list[Tensor], Tensor], data: st.DataObject, start: int
) -> None:
    tensors, base = case
    deltas, plain = [tensor.float() - base.float() for tensor in tensors], data.draw(st.booleans())
    election = Election(
        weights=tuple(data.draw(WEIGHTS) for _ in tensors),
        thinnings=tuple(data.draw(thinnings(d, start, plain=plain)) for d in deltas),
        consensus=data.draw(st.sampled_from(get_args(Votes))),
        normalize=data.draw(st.booleans()),
        scale=data.draw(FACTORS),
    )
    check_formula(election, tensors, base, start)


@pytest.mark.usefixtures("path")
@hold_to_torch(30)
@given(seed=st.integers(0, 2**64), start=st.integers(0, 2**40), length=st.integers(0, 100))
def test_draws_are_those_of_numpy(seed: int, start: int, length: int) -> None:
    key = philox_key((seed, "model", "tensor"))
    drawn = kernels.draw(key, start, length)
    assert drawn is not None
    assert np.array_equal(drawn, draw_bits(key, start, length))


def outcome_in_torch(compute: Callable[[], T]) -> T:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(native_library.SWITCH, "off")
        return compute()


@pytest.mark.usefixtures("path")
@hold_to_torch(40)
@given(case=operand_tensors(nan=False), deltas=st.booleans(), block=st.sampled_from([1, 3]))
def test_inner_products_have_the_bits_of_torch(
    case: tuple[list[Tensor], Tensor], deltas: bool, block: int
) -> None:
    operands = gather(*case, scratch=Scratch(block * ROW))
    assert kernels.gram(operands, deltas=deltas) is not None
    reference = outcome_in_torch(lambda: gram(operands, deltas=deltas))
    assert repr(gram(operands, deltas=deltas)) == repr(reference)


@pytest.mark.usefixtures("path")
@hold_to_torch(40)
@given(case=operand_tensors(nan=False), data=st.data(), block=st.sampled_from([1, 3]))
def test_norms_have_the_bits_of_torch(
    case: tuple[list[Tensor], Tensor], data: st.DataObject, block: int
) -> None:
    one = gather(*case, scratch=Scratch(block * ROW)).only(0)
    thinning = data.draw(thinnings(case[0][0].float() - case[1].float(), 0))
    assert kernels.norms(one, thinning) is not None
    reference = outcome_in_torch(lambda: thinned_norms(one, thinning))
    assert repr(thinned_norms(one, thinning)) == repr(reference)


@pytest.mark.usefixtures("path")
@hold_to_torch(60)
@given(case=operand_tensors(nan=False), share=st.floats(0, 1), block=st.integers(60, 3000))
def test_cuts_are_those_of_torch(
    case: tuple[list[Tensor], Tensor], share: float, block: int
) -> None:
    one = gather(*case, scratch=Scratch(block)).only(0)
    if not one.numel:
        return
    keeps = [max(1, int(share * one.numel)), one.numel, 1]
    native = find_magnitude_cuts(Deltas(one), keeps), find_largest(Deltas(one), keeps)
    reference = outcome_in_torch(
        lambda: (find_magnitude_cuts(Deltas(one), keeps), find_largest(Deltas(one), keeps))
    )
    assert repr(native) == repr(reference)  # infinity minus infinity equals itself


def make_large(kind: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    base = torch.randn(WORTH_SAMPLING + 77, generator=generator).mul_(0.02)
    delta = torch.randn(len(base), generator=generator).mul_(0.002)
    if kind == "ascending":
        delta = delta.abs().sort().values
    if kind == "mostly equal":
        delta = torch.where(delta > 0, 1 / 64, delta)
    if kind == "mostly unchanged":
        delta = torch.where(delta.abs() < 0.003, 0.0, delta)
    if kind == "unlike its sample":
        delta[: WORTH_SAMPLING // 2] *= 50
        delta[::1024] = 0.0
    return base + delta, base


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("divide", [False, True])
@pytest.mark.parametrize("width", [32, 50, 257, 2048])
def test_elements_dropped_by_rank_are_those_torch_drops(width: int, divide: bool) -> None:
    generator = torch.Generator().manual_seed(width)
    delta = torch.randn(3 * width, generator=generator).bfloat16().float()  # many equals
    delta[5], delta[7], delta[width], delta[::9] = math.nan, -math.inf, math.inf, 0.0
    chances = RankedChances(width, 0.5, 0.3)
    mask = RandomMask((0, "model", "tensor"), 0.5, chances, divide)
    drawn = chances(delta)
    kept = keep_mask(mask.key, width, len(delta), drawn)
    expected = (delta / drawn if divide else delta.clone()).mul_(kept)
    found = delta.clone()
    assert kernels.thin_by_rank_(found, mask, width)
    assert torch.equal(found.isnan(), expected.isnan())
    assert torch.equal(found.nan_to_num(7.0), expected.nan_to_num(7.0))
    assert torch.equal(found.signbit(), expected.signbit())


def of_rows(width: int, dtype: torch.dtype) -> tuple[list[Tensor], Tensor]:
    """Three models and a base of 3 rows, with many equal magnitudes and a few odd ones."""
    generator = torch.Generator().manual_seed(width)
    base = torch.randn(3 * width, generator=generator).mul_(0.02)
    models = [base + torch.randn(3 * width, generator=generator).mul_(1e-3) for _ in range(3)]
    models[0][7], models[1][width], models[2][::9] = -math.inf, 0.0, base[::9]
    return [model.to(dtype) for model in models], base.to(dtype)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [32, 50, 1027, 2048])
@pytest.mark.parametrize("consensus", ["none", "sum"])
def test_masks_kept_from_norms_are_those_of_torch(
    width: int, dtype: torch.dtype, consensus: Votes
) -> None:
    tensors, base = of_rows(width, dtype)
    by_rank = RandomMask((0, "a", "t"), 0.5, RankedChances(width, 0.5, 0.3))
    masks = [by_rank, RandomMask((0, "b", "t"), 0.53), RandomMask((0, "c", "t"), 0.5)]
    operands = gather(tensors, base, scratch=Scratch(2 * width))  # two blocks, the last shorter
    thinnings = []
    for i, mask in enumerate(masks):
        plain = Thinning(mask=RandomMask(mask.key, mask.density, mask.chances))
        one = replace(operands.only(i), shape=(3, width), granularity="rows")
        before = outcome_in_torch(lambda one=one, plain=plain: thinned_norms(one, plain))
        found = kernels.norms(one, Thinning(mask=mask))
        assert repr(found) == repr(before)
        assert mask.drawn
        thinnings.append(Thinning(mask=mask, factor=1.9))
    election = Election((0.5, 0.3, 0.4), tuple(thinnings), consensus, normalize=False)
    check_formula(election, tensors, base)
    for start, length in one.extents():
        out, again = torch.empty(length, dtype=dtype), torch.empty(length, dtype=dtype)
        views = operands.view(start, length)
        forgotten = [replace(t, mask=replace(t.mask, drawn={})) for t in thinnings if t.mask]
        assert election.write(views, out) is not None
        assert replace(election, thinnings=tuple(forgotten)).write(views, again) is not None
        assert_same_bits(out, again)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "kind",
    [
        "random",
        "ascending",
        "mostly equal",
        "mostly unchanged",
        "unlike its sample",
    ],
)
def test_cuts_found_by_a_sample_are_exact(kind: str, dtype: torch.dtype) -> None:
    model, base = (tensor.to(dtype) for tensor in make_large(kind))
    deltas = Deltas(gather([model], base))
    size = len(model)
    keeps = [size // 5, size // 100, 1, size - 1, size]
    native = find_magnitude_cuts(deltas, keeps)
    assert magnitudes(deltas.operands) is not None
    assert native == outcome_in_torch(lambda: find_magnitude_cuts(deltas, keeps))


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("kind", ["random", "mostly equal", "mostly unchanged"])
def test_what_most_elements_share_needs_no_second_walk(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count_everything(_: Magnitudes) -> None:
        raise AssertionError("a walk more than the sample asks for")

    monkeypatch.setattr(Magnitudes, "_count_upper", count_everything)
    model, base = (tensor.to(torch.bfloat16) for tensor in make_large(kind))
    size = len(model)
    cuts = find_magnitude_cuts(Deltas(gather([model], base)), [size // 2, size // 100])
    delta = model.float() - base.float()
    for cut, keep in zip(cuts, [size // 2, size // 100], strict=True):
        assert int(cut.keeps(delta, 0).sum()) == keep


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_large_result_goes_past_the_caches_unharmed(dtype: torch.dtype) -> None:
    size = (9 << 20) // dtype.itemsize + 5
    model = torch.linspace(-2, 2, size).to(torch.bfloat16)
    base = model.flip(0).contiguous()
    cut = MagnitudeCut(1.0, size // 3)
    for shift in (0, 1):  # an address that cannot be streamed to
        room = torch.full((size + 2,), 7.0).to(dtype)
        out = room[shift : shift + size]
        election = Election((1.0, 0.5), (Thinning(floor=cut), Thinning()), "sum", normalize=True)
        assert election.write(Views(0, [model, model.neg()], base), out)
        (block,) = gather([model, model.neg()], base, scratch=Scratch(size)).walk()
        assert torch.equal(out, election(block).to(dtype))
        assert (room[:shift] == 7).all()
        assert (room[shift + size :] == 7).all()


@pytest.mark.usefixtures("path")
def test_more_models_than_fit_into_registers_are_merged() -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(300, generator=generator).half() for _ in range(41)]
    check_formula(Blend((0.1,) * 40, deltas=True), tensors[1:], tensors[0])
    thinned = (Thinning(mask=RandomMask((0, "", ""), 0.5)),) * 40
    for consensus in get_args(Votes):
        check_formula(Election((0.1,) * 40, thinned, consensus, True), tensors[1:], tensors[0])


@pytest.mark.usefixtures("path")
def test_what_the_kernels_cannot_read_is_left_to_torch() -> None:
    plain, out = torch.ones(4), torch.full((4,), 7.0)
    for other in (plain.double(), torch.ones(8)[::2], plain.to("meta")):
        assert Blend((1.0,)).write(Views(0, [other], None), out) is None
        assert Blend((1.0,), deltas=True).write(Views(0, [plain], other), out) is None
    assert Blend((1.0,)).write(Views(0, [plain], None), out[:3]) is None
    assert Blend((1.0, 2.0)).write(Views(0, [plain], None), out) is None
    assert Blend((1.0,), deltas=True).write(Views(0, [plain], None), out) is None
    by_rank = Thinning(mask=RandomMask((0, "", ""), 0.5, chances=torch.abs))
    election = Election((1.0,), (by_rank,), "none", normalize=False)
    assert election.write(Views(0, [plain], plain), out) is None
    assert kernels.gram(gather([plain.double()]), deltas=False) is None
    assert kernels.norms(gather([plain], plain), by_rank) is None
    assert magnitudes(gather([plain.double()], plain)) is None
    assert out.tolist() == [7.0] * 4


def test_switched_off_everything_is_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(native_library.SWITCH, "off")
    assert Blend((1.0,)).write(Views(0, [torch.ones(4)], None), torch.ones(4)) is None
    assert kernels.draw(bytes(16), 0, 1) is None
    assert native_library.describe() == "torch (EVOMERGE_KERNELS=off)"


def test_the_path_in_use_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(native_library.SWITCH, raising=False)
    assert native_library.describe() == f"{PATHS[0]} (the widest this processor runs)"
    monkeypatch.setenv(native_library.SWITCH, "baseline")
    assert native_library.describe() == "baseline (EVOMERGE_KERNELS=baseline)"


def test_a_path_that_cannot_be_had_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(native_library.SWITCH, "avx3")
    with pytest.raises(EvoMergeException, match="'avx3', which is no path"):
        native_library.current()
    if "avx512" not in PATHS:
        monkeypatch.setenv(native_library.SWITCH, "avx512")
        with pytest.raises(EvoMergeException, match="this processor does not run them"):
            native_library.current()
