"""What a recipe must satisfy before any model is opened: names, ranges, counts, weight sums."""

from collections.abc import Callable, Iterator

from evomerge.methods import METHODS, MethodSpec
from evomerge.methods.spec import MISSING
from evomerge.recipe.model import Parameters, Recipe, Slice, Source
from evomerge.recipe.schedule import Schedule, Value
from evomerge.recipe.schema import MERGEKIT_PARAMETERS
from evomerge.registry import suggest

Note = Callable[[str, str], None]
UNFILTERED = "\0"
"""Stands for a tensor whose name matches no filter."""


def check_recipe(recipe: Recipe, wrong: Note, warn: Note, *, lenient: bool = False) -> None:
    """Check a recipe against its method's declaration.

    Args:
        recipe: with a known method.
        wrong: told each problem as (YAML path, message).
        warn: told each thing that has no effect.
        lenient: whether an unknown parameter is only warned about.
    """
    spec = METHODS.get(recipe.method)
    _check_parameters(recipe.parameters, "parameters", spec, wrong, warn, lenient)
    for path, part in slice_paths(recipe):
        _check_parameters(part.parameters, f"{path}.parameters", spec, wrong, warn, lenient)
        for place, source in source_paths(recipe, path, part):
            where = f"{place}.parameters"
            _check_parameters(source.parameters, where, spec, wrong, warn, lenient)
            _warn_of_globals(source.parameters, where, spec, warn)
        _check_layers(recipe, path, part, wrong)
        _check_counts(recipe, path, part, spec, wrong)
        _check_values(recipe, path, part, spec, wrong)


def slice_paths(recipe: Recipe) -> Iterator[tuple[str, Slice]]:
    """Yield each slice with its YAML path."""
    for index, part in enumerate(recipe.slices):
        yield ("models" if recipe.merges_whole_models else f"slices[{index}]"), part


def source_paths(recipe: Recipe, path: str, part: Slice) -> Iterator[tuple[str, Source]]:
    """Yield each source of a slice with its YAML path."""
    for index, source in enumerate(part.sources):
        yield (
            f"{path}[{index}]" if recipe.merges_whole_models else f"{path}.sources[{index}]",
            source,
        )


def inputs_of(recipe: Recipe, part: Slice, spec: MethodSpec) -> tuple[list[Source], str | None]:
    """Return the sources that count as models, and the base (None where the method has none)."""
    if spec.base == "none":
        return list(part.sources), None
    base = part.base_model or recipe.base_model
    return [source for source in part.sources if source.model != base], base


def lookup(recipe: Recipe, part: Slice, source: Source | None, name: str) -> list[Schedule]:
    """Return the schedules that may give a parameter, most specific first."""
    scopes = ([source.parameters] if source else []) + [part.parameters, recipe.parameters]
    return [found for scope in scopes if (found := dict(scope).get(name))]


def resolve(schedules: list[Schedule], tensor: str, depth: float) -> Value | None:
    """Return the first value that any of the schedules has for a tensor at a depth."""
    for schedule in schedules:
        value = schedule.at(tensor, depth)
        if value is not None:
            return value
    return None


def _check_parameters(
    parameters: Parameters, path: str, spec: MethodSpec, wrong: Note, warn: Note, lenient: bool
) -> None:
    for name, schedule in parameters:
        known = spec.parameters.get(name)
        if known:
            for message in dict.fromkeys(known.complain(v) for v in schedule.values()):
                if message:
                    wrong(f"{path}.{name}", message)
        elif name in MERGEKIT_PARAMETERS:
            warn(f"{path}.{name}", f"has no effect: {spec.name} does not read it")
        else:
            (warn if lenient else wrong)(
                f"{path}.{name}",
                f"{spec.name} has no parameter {name!r}{suggest(name, sorted(spec.parameters))}",
            )


def _warn_of_globals(parameters: Parameters, path: str, spec: MethodSpec, warn: Note) -> None:
    for name, _ in parameters:
        if name in spec.parameters and not spec.parameters[name].per_model:
            warn(f"{path}.{name}", f"has no effect on one model: {name} is one for all of them")


def _check_layers(recipe: Recipe, path: str, part: Slice, wrong: Note) -> None:
    lengths: set[int | None] = set()
    for place, source in source_paths(recipe, path, part):
        if source.layers is None:
            lengths.add(None)
            continue
        first, last = source.layers
        lengths.add(last - first)
        if not 0 <= first < last:
            wrong(f"{place}.layer_range", f"[{first}, {last}] holds no layer; write [first, end)")
    if len(lengths) > 1:
        wrong(path, "all sources of a slice must have the same number of layers")
    if None in lengths and not recipe.merges_whole_models:
        wrong(path, "every source needs a layer_range")


def _check_counts(recipe: Recipe, path: str, part: Slice, spec: MethodSpec, wrong: Note) -> None:
    sources, base = inputs_of(recipe, part, spec)
    if spec.base == "required" and base is None:
        wrong("base_model", f"{spec.name} needs a base model")
        return
    beside = " besides the base" if spec.base == "required" else ""
    if spec.max_models is not None and len(sources) > spec.max_models:
        wrong(path, f"{spec.name} takes {spec.max_models} model{beside}, not {len(sources)}")
    if len(sources) < spec.min_models:
        wrong(
            path, f"{spec.name} takes at least {spec.min_models} model{beside}, not {len(sources)}"
        )


def _check_values(recipe: Recipe, path: str, part: Slice, spec: MethodSpec, wrong: Note) -> None:
    sources, _ = inputs_of(recipe, part, spec)
    found = {id(s): place for place, s in source_paths(recipe, path, part)}
    complete = True
    for name, parameter in spec.parameters.items():
        if parameter.default is not MISSING:
            continue
        owners = sources if parameter.per_model else [None]
        for source in owners:
            if resolve(lookup(recipe, part, source, name), UNFILTERED, 0.0) is None:
                place = found[id(source)] if source else path
                given = bool(lookup(recipe, part, source, name))
                wrong(place, f"{name} is missing{' for tensors that match no filter' * given}")
                complete = False
    if complete and sources:
        _check_weight_sum(recipe, path, part, spec, wrong)


def _check_weight_sum(
    recipe: Recipe, path: str, part: Slice, spec: MethodSpec, wrong: Note
) -> None:
    if not {"weight", "normalize"} <= set(spec.parameters):
        return
    sources, _ = inputs_of(recipe, part, spec)
    scopes = [lookup(recipe, part, source, "weight") for source in sources]
    flags = lookup(recipe, part, None, "normalize")
    rules = [rule for scope in scopes for schedule in scope for rule in schedule.rules]
    names = dict.fromkeys([UNFILTERED, *(r.filter for r in rules if r.filter not in ("*", None))])
    depths = {
        i / (len(r.values) - 1) for r in rules if len(r.values) > 1 for i in range(len(r.values))
    }
    for name in names:
        for depth in sorted(depths | {0.0, 1.0}):
            weights = [resolve(scope, str(name), depth) for scope in scopes]
            flag = resolve(flags, str(name), depth)
            normalize = spec.parameters["normalize"].default if flag is None else flag
            numbers = [w for w in weights if isinstance(w, (int, float))]
            if normalize and len(numbers) == len(weights) and abs(sum(numbers)) < 1e-12:
                where = "" if name == UNFILTERED else f" for {name!r}"
                wrong(path, f"the weights sum to zero{where}, so they cannot be normalized")
                return
