"""The task-arithmetic family, one table: sparsifier × consensus × normalize × rescale.

Task arithmetic (Ilharco et al., 2023, https://arxiv.org/abs/2212.04089), TIES (Yadav et al.,
2023, https://arxiv.org/abs/2306.01708), DARE (Yu et al., 2024, https://arxiv.org/abs/2311.03099),
Model Breadcrumbs (Davari & Belilovsky, 2024, https://arxiv.org/abs/2312.06795), DELLA (Deep et
al., 2024, https://arxiv.org/abs/2406.11617). All thin out task vectors and add up what is left.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

from evomerge.methods.spec import (
    MISSING,
    Density,
    InGenomes,
    Limit,
    MethodSpec,
    PerModel,
    Range,
    Scale,
    Search,
    Weight,
    merge_method,
    spread,
)
from evomerge.tensor_ops.blocks import Formula, Operands
from evomerge.tensor_ops.consensus import Consensus, Election, RandomMask, Thinning, thinned_norms
from evomerge.tensor_ops.interpolation import Blend, as_fractions, nonzero_sum
from evomerge.tensor_ops.quantile import Deltas, find_magnitude_cuts
from evomerge.tensor_ops.ranked_chances import RankedChances

Sparsifier = Literal["none", "magnitude", "random", "outliers", "rank"]
Rescale = Annotated[bool | Literal["paper"], InGenomes("paper")]
Outliers = Annotated[float, Range(0.0, 1.0), Search(0.0, 0.1)]
Spread = Annotated[float, Range(0.0, 1.0), Search(0.0, 0.2)]
NOTHING = Thinning(factor=0.0)


def limit_spread(values: Mapping[str, Any]) -> list[Limit]:
    """Say which epsilon a density leaves room for, where ranks decide: p = 0 and 1 are excluded."""
    density = values["density"]
    by_rank = values.get("sparsifier", "rank") == "rank" and values["epsilon"] != 0.0
    if not by_rank or not 0.0 < density < 1.0:
        return []
    most = round(min(density, 1.0 - density), 12)
    reason = f"density ± epsilon must lie within (0, 1), and density is {density:g}"
    return [Limit("epsilon", Range(0.0, most, open_high=True), reason)]


@merge_method(
    "generalized_task_arithmetic",
    base="required",
    zero_gives_base=True,
    random=True,
    granularity="rows",
    limits=limit_spread,
)
def generalized_task_arithmetic(  # noqa: PLR0913 - the family's whole product space
    operands: Operands,
    *,
    weight: PerModel[Weight],
    density: PerModel[Density] = 1.0,  # type: ignore[assignment]  # one value stands for all
    gamma: PerModel[Outliers] = 0.01,  # type: ignore[assignment]  # as above
    epsilon: PerModel[Spread] = 0.15,  # type: ignore[assignment]  # as above
    sparsifier: Annotated[Sparsifier, Search()] = "none",
    consensus: Annotated[Consensus, Search()] = "none",
    normalize: bool = False,
    rescale: Rescale = False,
    lambda_: Scale = 1.0,
) -> Formula:
    """Thin out task vectors, elect signs or not, add the weighted sum to the base.

    Sparsifiers: `magnitude` keeps the max(1, ⌊density·n⌋) largest entries of each tensor,
    `outliers` drops the ⌊gamma·n⌋ largest first, `random` keeps each with probability `density`,
    `rank` with a probability that grows with its rank in its row, from density - epsilon to
    density + epsilon. `rescale: true` restores each tensor's L1 norm (as mergekit does), `paper`
    does what each paper does: what chance keeps is divided by its probability, the largest are
    left as they are. Consensus is that of `Election`; `normalize` divides by the sum of weights.
    """
    count = len(operands.models)
    shares = zip(*(spread(values, count) for values in (density, gamma, epsilon)), strict=True)
    thinnings = tuple(
        _thin_out(operands, i, sparsifier, share, rescale) for i, share in enumerate(shares)
    )
    # Where weights of both signs are normalized and cancel, they count as they are.
    plain = normalize and min(weight) < 0.0
    weights, divisor = (tuple(weight), 1.0) if plain else as_fractions(weight)
    if consensus == "none" and all(thinning.changes_nothing for thinning in thinnings):
        divisor = nonzero_sum(weights) if normalize else divisor
        return Blend(weights, deltas=True, divisor=divisor, scale=lambda_)
    scale = lambda_ if normalize else lambda_ / divisor
    return Election(weights, thinnings, consensus, normalize, scale)


def _thin_out(
    operands: Operands,
    model: int,
    sparsifier: Sparsifier,
    shares: tuple[float, float, float],
    rescale: Rescale,
) -> Thinning:
    density, gamma, epsilon = shares
    if sparsifier == "none" or density >= 1.0 or not operands.numel:
        return Thinning()
    if density <= 0.0:
        return NOTHING
    if sparsifier == "random" or (sparsifier == "rank" and epsilon == 0.0):
        factor = 1.0 / density if rescale == "paper" else 1.0
        thinning = Thinning(mask=RandomMask(operands.mask_key(model), density), factor=factor)
    elif sparsifier == "rank":
        mask = _mask_by_rank(operands, model, density, epsilon, divide=rescale == "paper")
        thinning = Thinning(mask=mask)
    else:
        kept, top = int(density * operands.numel), int(gamma * operands.numel)
        kept, top = (kept, top) if sparsifier == "outliers" else (max(1, kept), 0)
        thinning = _cut_band(operands.only(model), kept, top)
    if rescale is not True or thinning.changes_nothing or thinning == NOTHING:
        return thinning
    return replace(thinning, factor=_restore_norm(operands, model, thinning))


def _mask_by_rank(
    operands: Operands, model: int, density: float, epsilon: float, *, divide: bool
) -> RandomMask:
    width = operands.shape[-1] if operands.shape else 1
    chances = RankedChances(width, density, epsilon)
    return RandomMask(operands.mask_key(model), density, chances, divide)


def _cut_band(one: Operands, kept: int, top: int) -> Thinning:
    """Drop the `top` largest magnitudes (fewer where `kept` need them), keep the next `kept`."""
    if not kept:
        return NOTHING
    top = min(top, one.numel - kept)
    wanted = [keep for keep in (kept + top, top) if 0 < keep < one.numel]
    found = find_magnitude_cuts(Deltas(one), wanted) if wanted else []
    cuts = dict(zip(wanted, found, strict=True))
    return Thinning(floor=cuts.get(kept + top), ceiling=cuts.get(top))


def _restore_norm(operands: Operands, model: int, thinning: Thinning) -> float:
    before, after = thinned_norms(operands.only(model), thinning)
    return before / after if after else 1.0


def _row(
    name: str, sparsifier: Sparsifier, consensus: Consensus, about: str, **defaults: Any
) -> MethodSpec:
    """Return a method of the family: its sparsifier and consensus fixed, its own defaults."""
    family = generalized_task_arithmetic
    random = sparsifier in ("random", "rank")
    fixed = {"sparsifier": sparsifier, "consensus": consensus}
    unread = {
        "none": ("density", "gamma", "epsilon", "rescale"),
        "magnitude": ("gamma", "epsilon"),
        "random": ("gamma", "epsilon"),
        "outliers": ("epsilon",),
        "rank": ("gamma",),
    }[sparsifier]
    parameters = {
        key: replace(
            parameter,
            default=defaults.get(key, parameter.default),
            in_genomes=parameter.in_genomes if random else MISSING,
        )
        for key, parameter in family.parameters.items()
        if key not in fixed and key not in unread
    }
    function = partial(family.function, **fixed)
    function.__doc__ = about
    return replace(
        family,
        name=name,
        function=function,
        parameters=parameters,
        random=random,
        granularity="rows" if sparsifier == "rank" else "elements",
        limits=limit_spread if sparsifier == "rank" else None,
    )


FAMILY = (
    generalized_task_arithmetic,
    _row("task_arithmetic", "none", "none",
         """Base plus the weighted sum of task vectors: θ₀ + λ·Σ wᵢ(θᵢ - θ₀).

Use it for two or three models tuned from one base: the plain choice to measure others against.

Limits: where task vectors contradict each other they cancel; the more models, the more.

Paper: Ilharco et al., 2023, https://arxiv.org/abs/2212.04089"""),
    _row("ties", "magnitude", "sum",
         """Keep each task vector's largest entries, elect a sign, average those that agree.

Use it for several models whose task vectors contradict each other.

Limits: at low densities small changes that many models share are lost.

Paper: Yadav et al., 2023, https://arxiv.org/abs/2306.01708""",
         normalize=True),
    _row("dare_linear", "random", "none",
         """Drop a random share of each task vector, rescale the rest, add the weighted sum.

Use it for models tuned lightly: most of what they changed can be left out.

Limits: large task vectors suffer below a density of about 0.5; results vary with the seed.

Paper: Yu et al., 2024, https://arxiv.org/abs/2311.03099""",
         rescale=True),
    _row("dare_ties", "random", "sum",
         """Drop at random as in dare_linear, then elect a sign as in TIES and sum what agrees.

Use it for several lightly tuned models whose task vectors contradict each other.

Limits: as dare_linear; without normalize the sum grows with the number of models.

Paper: Yu et al., 2024, https://arxiv.org/abs/2311.03099""",
         rescale=True),
    _row("breadcrumbs", "outliers", "none",
         """Drop each task vector's largest outliers and its small entries, add the weighted sum.

Use it for many models: what is left of each seldom disturbs the others.

Limits: what is learnt in a few large entries is lost on purpose; gamma 0 keeps it.

Paper: Davari & Belilovsky, 2024, https://arxiv.org/abs/2312.06795"""),
    _row("breadcrumbs_ties", "outliers", "sum",
         """Drop outliers and small entries, then elect a sign as in TIES and sum what agrees.

Use it as breadcrumbs, where task vectors contradict each other.

Limits: as breadcrumbs; without normalize the sum grows with the number of models.

Paper: Davari & Belilovsky, 2024, https://arxiv.org/abs/2312.06795"""),
    _row("della_linear", "rank", "none",
         """Drop at random, small entries rather than large, rescale, add the weighted sum.

Use it as dare_linear, where large entries should rather stay.

Limits: density ± epsilon must lie within (0, 1); ranks are those of a row (last dimension).

Paper: Deep et al., 2024, https://arxiv.org/abs/2406.11617""",
         rescale=True),
    _row("della", "rank", "sum",
         """Drop at random, small entries rather than large, elect a sign, average what agrees.

Use it as dare_ties, where large entries should rather stay.

Limits: density ± epsilon must lie within (0, 1); ranks are those of a row (last dimension).

Paper: Deep et al., 2024, https://arxiv.org/abs/2406.11617""",
         normalize=True, rescale=True),
)  # fmt: skip
