"""How far a baked folder is from its path, measured.

The norms' epsilon is another thing to a stream that is kept at h / S than to h, and weights that
were divided by S are rounded anew. Path and folder read the same tokens, in float32, one after the
other, so that memory holds only one of them.
"""

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evomerge.checkpoints.loading import build_model, load_model, load_tokenizer
from evomerge.engine import Models, Plan, Resident, make_plan
from evomerge.engine.compact import is_compact
from evomerge.evaluation import Task
from evomerge.evaluation.task import ASKED
from evomerge.inference.layer_host import LayerHost
from evomerge.inference.layer_path import find_steps, make_module
from evomerge.recipe import Recipe, Slice, Source
from evomerge.recipe.path import METHOD, find_hops
from evomerge.records import Item

WORTH_A_WARNING = 1e-3
ROWS, LONGEST = 8, 32
"""How many prompts are read, and how many tokens of each: the logits of all are held at once."""

Rows = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Drift:
    """How far a model is from the path that was baked into it.

    Attributes:
        largest: largest difference of a logit, over the largest logit.
        typical: root mean square of the differences, over that of the logits.
        same: after how many tokens the likeliest next one is the same.
        tokens: after how many it was asked.
        prompts: what was read, in words.
    """

    largest: float
    typical: float
    same: int
    tokens: int
    prompts: str

    @property
    def sentence(self) -> str:
        """Say it in plain words."""
        return (
            f"Its logits differ from the path's by up to {self.largest:.1e} of the largest (root "
            f"mean square: {self.typical:.1e}), and the likeliest next token is the same after "
            f"{self.same} of {self.tokens} tokens of {self.prompts}."
        )

    @property
    def small(self) -> bool:
        """Tell whether it needs no warning."""
        return self.largest <= WORTH_A_WARNING

    def to_values(self) -> dict[str, Any]:
        """Return plain values; None for what is no finite number."""
        values = asdict(self)
        odd = [k for k, v in values.items() if isinstance(v, float) and not math.isfinite(v)]
        return values | dict.fromkeys(odd)


def measure_drift(
    recipe: Recipe,
    folder: Path,
    *,
    texts: Sequence[str] = (),
    seed: int = 0,
    device: str = "cpu",
    models: Models | None = None,
) -> Drift:
    """Measure how far a folder's logits are from those of the path that it was made from.

    Args:
        recipe: the path.
        folder: where it was merged.
        texts: prompts; tokens drawn by `seed` if there are none.
        seed: of these tokens, and of random masks in merges on the path.
        device: where both are run.
        models: where the path's models are opened.

    Raises:
        EvoMergeException: one of the two cannot be run.
    """
    rows = _read_texts(texts, folder) if texts else []
    live = build_path(recipe, models or Models(), seed=seed, device=device)
    prompts = "prompts of the run" if rows else f"random texts (seed {seed})"
    rows = rows or _draw(live, seed)
    expected = _read(live, rows)
    del live  # before the other is loaded
    baked = load_model(folder, device, arithmetic="float32", trust=is_compact(folder))
    return _compare(_read(baked, rows), expected, prompts)


def build_path(recipe: Recipe, models: Models, *, seed: int = 0, device: str = "cpu") -> Any:
    """Return a path's live form: a transformers module over the layers of its models, in float32.

    Args:
        recipe: the path.
        models: where its models are opened.
        seed: of random masks in merges on the path.
        device: where it lives.

    Raises:
        EvoMergeException: it is no path, or cannot be run.
    """
    hosts: dict[Hashable, LayerHost] = {}
    for model, plan in plan_models(recipe, models, seed=seed).items():
        module = build_model(plan.config, "float32", device)
        Resident(module, models).write(plan)
        hosts[model] = LayerHost(module)
    hops = [(hop.model, hop.layer, hop.scale) for hop in find_hops(recipe)]
    return make_module(hosts, find_steps(hops, recipe.input_scale_target))


def plan_models(recipe: Recipe, models: Models, *, seed: int = 0) -> dict[str | Recipe, Plan]:
    """Return what each model on a path is, in the dtype of the path's result.

    Raises:
        EvoMergeException: it is no path, or a model cannot be had.
    """
    found: dict[str | Recipe, Plan] = {}
    for model in dict.fromkeys(hop.model for hop in find_hops(recipe)):
        whole = (Slice((Source(model),)),)
        same = Recipe(METHOD, whole, dtype=recipe.dtype, out_dtype=recipe.out_dtype)
        found[model] = make_plan(same, models, seed=seed)
    return found


def collect_texts(tasks: Sequence[Task], split: str = "validation") -> list[str]:
    """Return what the first items of tasks ask, task by task in turn; at most `ROWS`."""
    asked = [[_find_text(item) for item in task.items[split][:ROWS]] for task in tasks]
    return [text for text in chain(*zip_longest(*asked)) if text][:ROWS]


def _find_text(item: Item) -> str:
    """Return an item's question, or else its longest text."""
    texts = {name: text for name, text in item.fields.items() if isinstance(text, str)}
    named = [texts[name] for name in ASKED if name in texts]
    return named[0] if named else max(texts.values(), key=len, default="")


def _read_texts(texts: Sequence[str], folder: Path) -> list[list[int]]:
    tokenizer = load_tokenizer(folder)
    rows = (list(tokenizer(text)["input_ids"])[:LONGEST] for text in texts[:ROWS])
    return [row for row in rows if row]


def _draw(module: Any, seed: int) -> list[list[int]]:
    """Return random tokens; seed, size of the vocabulary and length of the context decide them."""
    vocabulary = module.get_input_embeddings().weight.shape[0]
    length = min(LONGEST, getattr(module.config, "max_position_embeddings", LONGEST))
    generator = torch.Generator().manual_seed(seed)
    rows: list[list[int]] = torch.randint(vocabulary, (ROWS, length), generator=generator).tolist()
    return rows


@torch.inference_mode()
def _read(module: Any, rows: Rows) -> list[Tensor]:
    """Return the logits after every token, [tokens, vocabulary] for each row."""
    ids = [torch.tensor([row], device=module.device) for row in rows]
    return [module(input_ids=row, use_cache=False).logits[0].float().cpu() for row in ids]


def _compare(found: Sequence[Tensor], expected: Sequence[Tensor], prompts: str) -> Drift:
    pairs = list(zip(found, expected, strict=True))
    return Drift(
        largest=_largest(f - e for f, e in pairs) / _largest(iter(expected)),
        typical=math.sqrt(_power(f - e for f, e in pairs) / _power(iter(expected))),
        same=sum(int((f.argmax(-1) == e.argmax(-1)).sum()) for f, e in pairs),
        tokens=sum(map(len, expected)),
        prompts=prompts,
    )


def _largest(tensors: Iterator[Tensor]) -> float:
    return float(torch.stack([tensor.abs().max() for tensor in tensors]).max())


def _power(tensors: Iterator[Tensor]) -> float:
    return sum(float(tensor.double().square().sum()) for tensor in tensors)
