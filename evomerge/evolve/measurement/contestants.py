"""Models that are measured as they are: folders, hub ids, the zoo's, GGUF files, recipes."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evomerge.checkpoints.loading import GGUF, check_gguf
from evomerge.checkpoints.locate import display_name, parse_reference, tell_apart
from evomerge.checkpoints.reader import Checkpoint
from evomerge.engine import Models, make_plan
from evomerge.errors import CheckpointError, Problem, RecipeError
from evomerge.evolve.live import LiveModel, exported, load_folder
from evomerge.recipe import Recipe, Slice, Source, library, load_recipe
from evomerge.recipe.yaml_document import SUFFIXES

if TYPE_CHECKING:
    from evomerge.inference.transformers_model import TransformersModel


@dataclass(frozen=True)
class Contestant:
    """A model to be measured, known to be there.

    Attributes:
        label: what people call it.
        reference: as given.
        recipe: what it is made by; None of a GGUF file, which only transformers reads.
        folder: where it stands; None where it has to be made.
    """

    label: str
    reference: str
    recipe: Recipe | None
    folder: Path | None


def find_contestants(references: Iterable[str]) -> tuple[Contestant, ...]:
    """Find models by what people call them; no weights are read.

    Args:
        references: folders, hub ids, `zoo:NAME`, any of them `+adapter`, GGUF files, recipe files
            or names of shipped recipes.

    Raises:
        EvoMergeException: one is missing, damaged, or no model.
    """
    models = Models()
    found = [_find(reference, models) for reference in references]
    labels = tell_apart([each.label for each in found], [each.reference for each in found])
    return tuple(replace(each, label=label) for each, label in zip(found, labels, strict=True))


def _find(reference: str, models: Models) -> Contestant:
    path = Path(reference).expanduser()
    if path.suffix.lower() == GGUF:
        return Contestant(path.stem, reference, None, _check_gguf(path))
    is_file = path.suffix.lower() in SUFFIXES and not path.is_dir()
    if is_file or (reference in library() and not path.exists()):
        recipe = load_recipe(reference)
        _check_recipe(reference, recipe, models)
        return Contestant(path.stem, reference, recipe, None)
    alone = Recipe(method="passthrough", slices=(Slice((Source(reference),)),))
    if parse_reference(reference).lora:
        _check_recipe(reference, alone, models)
        return Contestant(display_name(reference), reference, alone, None)
    return Contestant(display_name(reference), reference, alone, Checkpoint(reference).folder)


def _check_recipe(reference: str, recipe: Recipe, models: Models) -> None:
    if recipe.output == "lora":
        problem = Problem("output", "an adapter is no model: merge it, and name model+adapter")
        raise RecipeError(reference, [problem])
    make_plan(recipe, models)


def _check_gguf(path: Path) -> Path:
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}", "Name a .gguf file on this machine")
    check_gguf()
    return path


class Opener:
    """Turns contestants into what evaluators look at, one after the other.

    Args:
        device: where models live.
        arithmetic: dtype they compute in; the fastest one here if None.
        seed: of random masks in recipes.
    """

    def __init__(self, device: str, arithmetic: str | None = None, *, seed: int = 0) -> None:
        self.device = device
        self._arithmetic = arithmetic
        self._seed = seed
        self._live = LiveModel(device, arithmetic, seed=seed)

    @contextmanager
    def open(self, contestant: Contestant, kinds: Collection[str]) -> Iterator[dict[str, Any]]:
        """Give the contestant as a live 'model', as a 'folder', as a 'recipe'.

        A model that stands in a folder is loaded as transformers loads it; others are made in
        memory, and in a temporary folder only where an evaluator needs one.

        Args:
            contestant: who.
            kinds: which of these are needed.

        Raises:
            EvoMergeException: it cannot be loaded or made.
        """
        folder, recipe = contestant.folder, contestant.recipe
        with ExitStack() as stack:
            found: dict[str, Any] = {}
            if "model" in kinds:
                found["model"] = self._load(folder) if folder else self._make(recipe)
            if "folder" in kinds:
                made = folder or stack.enter_context(exported(_known(recipe), seed=self._seed))
                found["folder"] = made
            if "recipe" in kinds:
                found["recipe"] = _known(recipe).to_document()
            yield found

    def _load(self, folder: Path) -> "TransformersModel":
        return load_folder(folder, self.device, self._arithmetic)

    def _make(self, recipe: Recipe | None) -> "TransformersModel":
        return self._live.realise(_known(recipe))


def _known(recipe: Recipe | None) -> Recipe:
    if recipe is None:
        raise CheckpointError(
            "a GGUF file has no recipe", "Measure it by tasks that look at a live model"
        )
    return recipe
