"""The parts of a search: how a budget is divided, what begins where, what is refused."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.config import GenomeSettings, RunConfig, parse_config
from evomerge.engine import Models
from evomerge.errors import ConfigError
from evomerge.evolve.encodings import Encoding
from evomerge.evolve.phases import Phase, plan_phases, share_out
from evomerge.recipe import Recipe, find_hops, is_path

MakeModel = Callable[..., Path]
TASK = {"name": "sort", "evaluator": "exact_match", "data": "zoo:sort"}
MERGE = {"merge_method": "task_arithmetic", "base_model": "zoo:base"}


def configure(evaluations: int = 80, **genome: Any) -> RunConfig:
    models = {"models": ["zoo:sort", "zoo:reverse"]}
    search = {"algorithm": "random", "evaluations": evaluations}
    return parse_config({"genome": models | genome, "tasks": [TASK], "search": search})


def rehearse(config: RunConfig) -> list[tuple[Phase, Encoding, Recipe]]:
    """Carry out the phases as if each ended where it begins."""
    found: list[tuple[Phase, Encoding, Recipe]] = []
    for phase in plan_phases(config, Models()):
        genome = phase.make(None if phase.after is None else found[phase.after][2])
        found.append((phase, genome, genome.decode(genome.space.start())))
    return found


def unused(_: Recipe | None) -> Encoding:
    raise AssertionError


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=7), st.integers(0, 300))
def test_the_whole_budget_is_spent_and_no_phase_goes_without(parts: list[int], more: int) -> None:
    phases = [Phase("", Fraction(part, sum(parts)), unused) for part in parts]
    budgets = share_out(len(phases) + more, phases)
    assert sum(budgets) == len(phases) + more
    assert min(budgets) >= 1
    wanted = [phase.share * sum(budgets) for phase in phases]
    if min(wanted) >= 1:
        assert all(abs(b - w) <= 1 for b, w in zip(budgets, wanted, strict=True))


@pytest.mark.parametrize("space", ["data_flow", "depth_wise", "joint"])
def test_layers_are_searched_without_scales_and_then_scales_of_what_won(space: str) -> None:
    config = configure(space=space, **(MERGE if space == "joint" else {}))
    layers, grid, free = rehearse(config)
    names = ["layers", "grid of scales", "free scales"]
    assert [phase.name for phase, _, _ in (layers, grid, free)] == names
    assert [phase.after for phase, _, _ in (layers, grid, free)] == [None, 0, 1]
    assert share_out(80, plan_phases(config, Models())) == [40, 20, 20]
    assert not any("scale" in gene.name for gene in layers[1].space.genes)
    hops = [[(h.model, h.layer) for h in find_hops(recipe)] for _, _, recipe in (layers, grid)]
    assert hops[0] == hops[1]
    assert {gene.choices for gene in grid[1].space.genes} == {(0.8, 1.0, 1.25)}
    assert {(g.low, g.high, g.choices) for g in free[1].space.genes} == {(0.5, 1.5, ())}
    assert len(free[1].space) == len(hops[0])


@pytest.mark.parametrize("scales", ["none", "matrix", "network"])
def test_other_scales_are_searched_with_the_layers(scales: str) -> None:
    ((phase, genome, _),) = rehearse(configure(space="data_flow", scales=scales))
    assert (phase.name, phase.share) == ("", 1)
    kinds = {gene.name.split("/")[0].split(".")[0] for gene in genome.space.genes}
    assert (
        kinds == {"path"} | ({"none": set(), "matrix": {"scale"}, "network": {"network"}}[scales])
    )


def test_a_winner_of_both_spaces_is_put_back_into_the_pool_with_each_model() -> None:
    config = configure(space="both", scales="none", **MERGE)
    merge, *paths = rehearse(config)
    assert merge[0].name == "parameters"
    assert not is_path(merge[2])
    partners = ["zoo:sort", "zoo:reverse"]
    for (phase, _, recipe), partner in zip(paths, partners, strict=True):
        assert (phase.name, phase.after) == (f"paths with {partner}", 0)
        hops = find_hops(recipe)
        assert {hop.model for hop in hops} <= {merge[2], partner}
        assert (hops[0].model, hops[0].layer) == (merge[2], 0)
        assert (hops[-1].model, hops[-1].layer) == (merge[2], 3)
    assert share_out(80, plan_phases(config, Models())) == [40, 20, 20]


def test_scales_of_both_spaces_are_refined_pair_by_pair() -> None:
    found = rehearse(configure(space="both", **MERGE))
    assert [phase.after for phase, _, _ in found] == [None, 0, 1, 2, 0, 4, 5]
    assert found[5][0].name == "grid of scales with zoo:reverse"
    assert [h.layer for h in find_hops(found[6][2])] == [h.layer for h in find_hops(found[4][2])]


def test_a_joint_genome_has_the_merge_at_the_beginning_of_its_pool() -> None:
    ((_, genome, recipe),) = rehearse(configure(space="joint", scales="none", **MERGE))
    hops = find_hops(recipe)
    assert isinstance(hops[0].model, Recipe)
    assert hops[0].model.method == "task_arithmetic"
    assert hops[0].model == hops[-1].model
    assert {gene.name.split(".")[0] for gene in genome.space.genes} == {"weight", "path"}


def test_fewer_evaluations_than_phases_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"search.evaluations: this search has 3 phases, each"):
        plan_phases(configure(2, space="data_flow"), Models())


def test_slots_have_to_be_so_many_times_the_layers() -> None:
    with pytest.raises(ConfigError, match=r"genome.slots: 2 repeats of 8 layers are 16 .* not 18"):
        rehearse(configure(space="data_flow", repeats=2, slots=18))
    assert rehearse(configure(space="data_flow", repeats=2, slots=16))


@pytest.mark.parametrize("exportable", [True, False])
def test_layers_of_another_size_name_both_models_and_a_way_out(
    exportable: bool, tiny_llama: MakeModel
) -> None:
    config = configure(space="data_flow", exportable=exportable)
    genome = config.genome.model_copy(update={"models": ["zoo:sort", str(tiny_llama(0))]})
    wrong = config.model_copy(update={"genome": genome})
    message = r"genome.models: zoo:sort has hidden_size 128 and .* has 32: .*cross-domain merging"
    with pytest.raises(ConfigError, match=message):
        plan_phases(wrong, Models())


def test_settings_that_no_stock_checkpoint_holds_need_a_word(tiny_llama: MakeModel) -> None:
    models = [str(tiny_llama(0)), str(tiny_llama(1, rms_norm_eps=1e-3))]
    settings = GenomeSettings(space="data_flow", models=models)
    config = configure(space="data_flow").model_copy(update={"genome": settings})
    with pytest.raises(ConfigError, match=r"genome.models: .* has rms_norm_eps .* a stock config"):
        plan_phases(config, Models())
    loose = settings.model_copy(update={"exportable": False})
    assert plan_phases(config.model_copy(update={"genome": loose}), Models())


@pytest.mark.parametrize("space", ["both", "joint"])
def test_a_base_whose_settings_the_merge_has_must_be_like_the_models(
    space: str, tiny_llama: MakeModel
) -> None:
    models, base = [str(tiny_llama(seed)) for seed in (0, 1)], str(tiny_llama(2, rope_theta=5e5))
    names = {"models": models, "base_model": base, "merge_method": "task_arithmetic"}
    settings = GenomeSettings.model_validate({"space": space, **names})
    config = configure(space=space, **MERGE).model_copy(update={"genome": settings})
    with pytest.raises(ConfigError, match=f"genome.models: {base} has rope_parameters.rope_theta"):
        plan_phases(config, Models())
    for change in ({"base_model": str(tiny_llama(2))}, {"space": "data_flow"}):
        fine = settings.model_copy(update=change)
        assert plan_phases(config.model_copy(update={"genome": fine}), Models())


def test_bounds_beyond_the_models_are_refused_with_their_names() -> None:
    with pytest.raises(ConfigError, match=r"genome.shortest: expected a number from 1 to 4"):
        rehearse(configure(space="data_flow", shortest=5))
    with pytest.raises(ConfigError, match=r"genome.longest: a path has at least 2 layers"):
        rehearse(configure(space="data_flow", longest=1, shortest=1))
