"""A model that is lent to a judge, and must come back with the weights it had."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from evomerge.errors import EvaluationError

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE = 256
"""Elements of a tensor that are looked at; what torch itself has counted shows the others."""


@contextmanager
def lent(module: Any) -> Iterator[None]:
    """Check that nobody writes into a model's parameters or buffers in the meantime.

    What other judges of the same candidate are asked about would be another model. A tensor counts
    as written to when torch says so, or when one of 256 elements is another than before; one that
    was moved or cast is another tensor, and passes.

    Args:
        module: of torch; anything else is not looked at.

    Raises:
        EvaluationError: naming the first tensor that was written to.
    """
    before = _look(module)
    yield
    after = _look(module)
    changed = [name for name, mark in before.items() if _is_other(mark, after.get(name))]
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise EvaluationError(
            f"the judge has changed the model it was lent: {changed[0]}{more}",
            "Let it work on a copy: copy.deepcopy(model)",
        )


def _look(module: Any) -> dict[str, tuple[Any, ...]]:
    if not hasattr(module, "named_parameters"):
        return {}
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {name: _mark(tensor) for name, tensor in tensors.items()}


def _mark(tensor: "Tensor") -> tuple[Any, ...]:
    """Return what a tensor is, and what tells whether it was written to."""
    import torch

    flat = tensor.detach().flatten()
    sample = flat[:: max(1, len(flat) // SAMPLE)].contiguous().view(torch.uint8)
    seen = b"" if tensor.is_meta else sample.cpu().numpy().tobytes()
    count = None if tensor.is_inference() else tensor._version
    return (id(tensor), tensor.dtype, tensor.device), (count, seen)


def _is_other(before: tuple[Any, ...], after: tuple[Any, ...] | None) -> bool:
    return after is not None and before[0] == after[0] and before[1] != after[1]
