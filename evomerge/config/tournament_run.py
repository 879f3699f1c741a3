"""From a tournament's configuration to a run file, and what of it has no effect."""

from collections.abc import Iterator, Mapping
from typing import Any

from evomerge.config.load import parse_config
from evomerge.config.settings import RunConfig
from evomerge.config.tournament import (
    OBJECTIVES,
    Configuration,
    EvolutionSettings,
    read_again,
    wrong,
)
from evomerge.errors import ConfigError, Problem
from evomerge.genome.techniques import choose_techniques
from evomerge.registry import closest

SHARES: Mapping[str, float] = {
    "perplexity": 0.2,
    **dict.fromkeys(("coding", "mathematics", "writing", "coherence"), 0.15),
    **dict.fromkeys(("zero_shot_classification", "zero_shot_qa"), 0.1),
}
"""Part of the built-in suite -> its share in the overall score."""
MEANT: Mapping[str, str] = {
    **dict.fromkeys(("math", "reasoning"), "mathematics"),
    **dict.fromkeys(("code", "programming"), "coding"),
    **dict.fromkeys(("qa", "question answering"), "zero_shot_qa"),
    "classification": "zero_shot_classification",
    "language modeling": "perplexity",
}
"""Word for a domain -> part of the built-in suite."""
WRITTEN: Mapping[str, str] = {
    "genome.technique_starts": "merge_settings.parameters",
    "genome.mask_rate": "merge_settings.weight_mask_rate",
    "genome.mask_strategy": "merge_settings.mask_strategy",
    "genome.techniques": "merge_settings",
    "genome.models": "models",
    "tasks": "evolution_settings.tasks",
    "objectives": "evolution_settings.objectives",
    "items.search": "evolution_settings.limit",
    "search": "evolution_settings",
    "executor": "evolution_settings",
    "seed": "evolution_settings.seed",
}
"""Place in a run file -> where it was written in the Configuration."""
STREAMED = (
    "merges are always streamed from the disk tensor by tensor, and no bit depends on the size of "
    "a chunk: use_disk_based_merge and chunk_size change nothing"
)
ONE_KIND = "models of one architecture are merged, so that cross_domain_strategy has no effect"
AS_OTHERS = (
    "the embeddings of instruction tokens are merged as all others are: "
    "instruction_tuning_preservation has no effect"
)
OWN_RULES = (
    "with use_cma_es CatCMA searches: mutation_rate, adaptive_mutation, tournament_size, rule and "
    "early_stopping_generations have no effect"
)


def plan_tournament(config: Configuration, name: str = "tournament") -> RunConfig:
    """Return the run that a tournament is.

    Args:
        config: the tournament.
        name: of the run.

    Raises:
        ConfigError: something in it cannot be; every problem is listed.
    """
    config = read_again(config)
    merging, evolution = config.merge_settings, config.evolution_settings
    techniques = merging.techniques
    document = {
        "name": name,
        "seed": evolution.seed,
        "genome": {
            "space": "techniques",
            "models": [model.path for model in config.contestants],
            "techniques": techniques,
            "technique_starts": _read_starts(merging.parameters, len(config.contestants)),
            "mask_rate": merging.weight_mask_rate,
            "mask_strategy": merging.mask_strategy,
            "mask_rescale": merging.use_weight_rescale,
        },
        "tasks": _choose_tasks(config),
        "items": {"search": evolution.limit},
        "search": _plan_search(evolution, techniques),
        "executor": {"workers": evolution.workers, "bits": _count_bits(config)},
        "objectives": _choose_goals(evolution),
    }
    try:
        return parse_config(document, "tournament")
    except ConfigError as error:
        found = [Problem(_trace(p.path, merging.parameters), p.message) for p in error.problems]
        raise wrong(found, "tournament") from None


def find_idle(config: Configuration) -> Iterator[str]:
    """Yield, of what somebody has set, what has no effect today."""
    merging, evolution = config.merge_settings.model_fields_set, config.evolution_settings
    if merging & {"use_disk_based_merge", "chunk_size"}:
        yield STREAMED
    if "cross_domain_strategy" in merging:
        yield ONE_KIND
    if "instruction_tuning_preservation" in merging:
        yield AS_OTHERS
    rules = {"mutation_rate", "adaptive_mutation", "tournament_size", "rule"}
    if evolution.use_cma_es and (
        evolution.model_fields_set & {*rules, "early_stopping_generations"}
    ):
        yield OWN_RULES
    if config.target_domain and (evolution.tasks or not _find_part(config)):
        called = config.target_domain.task_type or config.target_domain.name
        yield f"no part of the built-in suite is for target_domain {called!r}: it has no effect"


def _plan_search(evolution: EvolutionSettings, techniques: list[str]) -> dict[str, Any]:
    """Return searcher and budget; the first generation holds every combination of techniques."""
    population, first = evolution.population_size, 1
    for names in choose_techniques(techniques).values():
        first *= max(1, len(names))
    if evolution.use_cma_es:
        budget = population * evolution.num_generations
        return {"algorithm": "catcma", "evaluations": budget, "population": population}
    return {
        "algorithm": "tournament",
        "evaluations": max(population, first) + population * (evolution.num_generations - 1),
        "population": population,
        "rule": evolution.rule,
        "mutation_rate": evolution.mutation_rate,
        "adaptive": evolution.adaptive_mutation,
        "tournament_size": evolution.tournament_size,
        "patience": evolution.early_stopping_generations,
    }


def _choose_tasks(config: Configuration) -> list[dict[str, Any]]:
    """Return the tasks whose weighted mean is the mean of the objectives."""
    evolution = config.evolution_settings
    if evolution.tasks:
        wanted = evolution.goals
        return [task.model_dump() for task in evolution.tasks if task.name in wanted]
    weights: dict[str, float] = {}
    objectives = [*evolution.goals, *filter(None, [_find_part(config)])]
    for objective in objectives:
        parts = OBJECTIVES[objective]
        whole = sum(SHARES[part] for part in parts) * len(objectives)
        for part in parts:
            weights[part] = weights.get(part, 0.0) + SHARES[part] / whole
    return [
        {"name": part, "evaluator": "suite", "weight": round(weights[part], 6)}
        for part in SHARES
        if part in weights
    ]


def _choose_goals(evolution: EvolutionSettings) -> list[str]:
    """Return the tasks that are goals of their own, under `nsga2`.

    An objective of several parts is no task: its parts are goals, those of the overall score only
    where there would be fewer than two others.
    """
    if evolution.rule != "nsga2" or evolution.use_cma_es:
        return []
    if evolution.tasks:
        return evolution.goals
    named = [name for name in evolution.goals if name != "overall_score"]
    goals = list(dict.fromkeys(part for name in named for part in OBJECTIVES[name]))
    return goals if len(goals) > 1 else list(SHARES)


def _find_part(config: Configuration) -> str | None:
    """Return the part of the suite that a target domain is about; it counts as an objective."""
    domain = config.target_domain
    words = [word for word in (domain.task_type, domain.name) if word] if domain else []
    found = (closest(word, [*MEANT, *SHARES], likeness=0.8) for word in words)
    return next((MEANT.get(name, name) for name in found if name), None)


def _count_bits(config: Configuration) -> int | None:
    merging = config.merge_settings
    return 8 if merging.use_8bit else 4 if merging.use_4bit else None


def _trace(path: str, parameters: Mapping[str, Mapping[str, Any]]) -> str:
    """Return where something was written that a run file has at `path`."""
    head = next((h for h in WRITTEN if path == h or path.startswith((f"{h}.", f"{h}["))), "")
    found = WRITTEN.get(head, "") + path.removeprefix(head)
    technique, _, name = found.removeprefix("merge_settings.parameters.").partition(".")
    if name == "lambda" and "amplification" in parameters.get(technique, {}):
        return found.removesuffix(name) + "amplification"
    return found


def _read_starts(
    parameters: Mapping[str, Mapping[str, Any]], models: int
) -> dict[str, dict[str, Any]]:
    """Translate the original's names: `threshold` is a share that is dropped, `amplification` λ.

    Weights that are all equal are equal for any number of models.
    """
    starts: dict[str, dict[str, Any]] = {}
    for technique, values in parameters.items():
        found = starts[technique] = dict(values)
        if "threshold" in found:
            dropped = found.pop("threshold")
            if not isinstance(dropped, (int, float)) or not 0.0 <= dropped <= 0.95:
                told = f"expected a share to drop in [0, 0.95], not {dropped!r}"
                path = f"merge_settings.parameters.{technique}.threshold"
                raise wrong([Problem(path, told)], "tournament")
            found["density"] = 1.0 - dropped
        weights = found.get("weights")
        if isinstance(weights, list) and weights and weights.count(weights[0]) == len(weights):
            found["weights"] = [weights[0]] * models
        if "amplification" in found:
            found["lambda"] = found.pop("amplification")
    return starts
