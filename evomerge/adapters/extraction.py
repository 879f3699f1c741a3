"""A LoRA adapter from a fine-tuned model: its difference from the base, at low rank.

What LoRA (Hu et al., 2021, https://arxiv.org/abs/2106.09685) learns by training is here the best
approximation of what was learned by other means. Matrices become factors; embeddings, norms and
biases that changed are kept whole.
"""

import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from evomerge.adapters.draft import Draft, Whole
from evomerge.adapters.low_rank import LowRank, truncate
from evomerge.adapters.names import is_embedding, is_token_embedding, live_name
from evomerge.adapters.tensors import DTYPES, check_finite, read_pieces, read_whole
from evomerge.checkpoints.architecture import is_head, is_tied
from evomerge.checkpoints.locate import display_name
from evomerge.checkpoints.reader import Checkpoint, Entry
from evomerge.checkpoints.writer import atomic_folder, check_target, write_text
from evomerge.errors import CheckpointError
from evomerge.registry import suggest
from evomerge.types import Progress

logger = logging.getLogger(__name__)
LISTED = 6


@dataclass(frozen=True, slots=True)
class Extraction:
    """What to extract, and how closely; expressions are searched for in modules' names.

    Attributes:
        max_rank: most rank of a module's change.
        distribute_scale: whether both factors carry the singular values' square roots.
        embed_lora: whether embeddings and head are decomposed, too, instead of kept whole.
        save_modules: modules kept whole, by full name or last word.
        exclude: expressions of modules that are left out.
        include: expressions of the only modules that are decomposed; none means all.
        epsilon: singular values not above it are dropped.
        skip_undecomposable: leave out what is no matrix, instead of keeping it whole.
    """

    max_rank: int = 128
    distribute_scale: bool = True
    embed_lora: bool = False
    save_modules: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    epsilon: float = 0.0
    skip_undecomposable: bool = False

    def __post_init__(self) -> None:
        if self.max_rank < 1:
            raise CheckpointError(
                f"a LoRA of rank {self.max_rank} cannot be", "Ask for a rank of 1 or more"
            )
        for pattern in (*self.exclude, *self.include):
            try:
                re.compile(pattern)
            except re.error as error:
                raise CheckpointError(
                    f"{pattern!r} is no regular expression: {error}", "Mend or escape it"
                ) from None


def extract_lora(
    model: str,
    base: str,
    out: Path,
    settings: Extraction | None = None,
    *,
    replace: bool = False,
    progress: Progress | None = None,
) -> Draft:
    """Write the adapter that turns `base` into `model`, as nearly as its rank allows.

    Args:
        model: the fine-tuned model, as `locate` understands it.
        base: the model it was made from.
        out: the folder to make; it appears complete or not at all.
        settings: what to extract.
        replace: whether an existing folder is replaced.
        progress: told of every finished module.

    Returns:
        The adapter that was written.

    Raises:
        CheckpointError: a model cannot be read, they do not fit, or nothing is left to extract.
        OutputError: the folder cannot be written.
    """
    check_target(out, replace=replace)
    settings = settings or Extraction()
    draft = _Extractor(Checkpoint(model), Checkpoint(base), settings).run(progress)
    with atomic_folder(out, expected_bytes=draft.bytes, replace=replace) as folder:
        draft.write(folder)
        write_text(folder / "README.md", _write_card(draft, model))
    return draft


def _write_card(draft: Draft, model: str) -> str:
    return (
        f"---\nbase_model: {draft.base_model}\nlibrary_name: peft\ntags:\n- evomerge\n- lora\n---\n"
        f"# {display_name(model)} as a LoRA of {display_name(draft.base_model)}\n\n"
        f"{len(draft.adapted)} modules at rank {draft.config()['r']} keep {draft.share:.2%} of the "
        f"squared norm of their changes; {len(draft.whole)} tensors are whole.\n"
    )


class _Extractor:
    """Carries what extraction works on: two models and the settings."""

    def __init__(self, model: Checkpoint, base: Checkpoint, settings: Extraction) -> None:
        self.model, self.base, self.settings = model, base, settings
        self.modules: dict[str, dict[str, Entry]] = {}
        for name, entry in model.entries.items():
            stem, _, leaf = name.rpartition(".")
            if stem and leaf in ("weight", "bias"):
                self.modules.setdefault(stem, {})[leaf] = entry
        heads = any(is_head(name) for name in model.entries)
        self.tied = is_tied(base.config) and not heads
        self.conv1d = any(self._is_conv1d(stem, square=False) for stem in self.modules)

    def run(self, progress: Progress | None) -> Draft:
        plan = self._plan()
        if progress:
            progress.begin("extract", len(plan))
        changes: dict[str, LowRank] = {}
        whole: dict[str, Whole] = {}
        for stem, way in plan.items():
            if way == "lora":
                changes[self._live(stem)] = self._decompose(stem)
            whole |= self._keep(stem, biases_only=way == "lora")
            if progress:
                progress.advance()
        if progress:
            progress.end()
        if not any(change.rank for change in changes.values()):
            raise CheckpointError(
                f"no matrix of {self.model.reference} differs from {self.base.reference} by more "
                "than the threshold",
                "Lower --sv-epsilon, or check that these are the models meant",
            )
        return self._draft(changes, whole)

    def _plan(self) -> dict[str, str]:
        """Return 'lora' or 'whole' for every module that is not left out."""
        self._check_names()
        plan = {stem: way for stem in self.modules if (way := self._way(stem))}
        problems = [problem for stem, way in plan.items() if (problem := self._misfit(stem, way))]
        if problems:
            more = f" (and {len(problems) - LISTED} more)" if len(problems) > LISTED else ""
            raise CheckpointError(
                f"{self.model.reference} and {self.base.reference} do not fit: "
                f"{'; '.join(problems[:LISTED])}{more}",
                "Leave such modules out with --exclude-regex, or keep them with --save-module",
            )
        if "lora" not in plan.values():
            raise CheckpointError(
                "no module is left to decompose", "Check --include-regex and --exclude-regex"
            )
        return plan

    def _way(self, stem: str) -> str:
        settings, leaf = self.settings, stem.rpartition(".")[2]
        weight = self.modules[stem].get("weight")
        if weight is None:
            return ""
        left_out = _any_matches(settings.exclude, stem)
        outermost = is_embedding(stem) or is_head(weight.name)
        if stem in settings.save_modules or leaf in settings.save_modules:
            return "whole"
        decomposed = settings.embed_lora and self._has_base(weight) and not self.tied
        if outermost and not left_out and not decomposed:
            return "whole"
        if left_out or (settings.include and not _any_matches(settings.include, stem)):
            return ""
        if len(weight.shape) == 2:
            return "lora"
        return "" if settings.skip_undecomposable else "whole"

    def _has_base(self, entry: Entry) -> bool:
        """Tell whether the base has the tensor in the same shape (a vocabulary may have grown)."""
        other = self.base.entries.get(entry.name)
        return other is not None and other.shape == entry.shape

    def _misfit(self, stem: str, way: str) -> str:
        weight = self.modules[stem]["weight"]
        other = self.base.entries.get(weight.name)
        used = list(self.modules[stem].values())
        used += [e for entry in used if (e := self.base.entries.get(entry.name))]
        if odd := next((entry for entry in used if entry.dtype not in DTYPES), None):
            return f"{odd.name} has dtype {odd.dtype}"
        if other is None and way == "lora":
            return f"the base lacks {weight.name}"
        if other is None or other.shape == weight.shape:
            return ""
        if way == "lora":
            return f"{weight.name} is {list(weight.shape)}, in the base {list(other.shape)}"
        logger.warning(
            "%s is %s, in the base %s: resize the base before the adapter is loaded",
            weight.name, list(weight.shape), list(other.shape),
        )  # fmt: skip
        return ""

    def _check_names(self) -> None:
        known = {*self.modules, *(stem.rpartition(".")[2] for stem in self.modules)}
        for name in self.settings.save_modules:
            if name not in known:
                raise CheckpointError(
                    f"{self.model.reference} has no module {name!r}{suggest(name, sorted(known))}",
                    "Name a module, or the last word of its name, with --save-module",
                )

    def _decompose(self, stem: str) -> LowRank:
        weight = self.modules[stem]["weight"]
        change = read_whole(self.model, weight)
        origin = self.base.entries[weight.name]
        for start, part in read_pieces(self.base, origin):
            change.view(-1)[start : start + len(part)].sub_(part)
        check_finite(change, f"{weight.name} of {self.model.reference} less {self.base.reference}")
        turned = is_embedding(stem) or self._is_conv1d(stem, square=self.conv1d)
        return truncate(
            change.T if turned else change,
            self.settings.max_rank,
            epsilon=self.settings.epsilon,
            distribute=self.settings.distribute_scale,
        )

    def _is_conv1d(self, stem: str, *, square: bool) -> bool:
        """Tell whether a weight is stored as (inputs, outputs), as GPT-2's are: by its bias.

        Args:
            stem: the module.
            square: what to say of a square weight that has a bias.
        """
        weight, bias = self.modules[stem].get("weight"), self.modules[stem].get("bias")
        if weight is None or bias is None or len(weight.shape) != 2 or is_embedding(stem):
            return False
        outputs, inputs = weight.shape[1], weight.shape[0]
        return bias.shape == (outputs,) and (outputs != inputs or square)

    def _keep(self, stem: str, *, biases_only: bool) -> dict[str, Whole]:
        """Return the module's tensors that are kept whole: all of them if one has changed."""
        entries = self.modules[stem]
        wanted = [e for leaf, e in entries.items() if leaf == "bias" or not biases_only]
        asked = {stem, stem.rpartition(".")[2]} & {*self.settings.save_modules}
        if not asked and not any(self._changed(entry) for entry in wanted):
            return {}
        kept = {
            f"{self._live(stem)}.{entry.name.rpartition('.')[2]}": Whole(
                entry.dtype,
                entry.shape,
                partial(read_whole, self.model, entry, DTYPES[entry.dtype]),
            )
            for entry in wanted
        }
        if self.tied and is_token_embedding(stem):  # peft unties them, so the head gets a copy
            kept["lm_head.weight"] = kept[f"{self._live(stem)}.weight"]
        return kept

    def _changed(self, entry: Entry) -> bool:
        other = self.base.entries.get(entry.name)
        if other is None or other.shape != entry.shape:
            return True
        pairs = zip(read_pieces(self.model, entry), read_pieces(self.base, other), strict=True)
        return any(bool((mine != theirs).any()) for (_, mine), (_, theirs) in pairs)

    def _live(self, stem: str) -> str:
        return live_name(stem, str(self.base.config.get("model_type")))

    def _draft(self, changes: Mapping[str, LowRank], whole: Mapping[str, Whole]) -> Draft:
        dtypes = {entry.dtype for parts in self.modules.values() for entry in parts.values()}
        live = {self._live(stem): stem for stem in self.modules}
        return Draft(
            base_model=self.base.reference,
            changes=changes,
            embeddings={name for name in changes if is_embedding(live[name])},
            whole=whole,
            fan_in_fan_out=self.conv1d,
            dtype=dtypes.pop() if len(dtypes) == 1 and dtypes <= {*DTYPES} else "F32",
            others=set(live),
        )


def _any_matches(patterns: Collection[str], name: str) -> bool:
    return any(re.search(pattern, name) for pattern in patterns)
