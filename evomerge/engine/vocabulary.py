"""The result's vocabulary: whose tokens it has, and where each row of an embedding comes from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evomerge.checkpoints.chat_template import choose_template, write_template
from evomerge.checkpoints.folder import read_json
from evomerge.checkpoints.locate import locate
from evomerge.checkpoints.token_references import SCOPES, update_ids, vocabulary_axis
from evomerge.checkpoints.token_rules import TokenRule
from evomerge.checkpoints.tokenizer import copy_tokenizer
from evomerge.checkpoints.vocabulary import Vocabulary, build_vocabulary, write_tokenizer
from evomerge.checkpoints.writer import write_text
from evomerge.engine.findings import Findings
from evomerge.engine.ingredients import Ingredient
from evomerge.engine.models import Models
from evomerge.engine.plan import Input, Moved
from evomerge.engine.rows import Rows
from evomerge.errors import EvoMergeException
from evomerge.recipe.model import Recipe
from evomerge.recipe.tokenizer import Tokenizer, TokenSource

Ingredients = Mapping[str | Recipe, Ingredient]
GENERATION = "generation_config.json"


@dataclass(frozen=True)
class TokenizerFiles:
    """The tokenizer of a result: a model's own files, or a vocabulary that was built.

    Attributes:
        folder: whose files are taken, where nothing was built.
        label: whose generation settings are taken.
        vocabulary: what was built, or None.
        template: the chat template it gets; None keeps its own.
    """

    folder: Path
    label: str
    vocabulary: Vocabulary | None = None
    template: str | None = None

    def write(self, folder: Path) -> None:
        """Write the tokenizer's files into an existing folder."""
        if self.vocabulary is None:
            copy_tokenizer(self.folder, folder)
            if self.template is not None:
                write_template(folder, self.template)
            return
        write_tokenizer(self.vocabulary, folder, self.template)
        if (folder / GENERATION).is_file():
            settings = read_json(folder / GENERATION, self.label)
            moved = update_ids(settings, self.vocabulary, self.label)
            write_text(folder / GENERATION, json.dumps(moved, indent=2) + "\n")

    def materialise(self, models: Models) -> Path:
        """Return a folder that holds the tokenizer's files, and lasts as long as `models`."""
        if self.vocabulary is None and self.template is None:
            return self.folder
        return models.make_folder(self.write, (id(self.vocabulary), self.folder, self.template))


class Vocabularies:
    """What becomes of tensors that have one row per token.

    Args:
        recipe: what is planned.
        ingredients: what it merges.
        reference: whose tokenizer is taken where the recipe does not say.
        models: open models.
        findings: told of every problem.
        truncate: whether rows beyond the smallest vocabulary are dropped.
    """

    def __init__(
        self,
        recipe: Recipe,
        ingredients: Ingredients,
        reference: str | Recipe,
        models: Models,
        findings: Findings,
        *,
        truncate: bool = False,
    ) -> None:
        self._ingredients = ingredients
        self._home = ingredients[reference]
        self._truncate = truncate
        self.warnings: tuple[str, ...] = ()
        self._vocabulary: Vocabulary | None = None
        folder, template = self._home.folder, None
        if recipe.tokenizer is None:
            self._warn_of_strangers(models)
        else:
            try:
                folder = self._choose(recipe, recipe.tokenizer, models)
            except (EvoMergeException, ValueError) as error:
                for line in str(error).splitlines():
                    findings.wrong("tokenizer_source", line)
        try:
            folders = [i.folder for i in ingredients.values()]
            template = choose_template(folders, recipe.chat_template)
        except ValueError as error:
            findings.wrong("chat_template", str(error))
        self.files = TokenizerFiles(folder, self._home.label, self._vocabulary, template)

    def move(
        self, name: str, owners: Sequence[str | Recipe], tensors: Sequence[Input]
    ) -> list[Input]:
        """Return a tensor of each owner with its rows in the result's vocabulary."""
        if self._vocabulary is None and not self._truncate:
            return list(tensors)
        axes = [self._axis(o, name, t) for o, t in zip(owners, tensors, strict=True)]
        if any(axis != 0 for axis in axes):
            return list(tensors)
        if self._vocabulary is None:
            smallest = min(tensor.shape[0] for tensor in tensors)
            return [_cut(tensor, smallest) for tensor in tensors]
        labels = [self._ingredients[owner].label for owner in owners]
        return [self._move(name, *pair) for pair in zip(labels, tensors, strict=True)]

    def hint(self, name: str, shapes: Sequence[tuple[int, ...]]) -> str:
        """Say what to do about tensors of unlike shapes; empty where nothing helps."""
        rows_only = len({shape[1:] for shape in shapes}) == 1
        if rows_only and any(
            vocabulary_axis(name, shapes[0], i.config) == 0 for i in self._ingredients.values()
        ):
            return "; `tokenizer_source: union` gives every token its row"
        return ""

    def describe(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return the config with the vocabulary's size and special tokens as they have become."""
        found = self._vocabulary
        if found is None or all(found.identity.values()):
            return config
        config = update_ids(config, found, self._home.label)
        for scope in (config, *(config.get(name) for name in SCOPES)):
            if isinstance(scope, dict) and "vocab_size" in scope:
                scope["vocab_size"] = found.size
        return config

    def _warn_of_strangers(self, models: Models) -> None:
        own = models.folder_fingerprint(self._home.folder)
        for ingredient in self._ingredients.values():
            found = models.folder_fingerprint(ingredient.folder)
            if found and found != own:
                self.warnings += (
                    f"{ingredient.label} has another tokenizer than {self._home.label}: "
                    "merged embeddings mix tokens",
                )

    def _choose(self, recipe: Recipe, wanted: Tokenizer, models: Models) -> Path:
        """Return the folder whose tokenizer is taken; build a vocabulary where tokens move."""
        labels = {_name(model): i.label for model, i in self._ingredients.items()}
        folders = {i.label: i.folder for i in self._ingredients.values()}
        asked = wanted.source.removeprefix("model:")
        source = asked if asked in ("union", "base") else labels.get(asked, asked)
        if source not in ("union", "base", *folders):
            folders[source] = locate(source)
        prints = {models.folder_fingerprint(folder) for folder in folders.values()}
        chosen = folders.get(source, self._home.folder)
        if len(prints) == 1 and not wanted.tokens and not wanted.pad_to_multiple_of:
            return chosen
        base = recipe.base_model
        rules = {token: _rule(rule, labels) for token, rule in wanted.tokens}
        self._vocabulary = models.vocabulary(
            lambda: build_vocabulary(
                folders,
                self._ingredients[base].label if base else None,
                rows=self._count_rows(),
                source=source,
                tokens=rules,
                pad_to_multiple_of=wanted.pad_to_multiple_of,
            ),
            (tuple(folders), str(base), source, wanted),
        )
        self.warnings = self._vocabulary.warnings
        return chosen

    def _count_rows(self) -> dict[str, int]:
        rows: dict[str, int] = {}
        for model, ingredient in self._ingredients.items():
            for name, tensor in ingredient.tensors.items():
                if self._axis(model, name, tensor) == 0:
                    rows[ingredient.label] = tensor.shape[0]
                    break
        return rows

    def _axis(self, owner: str | Recipe, name: str, tensor: Input) -> int | None:
        return vocabulary_axis(name, tensor.shape, self._ingredients[owner].config)

    def _move(self, name: str, label: str, tensor: Input) -> Input:
        assert self._vocabulary is not None
        if self._vocabulary.identity.get(label, True):
            return tensor
        others = {i.label: i.find(name) for i in self._ingredients.values()}
        present = [label for label, other in others.items() if other is not None]
        vocabulary = self._vocabulary.among(present)
        substitutes = {
            row: tuple((others[donor], place) for donor, place in pairs)
            for row, pairs in vocabulary.substitutes(label).items()
        }
        return Moved(tensor, Rows(vocabulary.own_rows[label], substitutes, vocabulary.padding))


def _cut(tensor: Input, size: int) -> Input:
    return tensor if tensor.shape[0] == size else Moved(tensor, Rows(np.arange(size)))


def _name(model: str | Recipe) -> str | None:
    return model if isinstance(model, str) else model.name


def _rule(rule: TokenSource, labels: Mapping[str | None, str]) -> TokenRule:
    model = labels.get(rule.model, rule.model)
    return TokenRule(model, rule.token, rule.token_id, rule.kind == "zero", rule.force)
