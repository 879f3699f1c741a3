"""Paths with input scales, baked into stock checkpoints: scales become factors of weights.

With the norm's epsilon at 0 a pre-norm layer reads the same from S·g as from g, so that a stream
kept at g = h / S runs through ordinary layers whose outputs are divided by S, the product of all
scales so far. Where there is a norm behind the output its gain is divided instead; where none
stands before the input, what reads it is multiplied by S. `delta` scales what the hop before has
written, which is exact with any epsilon; at the first hop, the embedding.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from evomerge.checkpoints.architecture import is_head, is_tied
from evomerge.checkpoints.residual import ResidualStream, find_stream
from evomerge.engine.ingredients import Ingredient
from evomerge.errors import Problem, RecipeError
from evomerge.recipe.model import Parameters, Recipe, Slice, Source, freeze_parameters
from evomerge.recipe.path import Hop, find_hops
from evomerge.recipe.schedule import Rule, Schedule

Factors = dict[str, float]
"""Part of tensor names to what those tensors are multiplied by."""

MOST_PRODUCT = 1e20
"""Beyond this, and below its inverse, weights of ordinary size would leave float32's range."""


def bake(recipe: Recipe, ingredients: Mapping[str | Recipe, Ingredient]) -> Recipe:
    """Turn input scales into `scale` filters, which mergekit's passthrough understands.

    Args:
        recipe: a path; it is returned as it is where nothing is scaled.
        ingredients: the models on it.

    Returns:
        A passthrough recipe without input scales; Gemma's norms have a `shift` besides.

    Raises:
        RecipeError: the path cannot be, or no stock checkpoint computes what it does.
    """
    hops = find_hops(recipe, {model: i.modules[0].layers for model, i in ingredients.items()})
    if all(hop.scale == 1.0 for hop in hops):
        return recipe
    home = ingredients[hops[0].model]
    stream = find_stream(home.config, home.tensors)
    if stream is None:
        kind = home.config.get("model_type", "nameless")
        what = f"where {kind} layers write into the residual stream is not known, so scales cannot"
        told = f"{what} be baked into their weights; `evomerge merge --compact` keeps them apart"
        raise RecipeError("path", [Problem("slices", told)])
    if recipe.input_scale_target == "stream":
        factors, outside = _stream_factors(stream, hops), Factors()
    else:
        factors, outside = _delta_factors(stream, hops), _embedding_factors(stream, hops, home)
    slices = [*_slices(hops, factors, stream)]
    slices[0] = replace(slices[0], parameters=_parameters({**factors[0], **outside}, stream))
    return replace(recipe, slices=tuple(slices), input_scale_target="stream")


def _stream_factors(stream: ResidualStream, hops: Sequence[Hop]) -> list[Factors]:
    product, found = 1.0, []
    for hop in hops:
        product *= hop.scale
        if not 1.0 / MOST_PRODUCT < product < MOST_PRODUCT:
            told = f"the product of the scales, {product:g}, leaves no room for numbers"
            raise RecipeError("path", [Problem("slices", told)])
        writers = dict.fromkeys((*stream.attention, *stream.mlp), 1.0 / product)
        found.append({**writers, **dict.fromkeys(stream.readers, product)})
    return found


def _delta_factors(stream: ResidualStream, hops: Sequence[Hop]) -> list[Factors]:
    after = [*(hop.scale for hop in hops[1:]), 1.0]
    return [dict.fromkeys(stream.mlp, scale) for scale in after]


def _embedding_factors(stream: ResidualStream, hops: Sequence[Hop], home: Ingredient) -> Factors:
    """Scale what enters the first layer; a head tied to it is written apart, as it is."""
    scale = hops[0].scale
    if scale == 1.0:
        return {}
    apart = is_tied(home.config) and not any(map(is_head, home.tensors))
    return {**dict.fromkeys(stream.embedding, scale), **({stream.head: 1.0} if apart else {})}


def _slices(
    hops: Sequence[Hop], factors: Sequence[Factors], stream: ResidualStream
) -> Iterator[Slice]:
    """Yield the fewest slices: layers that follow each other and have equal factors are one."""
    first = 0
    for end in range(1, len(hops) + 1):
        before = hops[end - 1]
        following = Hop(before.model, before.layer + 1)
        if (
            end < len(hops)
            and replace(hops[end], scale=1.0) == following
            and factors[end] == factors[first]
        ):
            continue
        source = Source(before.model, (hops[first].layer, before.layer + 1))
        yield Slice((source,), parameters=_parameters(factors[first], stream))
        first = end


def _parameters(factors: Factors, stream: ResidualStream) -> Parameters:
    """Write factors as filters; a gain (c + w) times f is c + w', where w' = f·w + c·(f - 1)."""
    keep = stream.head if stream.head in factors else None
    rules = [Rule(part, (f,)) for part, f in factors.items() if f != 1.0 or part == keep]
    found = {"scale": Schedule(tuple(rules))} if rules else {}
    gains = set(stream.attention + stream.mlp) if stream.gain_offset else set()
    shifts = [
        Rule(part, (stream.gain_offset * (f - 1.0),))
        for part, f in factors.items()
        if part in gains and f != 1.0
    ]
    return freeze_parameters(found | ({"shift": Schedule(tuple(shifts))} if shifts else {}))
