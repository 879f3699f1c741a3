"""Adapters of one model merged into one adapter, without the model.

peft merges the factors A and B each by itself, although it is their product that changes the
model. Here the products are what is merged: weighted sums exactly, by putting the factors side by
side; any other method on the dense product of one module at a time, which is then brought back to
low rank, with the error told.
"""

import logging
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from evomerge.adapters.adapter import Adapter
from evomerge.adapters.contents import Module
from evomerge.adapters.draft import Draft, Whole
from evomerge.adapters.low_rank import LowRank, concatenate, truncate, truncate_product
from evomerge.adapters.names import shorten
from evomerge.adapters.tensors import check_finite, read_tensor
from evomerge.checkpoints.reader import Entry
from evomerge.errors import CheckpointError

logger = logging.getLogger(__name__)
FROZEN = ".base_layer.weight"
"""The model's own weights beneath an adapted embedding: peft may save them, nobody trains them."""
Merge = Callable[[str, list[Tensor]], Tensor]
"""(tensor name, one task vector per adapter, float32, zeros where it has none) to their merge."""


def merge_adapters(
    adapters: Sequence[Adapter],
    *,
    weights: Sequence[float] | None = None,
    merge: Merge | None = None,
    rank: int | None = None,
    base: Callable[[str], Tensor] | None = None,
) -> Draft:
    """Merge adapters into one.

    Args:
        adapters: of one model; ranks and adapted modules may differ.
        weights: one per adapter, for their weighted sum.
        merge: any other method on task vectors, as a function; instead of `weights`.
        rank: most rank of a module's change; without it that is the sum of the adapters' ranks,
            at which a weighted sum is exact.
        base: gives the model's tensor of a name; needed only where adapters replace tensors.

    Returns:
        The merged adapter; `Draft.error` tells what its rank cost.

    Raises:
        CheckpointError: the adapters cannot be merged; all reasons are listed.
        ValueError: not exactly one of `weights` and `merge` is given, or of another length.
    """
    if (weights is None) == (merge is None) or (weights and len(weights) != len(adapters)):
        raise ValueError("give either one weight per adapter, or a merge function")
    if rank is not None and rank < 1:
        raise CheckpointError(f"a LoRA of rank {rank} cannot be", "Ask for a rank of 1 or more")
    mixed = merge or _weigh(weights or ())
    exact = weights is not None and math.isclose(sum(weights), 1.0, abs_tol=1e-6)
    modules, replaced = _align(adapters)
    needs_base = [
        name
        for name, entries in replaced.items()
        if not (base or _are_equal(entries) or (exact and all(entries)))
    ]
    _check(adapters, modules, replaced, needs_base)
    changes = {
        name: _merge_products(name, list(zip(adapters, owners, strict=True)), weights, mixed, rank)
        for name, owners in modules.items()
    }
    return Draft(
        base_model=next((n for a in adapters if (n := _base_name(a))), ""),
        changes=changes,
        embeddings={n for n, owners in modules.items() if any(m and m.embedding for m in owners)},
        whole={n: _merge_whole(n, entries, mixed, base) for n, entries in replaced.items()},
        fan_in_fan_out=any(a.config.get("fan_in_fan_out") for a in adapters),
        task_type=adapters[0].config.get("task_type"),
    )


def _weigh(weights: Sequence[float]) -> Merge:
    def merge(_name: str, tensors: list[Tensor]) -> Tensor:
        total = torch.zeros_like(tensors[0], dtype=torch.float64)
        for weight, tensor in zip(weights, tensors, strict=True):
            total.add_(tensor.double(), alpha=weight)
        return total.float()

    return merge


Modules = dict[str, list[Module | None]]
Replaced = dict[str, list[Entry | None]]


def _align(adapters: Sequence[Adapter]) -> tuple[Modules, Replaced]:
    """Return each module's and each replaced tensor's owners, by the first owner's spelling."""
    modules, replaced = Modules(), Replaced()
    spelling: dict[str, str] = {}
    for number, adapter in enumerate(adapters):
        for name, module in adapter.modules.items():
            known = spelling.setdefault(shorten(name), name)
            modules.setdefault(known, [None] * len(adapters))[number] = module
        for name, entry in adapter.replacements.items():
            known = spelling.setdefault(shorten(name), name)
            replaced.setdefault(known, [None] * len(adapters))[number] = entry
    for name, entries in replaced.items():
        frozen = [entry for entry in entries if entry and entry.name.endswith(FROZEN)]
        if frozen:
            replaced[name] = [entry or frozen[0] for entry in entries]
    return modules, replaced


def _check(
    adapters: Sequence[Adapter], modules: Modules, replaced: Replaced, needs_base: Sequence[str]
) -> None:
    problems = [f"{n} is replaced as a whole: merging it needs the base model" for n in needs_base]
    for adapter in adapters:
        roles = {role for module in adapter.modules.values() for role in module.entries}
        if "magnitude_vector" in roles:
            problems.append(f"{adapter.reference} is a DoRA: its change is no product of factors")
        if "bias" in roles:
            problems.append(f"{adapter.reference} has lora_bias: it changes vectors too")
    for name, owners in modules.items():
        if len(kinds := {(m.shape, m.embedding) for m in owners if m}) > 1:
            shapes = " and ".join(str(list(shape)) for shape, _ in sorted(kinds))
            problems.append(f"{name} is adapted as {shapes}")
    for name, entries in replaced.items():
        if len(found := {entry.shape for entry in entries if entry}) > 1:
            problems.append(f"{name} is replaced by {' and '.join(map(str, map(list, found)))}")
    if problems:
        names = ", ".join(adapter.reference for adapter in adapters)
        more = f" (and {len(problems) - 6} more)" if len(problems) > 6 else ""
        raise CheckpointError(
            f"{names} cannot be merged into one adapter: {'; '.join(problems[:6])}{more}",
            "Apply them to their base and merge the models instead",
        )
    if len(bases := {name for a in adapters if (name := _base_name(a))}) > 1:
        logger.warning("the adapters name different base models: %s", ", ".join(sorted(bases)))


def _base_name(adapter: Adapter) -> str:
    return str(adapter.config.get("base_model_name_or_path") or "")


def _are_equal(entries: Sequence[Entry | None]) -> bool:
    first = entries[0]
    if first is None or any(e is None or e.shape != first.shape for e in entries):
        return False
    kept = read_tensor(first).float()
    return all(torch.equal(kept, read_tensor(entry).float()) for entry in entries[1:] if entry)


def _merge_products(
    name: str,
    owners: Sequence[tuple[Adapter, Module | None]],
    weights: Sequence[float] | None,
    merge: Merge,
    rank: int | None,
) -> LowRank:
    factors = [_read_factors(adapter, module) if module else None for adapter, module in owners]
    known = [f for f in factors if f]
    if weights is not None:
        parts = [(w * f[0], f[1]) for w, f in zip(weights, factors, strict=True) if f and w]
        if not parts:
            return truncate_product(*known[0], rank=0)
        b, a = concatenate(parts)
        if rank is not None and rank < b.shape[1]:
            return truncate_product(b, a, rank)
        norm = float(((b.T @ b) * (a @ a.T)).sum())
        return LowRank(b.float(), a.float(), norm, norm)
    empty = torch.zeros(known[0][0].shape[0], known[0][1].shape[1])
    products = [(f[0] @ f[1]).float() if f else empty.clone() for f in factors]
    merged = merge(f"{name}.weight", products)
    return truncate(merged, rank or sum(b.shape[1] for b, _ in known))


def _read_factors(adapter: Adapter, module: Module) -> tuple[Tensor, Tensor]:
    """Return (b, a) in float64, the scale in b."""
    b = read_tensor(module.entries["B"]).double().mul_(adapter.scale(module))
    a = read_tensor(module.entries["A"]).double()
    for role, factor in (("A", a), ("B", b)):
        check_finite(factor, f"{module.entries[role].name} of {adapter.reference}")
    return b, a


def _merge_whole(
    name: str,
    entries: Sequence[Entry | None],
    merge: Merge,
    base: Callable[[str], Tensor] | None,
) -> Whole:
    """Merge tensors that replace the model's: what they add to it, or where it must, themselves."""
    lead = next(entry for entry in entries if entry)

    def read() -> Tensor:
        if _are_equal(entries):
            return read_tensor(lead)
        if base is None:
            return merge(name, [read_tensor(entry).float() for entry in entries if entry])
        origin = base(name).float()
        deltas = [(read_tensor(e).float() if e else origin) - origin for e in entries]
        return origin + merge(name, deltas)

    same = len({entry.dtype for entry in entries if entry}) == 1
    return Whole(lead.dtype if same else "F32", lead.shape, read)
