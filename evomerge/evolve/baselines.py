"""Baselines, which a merge must beat: every parent, and recipes people use without searching."""

from evomerge.checkpoints.locate import display_name, tell_apart
from evomerge.config import GenomeSettings
from evomerge.engine import Models, make_plan
from evomerge.errors import RecipeError
from evomerge.evolve.trials import Trial
from evomerge.genome.starting_points import TASK_ARITHMETIC
from evomerge.recipe import Recipe, Slice, Source, Tokenizer, constant
from evomerge.recipe.model import freeze_parameters


def find_baselines(
    genome: GenomeSettings, models: Models
) -> tuple[tuple[Trial, ...], tuple[Trial, ...]]:
    """Return parents, and the recipes to compare with.

    Where layers are stacked, models need not be alike: recipes that do not fit them are left out.
    """
    parents, defaults = parent_trials(genome), default_trials(genome)
    if not genome.merges:
        known = defaults if len(genome.models) > 1 else []
        defaults = [trial for trial in known if _fits(trial.recipe, models)]
    return tuple(parents), tuple(defaults)


def _fits(recipe: Recipe, models: Models) -> bool:
    try:
        make_plan(recipe, models)
    except RecipeError:
        return False
    return True


def parent_trials(genome: GenomeSettings) -> list[Trial]:
    """Return the base and every model, each as it is."""
    base = [genome.base_model] if genome.base_model else []
    models = list(dict.fromkeys([*base, *genome.models]))
    labels = tell_apart([display_name(model) for model in models], models)
    recipes = [pass_through(genome, model) for model in models]
    return [Trial(label, recipe) for label, recipe in zip(labels, recipes, strict=True)]


def pass_through(genome: GenomeSettings, model: str) -> Recipe:
    """Return the recipe of a model as it is."""
    return _recipe(genome, "passthrough", [model])


def default_trials(genome: GenomeSettings) -> list[Trial]:
    """Return the recipes to compare with: uniform, task arithmetic, TIES, DARE-TIES."""
    models = [model for model in genome.models if model != genome.base_model]
    uniform = _recipe(genome, "linear", models, weight=1.0)
    trials = [Trial("uniform linear", uniform)]
    if genome.base_model is None:
        return trials
    for weight in TASK_ARITHMETIC:
        recipe = _recipe(genome, "task_arithmetic", models, weight=weight)
        trials.append(Trial(f"task arithmetic {weight:g}", recipe))
    ties = _recipe(genome, "ties", models, weight=1.0, density=0.2)
    share = round(1 / len(models), 6)
    dare = _recipe(genome, "dare_ties", models, weight=share, density=0.5, rescale="paper")
    return [*trials, Trial("ties", ties), Trial("dare_ties", dare)]


def _recipe(
    genome: GenomeSettings, method: str, models: list[str], **values: float | str
) -> Recipe:
    return Recipe(
        method=method,
        slices=(Slice(tuple(Source(model) for model in models)),),
        base_model=genome.base_model if method not in ("linear", "passthrough") else None,
        parameters=freeze_parameters({name: constant(value) for name, value in values.items()}),
        dtype=genome.dtype,
        tokenizer=Tokenizer(genome.tokenizer_source) if genome.tokenizer_source else None,
    )
