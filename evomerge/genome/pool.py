"""What models of a pool must have in common before their layers are put on a path."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from evomerge.checkpoints.likeness import REASONS, WRITTEN, find_numbered, find_unlike
from evomerge.checkpoints.residual import find_stream
from evomerge.errors import Problem


def check_pool(
    pool: Mapping[str, Mapping[str, Any]],
    tensors: Collection[str],
    *,
    exportable: bool = True,
    scaled: bool = True,
) -> Iterator[Problem]:
    """Yield what keeps the layers of a pool's models off one path.

    Args:
        pool: contents of each model's config.json, by what messages call it; the first gives the
            path's ends.
        tensors: the names of the first one's tensors.
        exportable: whether every path must fit an ordinary checkpoint; else the models may differ
            in all but the shape of their layers.
        scaled: whether paths have scales.
    """
    roles = REASONS if exportable else WRITTEN
    configs = [*pool.items()]
    unlike = [*find_numbered(configs), *find_unlike(configs, roles=roles)]
    yield from (Problem("genome.models", line) for line in unlike)
    first = next(iter(pool.values()), {})
    if exportable and scaled and find_stream(first, tensors) is None:
        kind = first.get("model_type", "nameless")
        yield Problem(
            "genome.scales",
            f"where {kind} layers write into the residual stream is not known, so scales cannot be "
            "baked into an ordinary checkpoint; choose `scales: none` or `exportable: false`",
        )
