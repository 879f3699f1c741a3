"""Conformance of merge methods: run it over a method of your own.

```python
import pytest
from evomerge.testing.methods import CHECKS
from my_package.median import median  # made with @merge_method


@pytest.mark.parametrize("check", CHECKS)
def test_median_keeps_its_promises(check):
    check(median)
```

A check makes small random tensors from a fixed seed, merges them with the declared defaults and
with values drawn from the declared ranges, and raises AssertionError where a promise is broken.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evomerge.methods.spec import MISSING, MethodSpec, ParameterSpec
from evomerge.tensor_ops.blocks import Operands, Scratch, TensorBlocks, gather

SHAPE = (41, 97)
"""Odd on purpose: no block size divides 3977 elements."""
SMALL_BLOCK = 1000
TOLERANCE = 1e-5
"""Of float32 results, relative to the largest input: partial sums may be added in another order."""
MODELS = 3


def check_shape_is_kept(spec: MethodSpec) -> None:
    """Matrices, vectors, single numbers and empty tensors give as many numbers as go in."""
    for shape in (SHAPE, (7,), (), (0, 3)):
        operands = _draw_operands(spec, shape)
        for values in _draw_values(spec, operands):
            filled = not torch.isnan(_merge(spec, operands, values)).any()
            _demand(filled, spec, f"leaves elements of shape {shape} out with {values}")


def check_finite_stays_finite(spec: MethodSpec) -> None:
    """Finite inputs, among them zeros and equal tensors, give finite results."""
    for operands in _edge_operands(spec):
        for values in _draw_values(spec, operands):
            merged = _merge(spec, operands, values)
            _demand(bool(torch.isfinite(merged).all()), spec, f"is not finite with {values}")


def check_blocks_do_not_matter(spec: MethodSpec) -> None:
    """Block after block gives what the whole tensor at once gives."""
    operands = _draw_operands(spec)
    for values in _draw_values(spec, operands):
        whole = _merge(spec, operands, values)
        for block in (8, SMALL_BLOCK):
            pieces = _merge(spec, replace(operands, scratch=Scratch(block)), values)
            _demand_close(pieces, whole, spec, f"depends on blocks of {block} with {values}")


def check_inputs_stay_as_they_are(spec: MethodSpec) -> None:
    """The models' tensors are only read."""
    operands = _draw_operands(spec)
    before = [tensor.clone() for tensor in _tensors(operands)]
    for values in _draw_values(spec, operands):
        _merge(spec, operands, values)
        same = all(map(torch.equal, _tensors(operands), before))
        _demand(same, spec, f"writes into its inputs with {values}")


def check_repeats_itself(spec: MethodSpec) -> None:
    """The same merge has the same bits again, in used buffers, and with two threads."""
    threads = torch.get_num_threads()
    operands = _draw_operands(spec, (400, 211))
    try:
        for values in _draw_values(spec, operands):
            torch.set_num_threads(1)
            first = _merge(spec, operands, values)
            torch.set_num_threads(2)
            again = _merge(spec, operands, values)
            _demand(torch.equal(first, again), spec, f"differs the second time with {values}")
    finally:
        torch.set_num_threads(threads)


def check_randomness_is_declared(spec: MethodSpec) -> None:
    """The seed changes the result of a method declared random, and of no other."""
    operands = _draw_operands(spec)
    changed = [
        not torch.equal(
            _merge(spec, operands, values), _merge(spec, replace(operands, seed=1), values)
        )
        for values in _draw_values(spec, operands)
    ]
    _demand(any(changed) == spec.random, spec, f"is declared random={spec.random}")


def check_symmetric(spec: MethodSpec) -> None:
    """Declared symmetric: the order of the models, with their parameters, is of no importance."""
    if not spec.symmetric:
        return
    operands = _draw_operands(spec)
    turned = replace(operands, models=operands.models[::-1], keys=operands.keys[::-1])
    for values in _draw_values(spec, operands):
        backwards = {k: v[::-1] if isinstance(v, tuple) else v for k, v in values.items()}
        forth, back = _merge(spec, operands, values), _merge(spec, turned, backwards)
        _demand_close(back, forth, spec, f"depends on the models' order with {values}")


def check_keeps_identical(spec: MethodSpec) -> None:
    """Declared to keep identical models (and base): with its defaults they merge to themselves."""
    if not spec.keeps_identical:
        return
    operands = _draw_operands(spec)
    one = operands.models[0]
    same = replace(
        operands, models=(one,) * len(operands.models), base=one if operands.base else None
    )
    values = next(_draw_values(spec, operands))
    _demand_close(_merge(spec, same, values), _flat(one), spec, f"changes twins with {values}")


def check_zero_weights_give_the_base(spec: MethodSpec) -> None:
    """Declared to give the base when all weights are zero: it does, exactly."""
    if not spec.zero_gives_base:
        return
    operands = _draw_operands(spec)
    assert operands.base is not None, f"{spec.name} declares zero_gives_base but has no base"
    for values in _draw_values(spec, operands):
        nothing = {**values, "weight": (0.0,) * len(operands.models)}
        same = torch.equal(_merge(spec, operands, nothing), _flat(operands.base))
        _demand(same, spec, f"is not the base with {nothing}")


def check_single_value_stands_for_all(spec: MethodSpec) -> None:
    """A per-model parameter given once is that value for every model."""
    operands = _draw_operands(spec)
    for values in _draw_values(spec, operands):
        firsts = {k: v[0] if isinstance(v, tuple) else v for k, v in values.items()}
        lists = {k: [v[0]] * len(v) if isinstance(v, tuple) else v for k, v in values.items()}
        once, listed = (spec.settle(v, len(operands.models)) for v in (firsts, lists))
        _demand(once == listed, spec, f"reads {firsts} not as {lists}")
        same = torch.equal(_merge(spec, operands, once), _merge(spec, operands, listed))
        _demand(same, spec, f"merges {firsts} not as {lists}")


def check_is_described(spec: MethodSpec) -> None:
    """There is a line for `evomerge ls methods`, and the defaults are inside their bounds."""
    _demand(bool(spec.summary), spec, "has no docstring")
    for parameter in spec.parameters.values():
        complaint = "" if parameter.default is MISSING else parameter.complain(parameter.default)
        _demand(not complaint, spec, f"has a bad default: {complaint}")
        bounds, search = parameter.range, parameter.search
        if search:
            fits = bounds is None or (bounds.holds(search.low) and bounds.holds(search.high))
            _demand(fits and search.low < search.high, spec, f"searches {search} in {bounds}")


CHECKS: tuple[Callable[[MethodSpec], None], ...] = (
    check_shape_is_kept,
    check_finite_stays_finite,
    check_blocks_do_not_matter,
    check_inputs_stay_as_they_are,
    check_repeats_itself,
    check_randomness_is_declared,
    check_symmetric,
    check_keeps_identical,
    check_zero_weights_give_the_base,
    check_single_value_stands_for_all,
    check_is_described,
)
"""Every check; each takes a MethodSpec and raises AssertionError."""


def _demand(holds: bool, spec: MethodSpec, message: str) -> None:
    if not holds:
        raise AssertionError(f"{spec.name} {message}")


def _demand_close(found: Tensor, wanted: Tensor, spec: MethodSpec, message: str) -> None:
    off = float((found - wanted).abs().max()) / (1.0 + float(wanted.abs().max()))
    _demand(off <= TOLERANCE, spec, f"{message}: off by {off:g}")


def _merge(spec: MethodSpec, operands: Operands, values: dict[str, Any]) -> Tensor:
    formula = spec.bind(operands, values)
    out = torch.full((operands.numel,), torch.nan)
    for block in operands.walk():
        result = formula(block)
        fits = result.shape == block.spare.shape and result.dtype == torch.float32
        _demand(fits, spec, f"gives {list(result.shape)} {result.dtype} for a block of its inputs")
        out[block.start : block.start + len(result)] = result
    return out


def _draw_operands(
    spec: MethodSpec, shape: tuple[int, ...] = SHAPE, scale: float = 1.0
) -> Operands:
    generator = torch.Generator().manual_seed(len(shape))
    count = max(spec.min_models, min(MODELS, spec.max_models or MODELS))
    drawn = [torch.randn(shape, generator=generator) * scale for _ in range(count + 1)]
    base = drawn[0] if spec.base == "required" else None
    operands = gather(drawn[1:], base)
    return replace(operands, keys=tuple(f"model {i}" for i in range(count)), name="layers.0.weight")


def _edge_operands(spec: MethodSpec) -> Iterator[Operands]:
    ordinary = _draw_operands(spec)
    zero = TensorBlocks(torch.zeros(SHAPE))
    one = ordinary.models[0]
    minus = TensorBlocks(-_flat(one).view(SHAPE))
    yield ordinary
    yield _draw_operands(spec, scale=1e-6)
    yield _draw_operands(spec, scale=1e6)
    for models, base in ((zero, zero), (one, one), (zero, one), (one, zero), (minus, one)):
        many = (models,) * len(ordinary.models)
        yield replace(ordinary, models=many, base=base if ordinary.base else None)


def _draw_values(spec: MethodSpec, operands: Operands) -> Iterator[dict[str, Any]]:
    """Yield the defaults, then values from all over the ranges: three sets, always the same."""
    rng = np.random.default_rng(0)
    models = len(operands.models)
    for number in range(3):
        drawn = {
            name: _draw_value(parameter, models, rng)
            for name, parameter in spec.parameters.items()
            if number or parameter.default is MISSING
        }
        yield spec.settle(drawn, models)


def _draw_value(parameter: ParameterSpec, models: int, rng: np.random.Generator) -> Any:
    values = [_draw_one(parameter, rng) for _ in range(models if parameter.per_model else 1)]
    return values if parameter.per_model else values[0]


def _draw_one(parameter: ParameterSpec, rng: np.random.Generator) -> Any:
    kinds: Sequence[Any] = [*parameter.choices, *([False, True] * (bool in parameter.kinds))]
    if kinds:
        return kinds[int(rng.integers(len(kinds)))]
    low, high = 0.1, 2.0
    if parameter.range:
        low, high = max(low, parameter.range.low), min(high, parameter.range.high)
    if parameter.search:
        low, high = parameter.search.low, parameter.search.high
    return float(rng.uniform(low, high))


def _tensors(operands: Operands) -> list[Tensor]:
    blocks = (*operands.models, *([operands.base] if operands.base else []))
    return [_flat(part) for part in blocks]


def _flat(blocks: Any) -> Tensor:
    out = torch.empty(blocks.numel)
    blocks.read(0, out)
    return out
