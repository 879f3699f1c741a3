"""Merges of tensors in memory, natively and in torch, against what the memory can copy.

    python benchmarks/kernels.py [--parameters 67000000] [--repeats 5]

Three bfloat16 models and a base; the result goes into a bfloat16 tensor that exists. Every figure
is the best of its repeats, each of which runs copy, native and torch in turn. Threads share the
blocks of one tensor.
"""

import torch
from torch import Tensor

from evomerge.methods.generalized_task_arithmetic import FAMILY
from evomerge.tensor_ops.consensus import Election
from evomerge.tensor_ops.interpolation import Blend

Formula = Blend | Election
METHODS = {spec.name: spec for spec in FAMILY}
PIECE = 1 << 21
"""Parameters a tensor has: those of a projection in a model of 1 B parameters."""


def make_operands(parameters: int) -> list[tuple[list[Tensor], Tensor, Tensor]]:
    """Return tensors of three models and their base, and where the merge goes."""
    tensors = []
    for seed in range(max(1, parameters // PIECE)):
        generator = torch.Generator().manual_seed(seed)
        base = torch.randn(PIECE, generator=generator).mul_(0.02).to(torch.bfloat16)
        models = [
            (base + torch.randn(PIECE, generator=generator).mul_(0.002)).to(torch.bfloat16)
            for _ in range(3)
        ]
        tensors.append((models, base, torch.zeros_like(base)))
    return tensors
