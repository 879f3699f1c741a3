"""`evomerge tournament`: three models, eight merges, one winner."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from evomerge.config import Configuration

NAME = "tournament"
EXAMPLE = (
    "evomerge tournament zoo:reverse zoo:sort zoo:base --tasks demo --objectives sort --limit 5 "
    "--generations 1"
)
logger = logging.getLogger(__name__)


def command(  # noqa: PLR0913, PLR0917 - options of a command line
    models: list[str] = typer.Argument(
        None, help="Folders, hub ids, zoo:NAME; filled up to three with Qwen2.5-1.5B models."
    ),
    config: Path | None = typer.Option(None, help="A Configuration as JSON or YAML."),
    tasks: str | None = typer.Option(
        None, help="A run file, or the name of a shipped one: its tasks, not the built-in suite."
    ),
    objectives: str | None = typer.Option(
        None, help="By commas: overall_score, perplexity, accuracy, coherence …, or tasks."
    ),
    rule: str | None = typer.Option(None, help="elite or nsga2; elite, if absent."),
    generations: int | None = typer.Option(None, help="Generations; 50, if absent."),
    population: int | None = typer.Option(None, help="Individuals of each; 8, if absent."),
    mutation_rate: float | None = typer.Option(None, help="0.1, if absent."),
    tournament_size: int | None = typer.Option(None, help="Losers merged into one; 3, if absent."),
    early_stopping: int | None = typer.Option(
        None, help="End after so many generations without improvement; 10, if absent."
    ),
    use_cma_es: bool = typer.Option(False, "--use-cma-es", help="Search the same with CatCMA."),
    ps_technique1: str | None = typer.Option(None, help="Stage one: linear or slerp; else both."),
    ps_technique2: str | None = typer.Option(
        None, help="Stage two: ties, dare or task_arithmetic; else ties and dare."
    ),
    dfs_technique: str | None = typer.Option(
        None, help="Stage three: frankenmerge or dfs; else both."
    ),
    weight_mask_rate: float | None = typer.Option(
        None, help="Share of every task vector that is dropped."
    ),
    use_weight_rescale: bool = typer.Option(
        False, "--use-weight-rescale", help="Divide what is kept by 1 - that share."
    ),
    mask_strategy: str | None = typer.Option(None, help="random or magnitude."),
    limit: int | None = typer.Option(None, help="Most search items of each task."),
    name: str | None = typer.Option(None, help="Name of the run; the next tournament, if absent."),
    seed: int | None = typer.Option(None, help="Seed of everything random."),
    workers: int | None = typer.Option(None, help="Candidates tried at once."),
    runs: Path = typer.Option(Path("runs"), help="Folder of all runs."),
    as_json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
) -> None:
    """Hold EvoMerge's tournament: winners are varied, losers are merged with each other."""
    merging = {
        **choose_techniques(ps_technique1, ps_technique2, dfs_technique),
        "weight_mask_rate": weight_mask_rate,
        "use_weight_rescale": use_weight_rescale or None,
        "mask_strategy": mask_strategy,
    }
    evolution = {
        "population_size": population,
        "num_generations": generations,
        "mutation_rate": mutation_rate,
        "tournament_size": tournament_size,
        "early_stopping_generations": early_stopping,
        "use_cma_es": use_cma_es or None,
        "objectives": [n.strip() for n in objectives.split(",") if n.strip()]
        if objectives
        else None,
        "rule": rule,
        "tasks": read_tasks(tasks) if tasks else None,
        "limit": limit,
        "seed": seed,
        "workers": workers,
    }
    found = configure(config, models or [], merging, evolution)
    hold(found, runs, name, as_json=as_json)


def hold(
    config: "Configuration", runs: Path, name: str | None = None, *, as_json: bool = False
) -> None:
    """Run a tournament to its end, and print forecast and result."""
    from evomerge.cli.evolve import change, run_and_report
    from evomerge.evolutionary_tournament import EvolutionaryTournament, find_free_name

    run = EvolutionaryTournament(config).run_config
    run_and_report(change(run, {"name": name or find_free_name(runs)}), runs, as_json=as_json)


def configure(
    file: Path | None,
    models: Iterable[str],
    merging: Mapping[str, Any],
    evolution: Mapping[str, Any],
) -> "Configuration":
    """Put a file and a command line together, which wins; None changes nothing.

    Raises:
        ConfigError: listing what is wrong.
    """
    from evomerge.config.tournament import load_configuration, read_configuration

    document = load_configuration(file).model_dump(exclude_unset=True) if file else {}
    named = [{"name": model.rpartition("/")[2] or model, "path": model} for model in models]
    if named:
        document["models"] = named
    for key, values in (("merge_settings", merging), ("evolution_settings", evolution)):
        given = {name: value for name, value in values.items() if value is not None}
        document[key] = {**document.get(key, {}), **given}
    return read_configuration(document, "options")


def choose_techniques(first: str | None, second: str | None, third: str | None) -> dict[str, Any]:
    """Return lists of techniques that restrict each named stage to one.

    Raises:
        ConfigError: a stage has no such technique.
    """
    from evomerge.errors import ConfigError, Problem
    from evomerge.genome.techniques import STAGES, USUAL
    from evomerge.registry import suggest

    options = ("--ps-technique1", "--ps-technique2", "--dfs-technique")
    found, problems = dict[str, list[str]](), list[Problem]()
    for option, name, (stage, known) in zip(
        options, (first, second, third), STAGES.items(), strict=True
    ):
        found[stage] = [name] if name else [each for each in USUAL if each in known]
        if name and name not in known:
            told = f"expected {' or '.join(known)}, not {name!r}{suggest(name, list(known))}"
            problems.append(Problem(option, told))
    if problems:
        raise ConfigError("options", problems)
    ps = found["interpolation"] + found["addition"]
    return {
        "ps_techniques": ps if first or second else None,
        "dfs_techniques": found["stacking"] if third else None,
    }


def read_tasks(name: str) -> list[dict[str, Any]]:
    """Return the tasks of a run file, or of a shipped one."""
    from evomerge.config import load_config

    return [task.model_dump(exclude_unset=True) for task in load_config(name).tasks]
