"""From a recipe to its plan.

Only headers are read. Everything that cannot work is found here, all at once.
"""

import logging
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from evomerge.checkpoints.architecture import Layout
from evomerge.checkpoints.locate import locate
from evomerge.checkpoints.reader import FLOATING
from evomerge.engine.configuration import write_configuration
from evomerge.engine.models import Models
from evomerge.engine.plan import CODES, Input, Plan, TensorPlan
from evomerge.errors import CheckpointError, EvoMergeException, Problem, RecipeError
from evomerge.methods import METHODS
from evomerge.recipe.check import inputs_of, lookup, resolve, slice_paths, source_paths
from evomerge.recipe.model import Recipe, Slice, Source
from evomerge.recipe.schedule import EVERYTHING
from evomerge.registry import suggest

logger = logging.getLogger(__name__)
COPIED = ("I64", "I32", "I16", "BOOL", "U16", "U32", "U64")
MOST_LINES = 12


def make_plan(recipe: Recipe, models: Models, *, seed: int = 0) -> Plan:
    """Plan a merge.

    Raises:
        RecipeError: layers, tensors, shapes or dtypes do not fit; every problem is listed.
        CheckpointError: a model cannot be opened.
    """
    return _Planner(recipe, models, seed).plan()


class _Planner:
    """Carries the state of planning: the recipe, the models, and the problems found so far."""

    def __init__(self, recipe: Recipe, models: Models, seed: int) -> None:
        self.recipe, self.models, self.seed = recipe, models, seed
        self.spec = METHODS.get(recipe.method)
        self.problems: list[Problem] = []

    def plan(self) -> Plan:
        self._open_all()
        self._check_layers()
        self._stop_at_problems()
        tensors = tuple(self._tensors())
        self._stop_at_problems()
        config = self._config(tensors)
        tokenizer, warnings = self._tokenizer()
        warnings += tuple(self._idle_filters(tensors))
        self._stop_at_problems()
        return Plan(self.recipe, self.spec, tensors, config, tokenizer, self.seed, warnings)

    @cached_property
    def reference(self) -> str:
        """Return the model whose names, config and tokenizer the result has."""
        first = self.recipe.slices[0]
        return self.recipe.base_model or first.base_model or first.sources[0].model

    def _open_all(self) -> None:
        for reference in self.recipe.models:
            try:
                checkpoint = self.models[reference]
            except CheckpointError as error:
                if len(self.recipe.models) == 1:
                    raise
                self.problems.append(Problem("", str(error)))
                continue
            if checkpoint.config.get("quantization_config"):
                self._wrong("", f"{reference} is quantized; give the unquantized model")
        if len(self.problems) == 1:
            raise CheckpointError(str(self.problems[0]))
        self._stop_at_problems()

    def _check_layers(self) -> None:
        for path, part in slice_paths(self.recipe):
            lengths = {}
            for place, source in source_paths(self.recipe, path, part):
                count = self.models.layout(source.model).layers
                first, last = source.layers or (0, count)
                lengths[source.model] = last - first
                if last > count:
                    where = f"{place}.layer_range"
                    self._wrong(
                        where, f"[{first}, {last}] goes beyond {source.model}'s {count} layers"
                    )
            if len(set(lengths.values())) > 1 and self.recipe.merges_whole_models:
                told = ", ".join(f"{model} has {count}" for model, count in lengths.items())
                self._wrong(path, f"the models differ in their number of layers: {told}")

    def _tensors(self) -> Iterator[TensorPlan]:
        layout = self.models.layout(self.reference)
        first, last = self.recipe.slices[0], self.recipe.slices[-1]
        for name in layout.before:
            yield from self._whole(first, name)
        offset = 0
        for part in self.recipe.slices:
            ranges = [s.layers or (0, self.models.layout(s.model).layers) for s in part.sources]
            length = ranges[0][1] - ranges[0][0]
            for step in range(length):
                depth = step / (length - 1) if length > 1 else 1.0
                yield from self._layer(part, layout, offset + step, step, depth)
            offset += length
        for name in layout.after:
            yield from self._whole(last, name)
        if self.recipe.merges_whole_models:
            self._check_extras()

    def _whole(self, part: Slice, name: str) -> Iterator[TensorPlan]:
        """Plan a tensor outside the layers: it has the same name in every model.

        Gradients give it their first value, head and final norm included, as mergekit does.
        """
        sources, base = inputs_of(self.recipe, part, self.spec)
        wanted = [(source.model, name) for source in sources]
        origin = (base, name) if base else None
        yield from self._tensor(part, sources, name, wanted, origin, 0.0)

    def _layer(
        self, part: Slice, layout: Layout, index: int, step: int, depth: float
    ) -> Iterator[TensorPlan]:
        sources, base = inputs_of(self.recipe, part, self.spec)
        leader = (sources or list(part.sources))[0]
        lead = next((s for s in part.sources if s.model == base), leader)  # the base's own range
        at = (lead.layers or (0, 0))[0] + step
        for piece in layout.parts:
            home = self.models.layout(base or leader.model)
            if home.name(at, piece) not in self.models[base or leader.model].entries:
                continue  # layers need not be alike: some have parts that others lack
            wanted = [
                (s.model, self.models.layout(s.model).name((s.layers or (0, 0))[0] + step, piece))
                for s in sources
            ]
            origin = (base, home.name(at, piece)) if base else None
            yield from self._tensor(part, sources, layout.name(index, piece), wanted, origin, depth)

    def _tensor(
        self,
        part: Slice,
        sources: list[Source],
        name: str,
        wanted: list[tuple[str, str]],
        base: tuple[str, str] | None,
        depth: float,
    ) -> Iterator[TensorPlan]:
        found = [self._input(model, tensor) for model, tensor in wanted]
        origin = self._input(*base) if base else None
        inputs = tuple(i for i in found if i)
        if len(inputs) < len(found) or (base and not origin):
            return
        everyone = [*([origin] if origin else []), *inputs]
        if not everyone or not self._fits(everyone):
            return
        dtype, copied = self._dtype(everyone)
        values = {} if copied else self._values(part, sources, name, depth)
        yield TensorPlan(name, dtype, inputs or (everyone[0],), origin, values, copied)

    def _input(self, model: str, tensor: str) -> Input | None:
        entry = self.models[model].entries.get(tensor)
        if entry is None:
            self._wrong("", f"{model} lacks tensor {tensor}")
            return None
        return Input(model, entry)

    def _fits(self, inputs: list[Input]) -> bool:
        lead = inputs[0]
        for other in inputs[1:]:
            if other.entry.shape != lead.entry.shape:
                self._wrong(
                    "",
                    f"{other.entry.name} is {list(other.entry.shape)} in {other.model} but "
                    f"{list(lead.entry.shape)} in {lead.model}",
                )
                return False
        return True

    def _dtype(self, inputs: list[Input]) -> tuple[str, bool]:
        codes = {i.entry.dtype for i in inputs}
        if codes <= set(FLOATING):
            asked = self.recipe.out_dtype or self.recipe.dtype
            return (CODES[asked] if asked else _promote(codes)), False
        odd = next(i for i in inputs if i.entry.dtype not in FLOATING)
        if odd.entry.dtype not in COPIED:
            self._wrong(
                "",
                f"{odd.entry.name} in {odd.model} has dtype {odd.entry.dtype}: "
                "quantized weights cannot be merged",
            )
        return inputs[0].entry.dtype, True

    def _values(
        self, part: Slice, sources: list[Source], name: str, depth: float
    ) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, parameter in self.spec.parameters.items():
            owners = sources if parameter.per_model else [None]
            found = []
            for source in owners:
                value = resolve(lookup(self.recipe, part, source, key), name, depth)
                found.append(parameter.default if value is None else value)
            values[key] = tuple(found) if parameter.per_model else found[0]
        return values

    def _check_extras(self) -> None:
        known = self.models[self.reference].entries
        for model in self.recipe.models:
            extra = [name for name in self.models[model].entries if name not in known]
            if extra and model != self.reference:
                more = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
                self._wrong(
                    "", f"{model} has tensor {extra[0]}{more}, which {self.reference} lacks"
                )

    def _config(self, tensors: tuple[TensorPlan, ...]) -> dict[str, Any]:
        plan = Plan(self.recipe, self.spec, tensors, {}, Path(), 0, ())
        try:
            return write_configuration(self.recipe, self.models, self.reference, plan.dtype)
        except CheckpointError as error:
            self._wrong("slices", str(error))
            return {}

    def _tokenizer(self) -> tuple[Path, tuple[str, ...]]:
        asked = (self.recipe.tokenizer_source or "base").removeprefix("model:")
        prints = {m: self.models.tokenizer_fingerprint(m) for m in self.recipe.models}
        differ = [m for m, found in prints.items() if found and found != prints[self.reference]]
        warnings = tuple(
            f"{model} has another tokenizer than {self.reference}: merged embeddings mix tokens"
            for model in differ
        )
        if asked == "union" and differ:
            self._wrong("tokenizer_source", "a union of different tokenizers is not supported yet")
        if asked in ("base", "union"):
            return self.models[self.reference].folder, warnings
        try:
            return locate(asked), warnings
        except EvoMergeException as error:
            self._wrong("tokenizer_source", str(error))
            return Path(), warnings

    def _idle_filters(self, tensors: tuple[TensorPlan, ...]) -> Iterator[str]:
        """Warn of filters that speak of no tensor: most are misspelt."""
        scopes = [self.recipe.parameters]
        for part in self.recipe.slices:
            scopes += [part.parameters, *(source.parameters for source in part.sources)]
        rules = (rule for scope in scopes for _, schedule in scope for rule in schedule.rules)
        for wanted in dict.fromkeys(rule.filter for rule in rules):
            if wanted not in EVERYTHING and not any(str(wanted) in t.name for t in tensors):
                words = sorted({word for tensor in tensors for word in tensor.name.split(".")})
                hint = suggest(str(wanted), words)
                yield f"the filter {wanted!r} is part of no tensor's name{hint}"

    def _wrong(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message))

    def _stop_at_problems(self) -> None:
        distinct = list(dict.fromkeys(self.problems))
        if len(distinct) > MOST_LINES:
            rest = Problem("", f"… and {len(distinct) - MOST_LINES} more of the kind")
            distinct = [*distinct[:MOST_LINES], rest]
        if distinct:
            raise RecipeError(f"merge of {', '.join(self.recipe.models)}", distinct)


def _promote(codes: set[str]) -> str:
    """Return the narrowest floating dtype that holds all of them."""
    if len(codes) == 1:
        return next(iter(codes))
    return "F64" if "F64" in codes else "F32"
