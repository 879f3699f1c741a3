"""Paths in a compact form: every layer is kept once, however often the path leads through it.

The folder holds a small modelling file, so whoever loads it has to trust its code
(`trust_remote_code=True`). In return scales are exact with any epsilon, and models may differ in
settings of their layers that no ordinary config.json holds. Its model type is one that the library
does not know: by the stock class the layers that are not there would be drawn at random.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from evomerge.checkpoints.architecture import read_layout
from evomerge.checkpoints.likeness import COMPACT, WRITTEN, find_settings, find_unlike
from evomerge.checkpoints.loading import complete_config
from evomerge.engine.models import Models
from evomerge.engine.plan import Plan, TensorPlan
from evomerge.engine.planner import Liberties, make_plan
from evomerge.errors import Problem, RecipeError
from evomerge.recipe.model import Recipe
from evomerge.recipe.path import Hop, find_hops, make_path

MODELING = "modeling_path.py"
KIND = "evomerge_path"


def plan_compact(recipe: Recipe, models: Models, *, seed: int = 0) -> Plan:
    """Plan a path whose repeated layers are kept once.

    Args:
        recipe: a path.
        models: where its models are opened.
        seed: of random masks, in merges that stand on the path.

    Returns:
        A plan without the tensors of layers that run again; its config says which run when.

    Raises:
        RecipeError: it is no path, its models do not fit, or its code is not the library's.
        CheckpointError: a model cannot be opened.
    """
    hops = find_hops(recipe)
    slices = make_path([replace(hop, scale=1.0) for hop in hops]).slices
    unscaled = replace(recipe, slices=slices, input_scale_target="stream")
    settings = _find_settings(hops, models, seed)  # refuses what cannot be on one path
    liberties = Liberties(mixed_architectures=True)
    plan = make_plan(unscaled, models, seed=seed, liberties=liberties)
    firsts = [next(k for k, one in enumerate(hops) if _place(one) == _place(hop)) for hop in hops]
    config = {
        **plan.config,
        "model_type": KIND,
        "auto_map": _map_code(_name_base(plan.config)),
        "path_layers": firsts,
        "path_scales": [hop.scale for hop in hops],
        "path_target": recipe.input_scale_target,
        "path_settings": {str(k): own for k, own in enumerate(settings) if own},
    }
    warnings = tuple(warning for warning in plan.warnings if COMPACT not in warning)
    tensors = _keep_first(plan, firsts)
    return replace(plan, recipe=recipe, tensors=tensors, config=config, warnings=warnings)


def write_modeling(config: Mapping[str, Any]) -> str:
    """Return the modelling file of a compact path with this config."""
    template = files("evomerge") / "engine" / f"{MODELING}.jinja"
    return template.read_text(encoding="utf-8").replace("{{ base }}", _name_base(config))


def is_compact(folder: Path) -> bool:
    """Tell whether a folder's code is, letter by letter, what is written here: so it may be run."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        code = (folder / MODELING).read_text(encoding="utf-8")
        mapped = config["auto_map"] == _map_code(_name_base(config))
        return mapped and code == write_modeling(config)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecipeError):
        return False  # it is something else


def _keep_first(plan: Plan, firsts: list[int]) -> tuple[TensorPlan, ...]:
    layout = read_layout(plan.config, [tensor.name for tensor in plan.tensors])
    places = [(tensor, layout.locate(tensor.name)) for tensor in plan.tensors]
    return tuple(t for t, at in places if at is None or firsts[at[0]] == at[0])


def _find_settings(hops: tuple[Hop, ...], models: Models, seed: int) -> list[dict[str, Any]]:
    """Return, for each hop, the settings of its layer that are not the first model's."""
    configs: dict[str | Recipe, Mapping[str, Any]] = {
        model: models.ingredient(model).config
        if isinstance(model, str)
        else make_plan(model, models, seed=seed).config
        for model in dict.fromkeys(hop.model for hop in hops)
    }
    named = [(_label(model), config) for model, config in configs.items()]
    problems = find_unlike(named, roles=WRITTEN)
    home = configs[hops[0].model]
    found = {model: find_settings(home, config) for model, config in configs.items()}
    if found[hops[-1].model]:
        problems.append(f"it must end like {_label(hops[0].model)}, whose settings the end has")
    if problems:
        raise RecipeError("path", [Problem("slices", line) for line in problems])
    return [found[hop.model] for hop in hops]


def _label(model: str | Recipe) -> str:
    return model if isinstance(model, str) else model.name or "a sub-recipe"


def _place(hop: Hop) -> tuple[str | Recipe, int]:
    return hop.model, hop.layer


def _name_base(config: Mapping[str, Any]) -> str:
    """Return the library's class that the path is run by.

    Raises:
        RecipeError: the config names none, or one of its own code that the library does not have.
    """
    named = [str(name) for name in config.get("architectures") or []]
    known = config.get("model_type") == KIND or complete_config(config)
    if len(named) != 1 or not named[0].isidentifier() or not known:
        told = "the compact form needs models whose config.json names one class of transformers"
        raise RecipeError("path", [Problem("slices", told)])
    return named[0]


def _map_code(base: str) -> dict[str, str]:
    """Say which classes of the modelling file stand for configuration and model."""
    module = MODELING.removesuffix(".py")
    return {"AutoConfig": f"{module}.PathConfig", "AutoModelForCausalLM": f"{module}.{base}"}
