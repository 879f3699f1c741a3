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
with values drawn from the declared ranges (every choice of a `Literal` is met, declared limits
are kept), and raises AssertionError where a promise is broken.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evomerge.methods.spec import MISSING, MethodSpec, ParameterSpec
from evomerge.tensor_ops.blocks import Blocks, Operands, Scratch, TensorBlocks, gather
from evomerge.tensor_ops.reductions import ROW

SHAPE = (41, 97)
"""Odd on purpose: no block size divides 3977 elements."""
EVEN_SHAPE = (41, 128)
"""Whole rows that fill blocks of 1024."""
UNEVEN_BLOCKS = (203, 1000)
TOLERANCE = 1e-5
"""Of float32 results, relative to the largest, where sums may be added in another order."""
MODELS = 3


def check_shape_is_kept(spec: MethodSpec) -> None:
    """Matrices, vectors, single numbers and empty tensors give as many numbers as go in."""
    for shape in (SHAPE, (7,), (), (0, 3)):
        for operands, values in _draw_cases(spec, shape):
            filled = not torch.isnan(_merge(spec, operands, values)).any()
            _demand(filled, spec, f"leaves elements of shape {shape} out with {values}")


def check_finite_stays_finite(spec: MethodSpec) -> None:
    """Finite inputs, among them zeros and equal tensors, give finite results."""
    for ordinary, values in _draw_cases(spec):
        for operands in _edges(ordinary):
            merged = _merge(spec, operands, values)
            _demand(bool(torch.isfinite(merged).all()), spec, f"is not finite with {values}")


def check_blocks_do_not_matter(spec: MethodSpec) -> None:
    """Block after block gives what the whole tensor gives: the same bits, where blocks are even.

    That is where they start at multiples of 1024, as the engine's do; partial sums of other
    blocks may be rounded otherwise.
    """
    for shape in (SHAPE, EVEN_SHAPE):
        for operands, values in _draw_cases(spec, shape):
            whole = _merge(spec, operands, values)
            for block in (*UNEVEN_BLOCKS, ROW, 3 * ROW):
                parts = replace(operands, scratch=Scratch(block))
                pieces, message = _merge(spec, parts, values), f"depends on blocks of {block}"
                if parts.step % ROW == 0 or parts.step >= parts.numel:
                    _demand(torch.equal(pieces, whole), spec, f"{message} with {values}")
                _demand_close(pieces, whole, spec, f"{message} with {values}")


def check_inputs_stay_as_they_are(spec: MethodSpec) -> None:
    """The models' tensors are only read."""
    for operands, values in _draw_cases(spec):
        before = [tensor.clone() for tensor in _tensors(operands)]
        _merge(spec, operands, values)
        same = all(map(torch.equal, _tensors(operands), before))
        _demand(same, spec, f"writes into its inputs with {values}")


def check_repeats_itself(spec: MethodSpec) -> None:
    """The same merge has the same bits again, in used buffers, and with two threads."""
    threads = torch.get_num_threads()
    try:
        for operands, values in _draw_cases(spec, (400, 211)):
            torch.set_num_threads(1)
            first = _merge(spec, operands, values)
            torch.set_num_threads(2)
            again = _merge(spec, operands, values)
            _demand(torch.equal(first, again), spec, f"differs the second time with {values}")
    finally:
        torch.set_num_threads(threads)


def check_randomness_is_declared(spec: MethodSpec) -> None:
    """The seed changes the result of a method declared random, and of no other.

    A method with a choice of random and other parts is random if any of its draws is.
    """
    changed = [
        not torch.equal(
            _merge(spec, operands, values), _merge(spec, replace(operands, seed=1), values)
        )
        for operands, values in _draw_cases(spec)
    ]
    _demand(any(changed) == spec.random, spec, f"is declared random={spec.random}")


def check_symmetric(spec: MethodSpec) -> None:
    """Declared symmetric: the order of the models, with their parameters, is of no importance."""
    if not spec.symmetric:
        return
    for operands, values in _draw_cases(spec):
        turned = replace(operands, models=operands.models[::-1], keys=operands.keys[::-1])
        backwards = {k: v[::-1] if isinstance(v, tuple) else v for k, v in values.items()}
        forth, back = _merge(spec, operands, values), _merge(spec, turned, backwards)
        _demand_close(back, forth, spec, f"depends on the models' order with {values}")


def check_keeps_identical(spec: MethodSpec) -> None:
    """Declared to keep identical models (and base): with its defaults they merge to themselves."""
    if not spec.keeps_identical:
        return
    operands, values = next(_draw_cases(spec))
    one = operands.models[0]
    same = _fill(operands, one, one)
    _demand_close(_merge(spec, same, values), _flat(one), spec, f"changes twins with {values}")


def check_zero_weights_give_the_base(spec: MethodSpec) -> None:
    """Declared to give the base when all weights are zero: it does, exactly."""
    if not spec.zero_gives_base:
        return
    for operands, values in _draw_cases(spec):
        if operands.base is None:
            assert spec.base == "optional", f"{spec.name} declares zero_gives_base but has no base"
            continue
        nothing = {**values, "weight": (0.0,) * len(operands.models)}
        same = torch.equal(_merge(spec, operands, nothing), _flat(operands.base))
        _demand(same, spec, f"is not the base with {nothing}")


def check_single_value_stands_for_all(spec: MethodSpec) -> None:
    """A per-model parameter given once is that value for every model."""
    for operands, values in _draw_cases(spec):
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


Case = tuple[Operands, dict[str, Any]]


def _draw_cases(spec: MethodSpec, shape: tuple[int, ...] = SHAPE) -> Iterator[Case]:
    """Yield operands and values: the defaults, then draws; an optional base is there and not."""
    bases = {"required": [True], "none": [False], "optional": [True, False]}[spec.base]
    for based in bases:
        models, base = _draw_tensors(spec, shape)
        keys = tuple(f"model {i}" for i in range(len(models)))
        for values in _draw_values(spec, len(models)):
            yield (
                gather(
                    models, base if based else None, keys=keys, name="layers.0.weight",
                    granularity=spec.granularity_for(values), depth=0.5,
                ),
                values,
            )  # fmt: skip


def _draw_tensors(spec: MethodSpec, shape: tuple[int, ...]) -> tuple[list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(len(shape))
    count = max(spec.min_models, min(MODELS, spec.max_models or MODELS))
    base, *models = (torch.randn(shape, generator=generator) for _ in range(count + 1))
    return models, base


def _edges(ordinary: Operands) -> Iterator[Operands]:
    yield ordinary
    one, zero = ordinary.models[0], TensorBlocks(torch.zeros(SHAPE))
    for factor in (1e-6, 1e6):
        scaled = [TensorBlocks(tensor * factor) for tensor in _tensors(ordinary)]
        models = tuple(scaled[: len(ordinary.models)])
        yield replace(ordinary, models=models, base=scaled[-1] if ordinary.base else None)
    minus = TensorBlocks(-_flat(one))
    for models_, base in ((zero, zero), (one, one), (zero, one), (one, zero), (minus, one)):
        yield _fill(ordinary, models_, base)


def _fill(operands: Operands, model: Blocks, base: Blocks) -> Operands:
    """Return operands whose models are all the same."""
    models = (model,) * len(operands.models)
    return replace(operands, models=models, base=base if operands.base else None)


def _draw_values(spec: MethodSpec, models: int) -> Iterator[dict[str, Any]]:
    """Yield the defaults, then values from all over the ranges: always the same sets."""
    rng = np.random.default_rng(0)
    sets = max([2, *(len(parameter.options) for parameter in spec.parameters.values())])
    for number in range(-1, sets):
        drawn = [_draw_set(spec, number, rng) for _ in range(models)]
        several = {
            name: [values[name] for values in drawn] if parameter.per_model else drawn[0][name]
            for name, parameter in spec.parameters.items()
        }
        yield spec.settle(several, models)


def _draw_set(spec: MethodSpec, number: int, rng: np.random.Generator) -> dict[str, Any]:
    """Draw one model's values; number -1 keeps to the defaults."""
    drawn = {}
    for name, parameter in spec.parameters.items():
        keep = number < 0 and parameter.default is not MISSING
        drawn[name] = parameter.default if keep else _draw_one(parameter, number, rng)
    return spec.reconcile(drawn)


def _draw_one(parameter: ParameterSpec, number: int, rng: np.random.Generator) -> Any:
    if parameter.options:
        return parameter.options[number % len(parameter.options)]
    low, high = 0.1, 2.0
    if parameter.range:
        low, high = max(low, parameter.range.low), min(high, parameter.range.high)
    if parameter.search:
        low, high = parameter.search.low, parameter.search.high
    return float(rng.uniform(low, high))


def _tensors(operands: Operands) -> list[Tensor]:
    blocks = (*operands.models, *([operands.base] if operands.base else []))
    return [_flat(part) for part in blocks]


def _flat(blocks: Blocks) -> Tensor:
    return blocks.view(0, blocks.numel).float()
