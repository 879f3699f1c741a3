"""Every registered merge method keeps the promises of its declaration; liars are caught."""

from collections.abc import Callable

import pytest
from torch import Tensor

from evomerge.methods import METHODS, Formula, MethodSpec, Operands, PerModel, merge_method
from evomerge.methods.spec import Weight
from evomerge.tensor_ops.blocks import Block
from evomerge.tensor_ops.interpolation import weighted_sum
from evomerge.testing.methods import (
    CHECKS,
    check_blocks_do_not_matter,
    check_finite_stays_finite,
    check_inputs_stay_as_they_are,
    check_is_described,
    check_keeps_identical,
    check_randomness_is_declared,
    check_shape_is_kept,
    check_symmetric,
    check_zero_weights_give_the_base,
)

Check = Callable[[MethodSpec], None]


@pytest.mark.parametrize("method", METHODS.names())
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_method_keeps_its_promises(check: Check, method: str) -> None:
    check(METHODS.get(method))


def first_of_all(operands: Operands, *, weight: PerModel[Weight]) -> Formula:  # noqa: ARG001 - nothing to reduce
    """Take the first model, whatever the rest says."""
    return lambda block: weighted_sum(block.models[:1], weight[:1], block.spare)


def per_block_mean(operands: Operands) -> Formula:  # noqa: ARG001 - nothing to reduce
    """Subtract the block's own mean: not a property of the tensor."""
    return lambda block: block.models[0].sub_(block.models[0].mean())


def divide(operands: Operands) -> Formula:  # noqa: ARG001 - nothing to reduce
    """Divide by what may be zero."""
    return lambda block: block.models[0].div_(block.models[1])


def scribble(operands: Operands) -> Formula:
    """Write into the first model itself."""
    tensor: Tensor = operands.models[0].tensor  # type: ignore[attr-defined]  # ordinary tensors
    tensor.add_(1.0)
    return lambda block: block.models[0]


def drift(operands: Operands, *, weight: PerModel[Weight]) -> Formula:  # noqa: ARG001 - nothing to reduce
    """Move off the base a little, always."""
    return lambda block: block.base.add_(1e-3)


def roll(operands: Operands) -> Formula:
    """Add the seed."""

    def formula(block: Block) -> Tensor:
        return block.models[0].add_(operands.seed)

    return formula


def halve(operands: Operands) -> Formula:  # noqa: ARG001 - nothing to reduce
    """Lose half of each block."""
    return lambda block: block.models[0][::2]


def mute(operands: Operands, *, weight: Weight = float("inf")) -> Formula:  # noqa: ARG001 - a bad example
    return lambda block: block.models[0]


@pytest.mark.parametrize(
    ("liar", "check", "message"),
    [
        (merge_method("first")(first_of_all), check_symmetric, "depends on the models' order"),
        (merge_method("mean")(per_block_mean), check_blocks_do_not_matter, "depends on blocks"),
        (merge_method("mean")(per_block_mean), check_keeps_identical, "changes twins"),
        (merge_method("divide", min_models=2)(divide), check_finite_stays_finite, "not finite"),
        (merge_method("scribble")(scribble), check_inputs_stay_as_they_are, "writes into its inp"),
        (
            merge_method("drift", base="required", zero_gives_base=True)(drift),
            check_zero_weights_give_the_base,
            "is not the base",
        ),
        (merge_method("roll")(roll), check_randomness_is_declared, "declared random=False"),
        (merge_method("halve")(halve), check_shape_is_kept, r"gives \[1989\] torch.float32"),
        (merge_method("mute")(mute), check_is_described, "has no docstring"),
    ],
    ids=lambda value: getattr(value, "name", None) if isinstance(value, MethodSpec) else "",
)
def test_broken_promises_are_noticed(liar: MethodSpec, check: Check, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check(liar)
