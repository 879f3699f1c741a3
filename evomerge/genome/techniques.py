"""The tournament's techniques: what each of its three stages does to the models.

Stage one merges all models (`linear`, `slerp`). Stage two adds their task vectors, relative to the
result of stage one, to it (`ties`, `dare`, `task_arithmetic`); before that, a share of every task
vector may be masked. Stage three leads through layers of stage two and of the models
(`frankenmerge`, `dfs`). All is one recipe; nothing in between is written.

Slerp is `multislerp`: it takes any number of models, with the weights that `linear` has, and
favours no order. DARE is its paper's: drop, divide by what is kept, add.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from evomerge.errors import Problem
from evomerge.recipe.model import Recipe, Slice, Source, freeze_parameters
from evomerge.recipe.schedule import Value, constant
from evomerge.registry import suggest

Stage = Literal["interpolation", "addition", "stacking"]
MaskStrategy = Literal["random", "magnitude"]
Start = Mapping[str, float | Sequence[float]]

STAGES: Mapping[Stage, tuple[str, ...]] = {
    "interpolation": ("linear", "slerp"),
    "addition": ("ties", "dare", "task_arithmetic"),
    "stacking": ("frankenmerge", "dfs"),
}
"""Stage -> its techniques."""
USUAL = ("linear", "slerp", "ties", "dare", "frankenmerge", "dfs")
"""What a tournament begins with: 2 × 2 × 2 merges."""
METHOD_OF = {"linear": "linear", "slerp": "multislerp", "ties": "ties", "dare": "dare_linear"}
MASKS: Mapping[MaskStrategy, str] = {"random": "dare_linear", "magnitude": "ties"}
"""How a share of a task vector is dropped -> the method whose sparsifier does it."""
STARTS: Mapping[str, Start] = {
    "linear": {"weights": 1.0},
    "slerp": {"weights": 1.0},
    "ties": {"density": 0.2, "lambda": 1.0},
    "dare": {"density": 0.5, "lambda": 1.0},
    "task_arithmetic": {"lambda": 1.0},
    "frankenmerge": {},
    "dfs": {},
}
"""Technique -> values of its parameters with which it begins."""
LEAST, MOST_LAMBDA = 0.05, 2.0
"""The least weight and density; the most of all task vectors that is added."""
RANGES: Mapping[str, tuple[float, float]] = {
    "weights": (0.0, 1e6),
    "t": (0.0, 1.0),
    "density": (LEAST, 1.0),
    "lambda": (0.0, MOST_LAMBDA),
}
PARAMETERS: Mapping[str, tuple[str, ...]] = {
    **{name: tuple(values) for name, values in STARTS.items()},
    "slerp": ("weights", "t"),
}
"""Technique -> names of the parameters whose start may be said."""


@dataclass(frozen=True, slots=True)
class Mask:
    """What share of every task vector is dropped before stage two.

    Attributes:
        rate: most that a search begins with, in [0, 1); 0 for no masks.
        strategy: 'random' or 'magnitude' (the smallest of each tensor).
        rescale: whether what is kept is divided by 1 - rate.
    """

    rate: float = 0.0
    strategy: MaskStrategy = "random"
    rescale: bool = False


def choose_techniques(names: Iterable[str]) -> dict[Stage, tuple[str, ...]]:
    """Return the techniques of each stage, in the order of `STAGES`."""
    wanted = set(names)
    return {stage: tuple(n for n in known if n in wanted) for stage, known in STAGES.items()}


def check_techniques(names: Sequence[str], path: str) -> Iterator[Problem]:
    """Yield what is wrong with a list of techniques."""
    known = [name for all_ in STAGES.values() for name in all_]
    for name in dict.fromkeys(names):
        if name not in known:
            hint = suggest(name, known)
            told = f"unknown technique {name!r}{hint}; known: {', '.join(known)}"
            yield Problem(path, told)
    if not names:
        yield Problem(path, "name at least one technique")


def check_starts(starts: Mapping[str, Start], models: int, path: str) -> Iterator[Problem]:
    """Yield what is wrong with where parameters begin."""
    for technique, values in starts.items():
        here = f"{path}.{technique}"
        if technique not in PARAMETERS:
            yield from check_techniques([technique], here)
            continue
        known = PARAMETERS[technique]
        for name, value in values.items():
            if name not in known:
                hint = suggest(name, list(known)) or f"; known: {', '.join(known) or 'none'}"
                yield Problem(f"{here}.{name}", f"{technique} has no such parameter{hint}")
            elif told := _complain(name, value, models):
                yield Problem(f"{here}.{name}", told)


def _complain(name: str, value: float | Sequence[float], models: int) -> str:
    low, high = RANGES[name]
    values = [value] if isinstance(value, (int, float)) else list(value)
    if name == "weights" and len(values) not in (1, models):
        return f"expected {models} weights, one a model, not {len(values)}"
    if name != "weights" and len(values) != 1:
        return "expected one number"
    if not all(low <= each <= high for each in values):
        return f"expected a number in [{low:g}, {high:g}], not {value}"
    return "" if name != "weights" or sum(values) > 0.0 else "expected a weight above 0"


def spread_weights(start: Start, models: int) -> list[float]:
    """Return one weight a model, their sum 1.

    Slerp's `t` folds the models one by one: the first two by t, the result and the third by t, …
    """
    if "t" in start:
        t = float(start["t"])  # type: ignore[arg-type]  # checked to be one number
        weights = [(1.0 - t) ** (models - 1)]
        weights += [t * (1.0 - t) ** (models - 1 - k) for k in range(1, models)]
        return weights
    given = start.get("weights", 1.0)
    values = [float(given)] * models if isinstance(given, (int, float)) else list(given)
    return [value / sum(values) for value in values]


def merge_all(
    method: str,
    models: Sequence[str | Recipe],
    weights: Sequence[float],
    *,
    base: str | Recipe | None = None,
    dtype: str | None = None,
    **shared: Value,
) -> Recipe:
    """Return a merge of whole models, each with a weight."""
    sources = tuple(
        Source(model, None, freeze_parameters({"weight": constant(weight)}))
        for model, weight in zip(models, weights, strict=True)
    )
    parameters = freeze_parameters({name: constant(value) for name, value in shared.items()})
    return Recipe(method, (Slice(sources),), base_model=base, parameters=parameters, dtype=dtype)


def interpolate(
    technique: str, models: Sequence[str], weights: Sequence[float], dtype: str | None
) -> Recipe:
    """Carry out stage one."""
    return merge_all(METHOD_OF[technique], models, weights, dtype=dtype)


def mask_vector(
    model: str, base: str | Recipe, rate: float, how: Mask, dtype: str | None
) -> str | Recipe:
    """Drop a share of a model's task vector."""
    if rate <= 0.0:
        return model
    scale = 1.0 / (1.0 - rate) if how.rescale else 1.0
    shared = {"density": round(1.0 - rate, 6), "lambda": round(scale, 6), "rescale": False}
    return merge_all(MASKS[how.strategy], [model], [1.0], base=base, dtype=dtype, **shared)


def add(
    technique: str,
    models: Sequence[str | Recipe],
    weights: Sequence[float],
    base: str | Recipe,
    *,
    density: float,
    scale: float,
    dtype: str | None,
) -> Recipe:
    """Carry out stage two: add the weighted mean of what is left of the task vectors, times scale.

    Weights are divided by their sum, so that `scale` alone says how far the base is left.
    """
    shared: dict[str, Value] = {"lambda": scale, "normalize": True}
    if technique != "task_arithmetic":
        shared["density"] = density
    if technique == "dare":
        shared["rescale"] = "paper"
    method = METHOD_OF.get(technique, technique)
    return merge_all(method, models, weights, base=base, dtype=dtype, **shared)


def mean(shares: Mapping[Recipe, float], dtype: str | None) -> Recipe:
    """Return the weighted mean of merges."""
    if len(shares) == 1:
        return next(iter(shares))
    weights = [round(share, 9) for share in shares.values()]
    return merge_all("linear", tuple(shares), weights, dtype=dtype)
