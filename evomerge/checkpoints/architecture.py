"""Which tensors of a model are layers: read off the tensors' names, for any architecture.

`model.layers.3.mlp.up_proj.weight` is part `mlp.up_proj.weight` of layer 3 of the stack
`model.layers.`. Stacks whose length config.json states (else the one with most tensors) are the
model's modules: one in a language model, encoder and decoder in T5, text decoder and vision tower
in a model that sees. Every other tensor belongs to one of them and stands before or after its
layers.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evomerge.checkpoints.spelling import (
    find_spelling,
    find_tensor,
    is_head,
    is_optional,
    is_tied,
    read_names,
)

NUMBER = re.compile(r"(?:^|\.)([0-9]{1,4})\.")
"""A layer in a name; longer numbers count something else (no model has ten thousand layers)."""
SENSES = ("vision", "audio")
ROLES = (*SENSES, "encoder", "", "decoder")
"""What stacks are for, the main one last; "" where a name does not say."""
Path = tuple[str, ...]

__all__ = [
    "Layout",
    "find_spelling",
    "find_tensor",
    "is_head",
    "is_optional",
    "is_tied",
    "read_layout",
    "read_modules",
]


@dataclass(frozen=True, slots=True)
class Layout:
    """The parts of a module, which is a model or one of the stacks in it.

    Attributes:
        stack: prefix of the layer stack, 'model.layers.'; empty when there is none.
        layers: number of layers in it.
        parts: names within a layer, sorted.
        before: tensors that do their work before the layers: embeddings.
        after: tensors that do it after: final norm and head.
        layer_key: where config.json holds the number of layers, `('num_hidden_layers',)` or
            `('text_config', 'num_hidden_layers')`; None where it does not.
        module: what recipes call it: 'default' in a model with one stack, else 'encoder',
            'decoder', 'shared', 'text_decoder', 'vision_tower', 'multi_modal_projector', or the
            prefix of its stack.
    """

    stack: str
    layers: int
    parts: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]
    layer_key: tuple[str, ...] | None
    module: str = "default"

    def locate(self, name: str) -> tuple[int, str] | None:
        """Return (layer, part) of a tensor in the stack, None for any other."""
        if not self.stack or not name.startswith(self.stack):
            return None
        rest = name.removeprefix(self.stack)
        found = NUMBER.match(rest)
        return (int(found[1]), rest[found.end() :]) if found else None

    def name(self, layer: int, part: str) -> str:
        """Return the full name of a part of a layer."""
        return f"{self.stack}{layer}.{part}"


def read_layout(config: Mapping[str, Any], tensors: Iterable[str]) -> Layout:
    """Infer the layout of a model's main module: text before others, decoder before encoder."""
    return read_modules(config, tensors)[0]


def read_modules(config: Mapping[str, Any], tensors: Iterable[str]) -> tuple[Layout, ...]:
    """Infer the modules of a model from its configuration and its tensors' names.

    Args:
        config: the contents of config.json.
        tensors: names of all tensors.

    Returns:
        At least one module, the main one first; every tensor is in exactly one.
    """
    names = sorted(tensors)
    stacks = _choose_stacks(_find_stacks(names), config)
    if len(stacks) < 2:
        stack, key = next(iter(stacks.items()), ("", None))
        return (_lay_out("default", stack, key, names),)
    homes = _Homes(stacks)
    members: dict[str, list[str]] = {title: [] for title in homes.titles.values()}
    for name in names:
        members.setdefault(homes.find(name), []).append(name)
    by_title = {homes.titles[stack]: (stack, key) for stack, key in stacks.items()}
    layouts = (
        _lay_out(title, *by_title.get(title, ("", None)), members[title]) for title in members
    )
    return tuple(sorted(layouts, key=_rank, reverse=True))


def _find_stacks(names: Sequence[str]) -> dict[str, Counter[int]]:
    """Return every numbered prefix, at any depth, with the number of tensors of each layer."""
    stacks: dict[str, Counter[int]] = defaultdict(Counter)
    for name in names:
        for match in NUMBER.finditer(name):
            stacks[name[: match.start(1)]][int(match[1])] += 1
    return stacks


def _choose_stacks(
    found: Mapping[str, Counter[int]], config: Mapping[str, Any]
) -> dict[str, Path | None]:
    """Return the stacks that are modules, with the keys that state their lengths.

    A stack within another (experts, T5's sublayers) is part of its layers, unless config.json
    states the length of the inner one alone, and it is most of the outer one.
    """
    stated, chosen = dict(_stated_layers(config)), dict[str, Path | None]()
    largest_first = sorted(found, key=lambda s: (-found[s].total(), len(s)))
    for stack in largest_first:
        keys = [key for key in _keys_for(stack, stated) if key not in chosen.values()]
        count = len(found[stack])
        fitting = [k for k in keys if stated[k] == count == max(found[stack]) + 1]
        if fitting and not _overlaps(stack, chosen) and not _is_small_part(stack, found):
            chosen[stack] = fitting[0]
    if not any(_role(stack) not in SENSES for stack in chosen):
        free = (s for s in largest_first if not _overlaps(s, chosen) and _role(s) not in SENSES)
        for stack in [*free, *(() if chosen else largest_first)][:1]:
            chosen[stack] = next(iter(_keys_for(stack, stated)), None)
    return dict(sorted(chosen.items()))


def _overlaps(stack: str, others: Iterable[str]) -> bool:
    return any(stack.startswith(other) or other.startswith(stack) for other in others)


def _is_small_part(stack: str, found: Mapping[str, Counter[int]]) -> bool:
    around = (found[other].total() for other in found if stack.startswith(other))
    return max(around) > 2 * found[stack].total()


def _stated_layers(config: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, int]]:
    for key in read_names()["layer_counts"]:
        if type(config.get(key)) is int:
            yield (*path, key), config[key]
    for key, part in config.items():
        if isinstance(part, Mapping) and (key.endswith("_config") or key in ("encoder", "decoder")):
            yield from _stated_layers(part, (*path, key))


def _keys_for(stack: str, keys: Iterable[Path]) -> list[Path]:
    """Return the keys that speak of a stack of this role, else those that speak of any."""
    alike = [key for key in keys if _role(".".join(key)) == _role(stack)]
    found = alike or [key for key in keys if not _role(".".join(key))]
    return sorted(found, key=lambda key: not _speaks_of(stack, key))


def _speaks_of(stack: str, key: Path) -> bool:
    """Tell whether a part of the configuration is called as the stack is (`qformer_config`)."""
    return any(word.removesuffix("_config") in stack for word in key[:-1])


def _role(name: str) -> str:
    """Return 'vision', 'audio', 'decoder', 'encoder', or '' of a prefix or a key."""
    roles: dict[str, list[str]] = read_names()["roles"]
    return next((role for role, words in roles.items() if any(w in name for w in words)), "")


class _Homes:
    """Knows which module a tensor belongs to, in a model of several stacks."""

    def __init__(self, stacks: Collection[str]) -> None:
        self.roots = {_root(stack, stacks): stack for stack in stacks}
        self.senses = any(_role(stack) in SENSES for stack in stacks)
        self.main = max(stacks, key=lambda stack: ROLES.index(_role(stack)))
        titles = {stack: self._title(root, stack) for root, stack in self.roots.items()}
        taken = Counter(titles.values())
        self.titles = {
            stack: titles[stack] if taken[titles[stack]] == 1 else root.rstrip(".")
            for root, stack in self.roots.items()
        }

    def find(self, name: str) -> str:
        """Return the title of a tensor's module."""
        if any(name.startswith(stack) for stack in self.titles) or not (
            self.senses and any(word in name for word in read_names()["connectors"])
        ):
            fitting = [root for root in self.roots if name.startswith(root)]
            if fitting:
                return self.titles[self.roots[max(fitting, key=len)]]
            paired = {"encoder", "decoder"} <= set(self.titles.values())
            return "shared" if paired else self.titles[self.main]
        return "multi_modal_projector"

    def _title(self, root: str, stack: str) -> str:
        role = _role(stack)
        if role in SENSES:
            named = [word for word in root.split(".") if role in word]
            return named[0] if named else f"{role}_tower"
        return "text_decoder" if self.senses else role or root.rstrip(".")


def _root(stack: str, others: Iterable[str]) -> str:
    """Return the shortest prefix of a stack that no other stack shares."""
    words = stack.split(".")
    prefixes = (".".join(words[: count + 1]) + "." for count in range(len(words) - 1))
    alone = (p for p in prefixes if not any(o.startswith(p) for o in others if o != stack))
    return next(alone, stack)


def _lay_out(module: str, stack: str, key: Path | None, names: Sequence[str]) -> Layout:
    bare = Layout(stack, 0, (), (), (), key, module)
    places = {name: bare.locate(name) for name in names}
    inside = [place for place in places.values() if place]
    rest = [name for name, place in places.items() if not place]
    words = read_names()["embeddings"]
    before = tuple(n for n in rest if any(word in n for word in words) and not is_head(n))
    return replace(
        bare,
        layers=max((layer for layer, _ in inside), default=-1) + 1,
        parts=tuple(sorted({part for _, part in inside})),
        before=before,
        after=tuple(name for name in rest if name not in before),
    )


def _rank(layout: Layout) -> tuple[bool, int, int]:
    """Order modules: the decoder, other text, the encoder, what sees and hears, what is loose."""
    role = ROLES.index(_role(layout.stack))
    return bool(layout.stack), role, layout.layers * len(layout.parts)
