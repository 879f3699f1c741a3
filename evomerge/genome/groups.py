"""Groups of tensors that share genes: of layers, embeddings, head; and components of layers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from evomerge.checkpoints.architecture import Layout, is_head
from evomerge.errors import Problem
from evomerge.registry import suggest

REST = "rest"
"""The component of what no filter matches."""


@dataclass(frozen=True, slots=True)
class Group:
    """Tensors that share genes: layers [first, last), or named tensors outside the layers."""

    label: str
    layers: tuple[int, int] | None
    tensors: tuple[str, ...] = ()

    @property
    def middle(self) -> int | None:
        """The layer in the middle; None outside the layers."""
        return max(sum(self.layers) - 1, 0) // 2 if self.layers else None


def group_layers(layout: Layout, granularity: int) -> list[Group]:
    """Return groups of so many layers, the last of what is left; 0 puts all into one."""
    step = granularity or max(layout.layers, 1)
    firsts = range(0, max(layout.layers, 1), step)
    ends = [min(first + step, layout.layers) for first in firsts]
    return [
        Group(f"layers {first}-{end - 1}", (first, end))
        for first, end in zip(firsts, ends, strict=True)
    ]


def group_outer(layout: Layout) -> list[Group]:
    """Return embeddings, and a head that is not tied to them; a lone final norm goes along."""
    layer_names = [f"{layout.stack}0.{part}" for part in layout.parts]
    outside = [n for n in (*layout.before, *layout.after) if not any(n in x for x in layer_names)]
    if not any(is_head(name) for name in layout.after):
        return [Group("embeddings", None, tuple(outside))] if outside else []
    before = tuple(name for name in layout.before if name in outside)
    after = tuple(name for name in layout.after if name in outside)
    groups = [Group("embeddings", None, before), Group("head", None, after)]
    return [group for group in groups if group.tensors]


def name_components(
    layout: Layout, filters: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """Return component -> filters; the last one also catches what no filter matches."""
    if not filters:
        return {REST: ()}
    known = {name: tuple(parts) for name, parts in filters.items()}
    every = [part for parts in known.values() for part in parts]
    unmatched = [p for p in layout.parts if not any(f in p for f in every)]
    return {**known, REST: ()} if unmatched else known


def check_filters(layout: Layout, filters: Mapping[str, Sequence[str]]) -> Iterator[Problem]:
    """Complain about filters that would give genes without any effect."""
    names = (*layout.parts, *layout.before, *layout.after)
    if REST in filters:
        message = "this name stands for what no filter matches; choose another"
        yield Problem(f"genome.filters.{REST}", message)
    for component, parts in filters.items():
        if not parts:
            yield Problem(f"genome.filters.{component}", "names no part of a tensor's name")
        for part in parts:
            if not any(part in name for name in names):
                message = f"no tensor's name contains {part!r}{suggest(part, _words(names))}"
                yield Problem(f"genome.filters.{component}", message)


def _words(names: Sequence[str]) -> list[str]:
    return sorted({word for name in names for word in name.split(".")})
