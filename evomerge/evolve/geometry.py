"""Lengths of merges and angles between them, without making any: from the founders' inner products.

A merge Σ cᵢxᵢ is known by its coefficients; inner products of merges follow from those of the
founders, tensor by tensor. One walk over the founders finds them, in the same buffers as a merge.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from evomerge.engine import Models, make_plan
from evomerge.engine.plan import TensorPlan
from evomerge.engine.tensor import Merge, Workbench
from evomerge.engine.threads import Threads, count_cores
from evomerge.tensor_ops.inner_products import Gram
from evomerge.tensor_ops.reductions import gram

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evomerge.evolve.encodings import Encoding


def measure_founders(genome: "Encoding", models: Models) -> "NDArray[np.float64]":
    """Return the matrix M with pᵀMq the inner product of the merges that p and q decode to.

    Which gene is the factor of which tensor, the plan of a genome tells in which all differ. Sums
    are in one order, so the bits are the same for any number of threads.

    Args:
        genome: of sums of models: every weight of its recipes is the value of one gene.
        models: reads them.

    Returns:
        Symmetric matrix over gene values, shape (genes, genes): zero between layer groups.
    """
    space = genome.space
    marks = np.linspace(0.0, 1.0, len(space))
    places = {value: place for place, value in enumerate(space.decode(marks).values())}
    plan = make_plan(genome.decode(marks), models)
    merged = [tensor for tensor in plan.tensors if not tensor.copied]
    found: dict[str, Gram] = {}

    def work(tensor: TensorPlan, bench: Workbench) -> None:
        found[tensor.name] = gram(Merge(tensor, bench).operands)

    for _ in Threads(count_cores(), lambda: Workbench(models)).run(merged, work):
        pass
    metric = np.zeros((len(space), len(space)))
    for tensor in merged:
        weights: Any = tensor.values["weight"]
        mine = [places[weight] for weight in weights]
        metric[np.ix_(mine, mine)] += found[tensor.name]
    return metric
