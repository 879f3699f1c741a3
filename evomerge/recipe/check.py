"""What a recipe must satisfy before any model is opened: names, ranges, counts, weight sums."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from evomerge.methods import METHODS, MethodSpec
from evomerge.methods.spec import MISSING
from evomerge.recipe.consistency import UNFILTERED, find_cancelling, find_clash
from evomerge.recipe.model import Module, Parameters, Recipe, Slice, Source
from evomerge.recipe.path import complain_of_scales, has_scales
from evomerge.recipe.schedule import Schedule, resolve
from evomerge.recipe.schema import MERGEKIT_PARAMETERS
from evomerge.registry import suggest

Note = Callable[[str, str], None]


def check_recipe(recipe: Recipe, wrong: Note, warn: Note, *, lenient: bool = False) -> None:
    """Check a recipe against its method's declaration.

    Args:
        recipe: with a known method.
        wrong: told each problem as (YAML path, message).
        warn: told each thing that has no effect.
        lenient: whether an unknown parameter is only warned about.
    """
    spec = METHODS.get(recipe.method)
    check = _Check(recipe, spec, wrong, warn, lenient)
    check.output()
    check.scales()
    check.parameters(recipe.parameters, "parameters")
    for module, path, part in slice_paths(recipe):
        check.slice(module, path, part)
    for module in recipe.modules:
        check.parameters(module.parameters, f"modules.{module.name}.parameters")


def slice_paths(recipe: Recipe) -> Iterator[tuple[Module, str, Slice]]:
    """Yield each slice with its module and its YAML path."""
    for module in recipe.sections:
        prefix = f"modules.{module.name}." if recipe.modules else ""
        for index, part in enumerate(module.slices):
            place = "models" if module.merges_whole_models else f"slices[{index}]"
            yield module, f"{prefix}{place}", part


def source_paths(path: str, part: Slice) -> Iterator[tuple[str, Source]]:
    """Yield each source of a slice with its YAML path."""
    inside = path if path.endswith("models") else f"{path}.sources"
    for index, source in enumerate(part.sources):
        yield f"{inside}[{index}]", source


def inputs_of(
    recipe: Recipe, part: Slice, spec: MethodSpec
) -> tuple[list[Source], str | Recipe | None]:
    """Return the sources that count as models, and the base (None where the method has none)."""
    if spec.base == "none":
        return list(part.sources), None
    base = part.base_model or recipe.base_model
    return [source for source in part.sources if source.model != base], base


def lookup(
    recipe: Recipe, part: Slice, source: Source | None, name: str, module: Module | None = None
) -> list[Schedule]:
    """Return the schedules that may give a parameter, most specific first."""
    scopes = ([source.parameters] if source else []) + [part.parameters]
    scopes += ([module.parameters] if module else []) + [recipe.parameters]
    return [schedule for scope in scopes for key, schedule in scope if key == name]


@dataclass(frozen=True)
class _Check:
    """What the checks of one recipe share: its method, and whom to tell."""

    recipe: Recipe
    spec: MethodSpec
    wrong: Note
    warn: Note
    lenient: bool

    def output(self) -> None:
        """Check what is asked of a result that is an adapter: only lists of adapters give one."""
        recipe, inner = self.recipe, [m for m in self.recipe.named() if isinstance(m, Recipe)]
        if any(part.output == "lora" for part in inner):
            self.wrong("", "a recipe inside another gives a model: take `output: lora` out of it")
        if recipe.output != "lora":
            if recipe.lora_rank is not None:
                self.wrong("lora_rank", "only an adapter has a rank: add `output: lora`")
            return
        if recipe.modules or not recipe.merges_whole_models or inner:
            self.wrong("output", "`output: lora` merges adapters listed under `models:`")
        for key in ("dtype", "out_dtype", "tokenizer", "chat_template"):
            if getattr(recipe, key) is not None:
                self.warn(key, "has no effect on an adapter")

    def scales(self) -> None:
        for problem in complain_of_scales(self.recipe):
            self.wrong(problem.path, problem.message)
        if self.recipe.input_scale_target != "stream" and not has_scales(self.recipe):
            self.warn("input_scale_target", "has no effect: no slice has an input_scale")

    def parameters(self, parameters: Parameters, path: str) -> None:
        spec = self.spec
        for name, schedule in parameters:
            known = spec.parameters.get(name)
            if known:
                for message in dict.fromkeys(known.complain(v) for v in schedule.values()):
                    if message:
                        self.wrong(f"{path}.{name}", message)
            elif name in MERGEKIT_PARAMETERS:
                self.warn(f"{path}.{name}", f"has no effect: {spec.name} does not read it")
            else:
                hint = suggest(name, sorted(spec.parameters))
                note = self.warn if self.lenient else self.wrong
                note(f"{path}.{name}", f"{spec.name} has no parameter {name!r}{hint}")

    def slice(self, module: Module, path: str, part: Slice) -> None:
        self.parameters(part.parameters, f"{path}.parameters")
        for place, source in source_paths(path, part):
            self.parameters(source.parameters, f"{place}.parameters")
            self._warn_of_globals(source.parameters, f"{place}.parameters")
        self._layers(module, path, part)
        self._counts(path, part)
        self._values(module, path, part)

    def _warn_of_globals(self, parameters: Parameters, path: str) -> None:
        for name, _ in parameters:
            if name in self.spec.parameters and not self.spec.parameters[name].per_model:
                told = f"has no effect on one model: {name} is one for all of them"
                self.warn(f"{path}.{name}", told)

    def _layers(self, module: Module, path: str, part: Slice) -> None:
        lengths: set[int | None] = set()
        for place, source in source_paths(path, part):
            if source.layers is None:
                lengths.add(None)
                continue
            first, last = source.layers
            lengths.add(last - first)
            if not 0 <= first < last:
                told = f"[{first}, {last}] holds no layer; write [first, end)"
                self.wrong(f"{place}.layer_range", told)
        if len(lengths) > 1:
            self.wrong(path, "all sources of a slice must have the same number of layers")
        if None in lengths and not module.merges_whole_models:
            self.wrong(path, "every source needs a layer_range")

    def _counts(self, path: str, part: Slice) -> None:
        spec = self.spec
        sources, base = inputs_of(self.recipe, part, spec)
        if spec.base == "required" and base is None:
            self.wrong("base_model", f"{spec.name} needs a base model")
            return
        beside = " besides the base" if base is not None else ""
        takes = f"{spec.name} takes {{}} model{beside}, not {len(sources)}"
        if spec.max_models is not None and len(sources) > spec.max_models:
            self.wrong(path, takes.format(spec.max_models))
        if len(sources) < spec.min_models:
            self.wrong(path, takes.format(f"at least {spec.min_models}"))

    def _values(self, module: Module, path: str, part: Slice) -> None:
        sources, _ = inputs_of(self.recipe, part, self.spec)
        found = {id(source): place for place, source in source_paths(path, part)}
        complete = True
        for name, parameter in self.spec.parameters.items():
            if parameter.default is not MISSING:
                continue
            for source in sources if parameter.per_model else [None]:
                schedules = lookup(self.recipe, part, source, name, module)
                if resolve(schedules, UNFILTERED, 0.0) is None:
                    place = found[id(source)] if source else path
                    where = " for tensors that match no filter" if schedules else ""
                    self.wrong(place, f"{name} is missing{where}")
                    complete = False
        if complete and sources:
            self._together(module, path, part)

    def _together(self, module: Module, path: str, part: Slice) -> None:
        """Check values that are each given and good against each other."""
        known, (sources, _) = self.spec.parameters, inputs_of(self.recipe, part, self.spec)
        scopes = [
            {
                name: lookup(self.recipe, part, source if p.per_model else None, name, module)
                for name, p in known.items()
            }
            for source in sources
        ]
        clashes = [find_clash(self.spec, own) for own in scopes]
        places = {id(source): place for place, source in source_paths(path, part)}
        for source, message in zip(sources, clashes, strict=True):
            if message:
                self.wrong(places[id(source)], message)
        if {"weight", "normalize"} <= known.keys():
            flags, default = scopes[0]["normalize"], known["normalize"].default
            where = find_cancelling([own["weight"] for own in scopes], flags, default)
            if where is not None:
                self.wrong(path, f"the weights sum to zero{where}, so they cannot be normalized")


__all__ = ["check_recipe", "inputs_of", "lookup", "resolve", "slice_paths", "source_paths"]
