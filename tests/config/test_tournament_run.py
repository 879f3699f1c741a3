from typing import Any

import pytest

from evomerge.config import (
    Configuration,
    EvolutionSettings,
    MergeSettings,
    ModelDomain,
    ModelReference,
    create_default_config,
)
from evomerge.config.settings import TaskSettings
from evomerge.config.tournament_run import SHARES, find_idle, plan_tournament
from evomerge.errors import ConfigError
from evomerge.evaluation.suite.battery import PARTS

MODELS = [ModelReference(name=n, path=f"zoo:{n}") for n in ("sort", "reverse", "successor")]


def configure(
    merging: MergeSettings | None = None, evolution: EvolutionSettings | None = None
) -> Configuration:
    return Configuration(
        models=MODELS,
        merge_settings=merging or MergeSettings(),
        evolution_settings=evolution or EvolutionSettings(),
    )


def test_shares_are_those_of_the_built_in_suite() -> None:
    assert {name: part.weight for name, part in PARTS.items()} == SHARES


def test_a_tournament_is_an_ordinary_run() -> None:
    run = plan_tournament(configure())
    assert (run.genome.space, run.search.algorithm) == ("techniques", "tournament")
    assert run.genome.models == ["zoo:sort", "zoo:reverse", "zoo:successor"]
    assert run.search.evaluations == 8 * 50
    assert run.search.options == {
        "population": 8,
        "rule": "elite",
        "mutation_rate": 0.1,
        "adaptive": True,
        "tournament_size": 3,
        "patience": 10,
    }
    assert run.objectives == []


def test_the_originals_parameters_are_where_the_search_begins() -> None:
    starts = plan_tournament(create_default_config()).genome.technique_starts
    assert starts["slerp"] == {"t": 0.5}
    assert starts["ties"] == {"density": 0.9}
    assert starts["dare"] == {"density": 0.9, "lambda": 2.0}


def test_the_weighted_mean_of_tasks_is_the_mean_of_the_objectives() -> None:
    tasks = {task.name: task.weight for task in plan_tournament(configure()).tasks}
    assert tasks["perplexity"] == pytest.approx(0.6)
    assert tasks["coding"] == pytest.approx(0.075)
    assert sum(tasks.values()) == pytest.approx(1.0)
    only = plan_tournament(configure(evolution=EvolutionSettings(objectives=["coherence"])))
    assert [task.name for task in only.tasks] == ["coherence"]


@pytest.mark.parametrize(
    ("objectives", "goals"),
    [
        (["perplexity", "coherence"], ["perplexity", "coherence"]),
        (["overall_score", "perplexity"], list(SHARES)),
        (["overall_score", "perplexity", "coding"], ["perplexity", "coding"]),
    ],
)
def test_under_nsga2_objectives_are_goals(objectives: list[str], goals: list[str]) -> None:
    evolution = EvolutionSettings(objectives=objectives, rule="nsga2")
    assert plan_tournament(configure(evolution=evolution)).objectives == goals


def test_masks_techniques_and_bits_reach_the_run() -> None:
    merging = MergeSettings(
        ps_techniques=["slerp", "task_arithmetic"],
        dfs_techniques=["dfs"],
        weight_mask_rate=0.3,
        mask_strategy="magnitude",
        use_weight_rescale=True,
        use_4bit=True,
    )
    run = plan_tournament(configure(merging))
    genome = run.genome
    assert genome.techniques == ["slerp", "task_arithmetic", "dfs"]
    assert (genome.mask_rate, genome.mask_strategy, genome.mask_rescale) == (0.3, "magnitude", True)
    assert run.executor.bits == 4


def test_cma_es_searches_the_same_genes() -> None:
    run = plan_tournament(configure(evolution=EvolutionSettings(use_cma_es=True)))
    assert run.genome.space == "techniques"
    assert run.search.algorithm == "catcma"
    assert run.search.options == {"population": 8}


def test_a_large_first_generation_is_part_of_the_budget() -> None:
    merging = MergeSettings(ps_techniques=["linear", "slerp", "ties", "dare", "task_arithmetic"])
    run = plan_tournament(configure(merging, EvolutionSettings(num_generations=2)))
    assert run.search.evaluations == 12 + 8


def test_ones_own_tasks_take_the_suites_place() -> None:
    tasks = [
        TaskSettings.model_validate({"name": n, "evaluator": "exact_match", "data": f"zoo:{n}"})
        for n in ("sort", "reverse")
    ]
    evolution = EvolutionSettings(tasks=tasks, objectives=["reverse"])
    assert [t.name for t in plan_tournament(configure(evolution=evolution)).tasks] == ["reverse"]


def test_a_target_domain_counts_as_an_objective() -> None:
    config = configure().model_copy(update={"target_domain": ModelDomain(name="math")})
    tasks = {task.name: task.weight for task in plan_tournament(config).tasks}
    assert tasks["mathematics"] == pytest.approx(1.15 / 3, abs=1e-6)
    assert sum(tasks.values()) == pytest.approx(1.0, abs=1e-5)
    assert not [*find_idle(config)]


def test_what_has_no_effect_is_told_once_each() -> None:
    merging = MergeSettings(
        use_disk_based_merge=True,
        chunk_size=5,
        cross_domain_strategy="full",
        instruction_tuning_preservation="mean",
    )
    evolution = EvolutionSettings(use_cma_es=True, tournament_size=2)
    config = configure(merging, evolution)
    config = config.model_copy(update={"target_domain": ModelDomain(name="cooking")})
    told = [*find_idle(config)]
    assert len(told) == 5
    for words in ("chunk_size", "cross_domain", "instruction_tuning", "CatCMA", "'cooking'"):
        assert sum(words in line for line in told) == 1
    assert not [*find_idle(configure())]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"ties": {"threshold": 1.0}}, r"a share to drop in \[0, 0.95\], not 1.0"),
        ({"ties": {"treshold": 0.1}}, "ties has no such parameter"),
        ({"tise": {"density": 0.1}}, "unknown technique 'tise'"),
        ({"slerp": {"t": 2.0}}, r"a number in \[0, 1\], not 2.0"),
    ],
)
def test_impossible_parameters(parameters: dict[str, dict[str, float]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_tournament(configure(MergeSettings(parameters=parameters)))


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"parameters": {"lin": {"weights": 1.0}}}, "merge_settings.parameters.lin: unknown"),
        ({"parameters": {"dare": {"amplification": 5}}}, "parameters.dare.amplification: expected"),
        (
            {"parameters": {"dare": {"lambda": 5}}},
            "settings.parameters.dare.lambda: expected",
        ),
        ({"parameters": {"linear": {"weights": {"a": 1}}}}, "parameters.linear.weights: input"),
        ({"parameters": {"linear": {"weights": [1, 2]}}}, "linear.weights: expected 3 weights"),
    ],
)
def test_problems_are_told_where_they_were_written(settings: dict[str, Any], place: str) -> None:
    with pytest.raises(ConfigError) as error:
        plan_tournament(configure(MergeSettings(**settings)))
    assert place in str(error.value)
    assert "problem in this configuration" in str(error.value)
    assert "genome" not in str(error.value)


def test_a_problem_of_a_task_is_told_where_it_was_written() -> None:
    task = {"name": "a", "evaluator": "exact_mach", "data": "zoo:sort"}
    evolution = EvolutionSettings.model_validate({"tasks": [task]})
    with pytest.raises(ConfigError, match=r"- evolution_settings\.tasks\[0\]\.evaluator: unknown"):
        plan_tournament(configure(evolution=evolution))


def test_equal_weights_are_equal_for_any_number_of_models() -> None:
    config = create_default_config()
    config.models.append(ModelReference(name="sort", path="zoo:sort"))
    weights = plan_tournament(config).genome.technique_starts["linear"]["weights"]
    assert weights == [1 / 3] * 4


def test_what_was_assigned_since_is_checked() -> None:
    config = Configuration(models=MODELS)
    config.evolution_settings.population_size = 1
    with pytest.raises(ConfigError, match=r"evolution_settings\.population_size: .* equal to 2"):
        plan_tournament(config)
    config = create_default_config()
    config.merge_settings.mask_strategy = "big"  # type: ignore[assignment]  # what is wrong
    with pytest.raises(ConfigError, match=r"merge_settings\.mask_strategy: input should be"):
        plan_tournament(config)


@pytest.mark.parametrize("nothing", [{}, None])
def test_only_a_configuration_can_be_planned(nothing: Any) -> None:
    with pytest.raises(
        ConfigError, match=f"expected a Configuration, not {type(nothing).__name__}"
    ):
        plan_tournament(nothing)
