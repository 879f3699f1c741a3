"""A live model whose layers run one by one, with what its own forward does before and after them.

No family is known by name: copies of the model are run by its own code. One copy's layers write
down what its forward hands to layers of each kind (masks, rotary embeddings, positions); another's
answer with given hidden states, which the final norm and the head then read.
"""

import copy
import inspect
from collections.abc import Hashable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from evomerge.errors import EvaluationError, describe
from evomerge.inference.caches import with_layers
from evomerge.inference.rewiring import (
    draw_blank,
    exchange_head,
    find_layers,
    renumber,
    resize,
    rewire,
    share,
    stand_in,
)

TAILS = ("post_feedforward_layernorm", "post_mlp_layernorm", "post_ffn_norm", "mlp", "fc2")
"""What makes a layer's last addition to the stream: a post-norm where there is one, or the MLP."""
CACHE = object()
"""Stands where a layer is handed the keys and values."""


class Step(NamedTuple):
    """A layer on a path.

    Attributes:
        model: whose it is.
        layer: its number.
        before: what multiplies all that enters it.
        after: what multiplies its last addition to the stream.
    """

    model: Hashable
    layer: int
    before: float = 1.0
    after: float = 1.0


class Call(NamedTuple):
    """What a forward pass hands to its layers of one kind, besides the hidden states."""

    arguments: tuple[Any, ...]
    keywords: dict[str, Any]

    def run(self, layer: Any, hidden: Tensor, cache: Any) -> Tensor:
        """Run a layer on hidden states; its keys and values are at the cache's first place."""
        arguments = [cache if value is CACHE else value for value in self.arguments]
        keywords = {k: cache if value is CACHE else value for k, value in self.keywords.items()}
        out = layer(hidden, *arguments, **keywords)
        return out if isinstance(out, Tensor) else out[0]


class Opening(NamedTuple):
    """What a model does before its layers.

    Attributes:
        hidden: what enters the first, [rows, width, size].
        calls: what else is handed to the layers of each kind.
    """

    hidden: Tensor
    calls: list[Call]


class LayerHost:
    """A resident model of the transformers library, taken apart; its weights are not copied.

    Args:
        module: a causal language model, in evaluation mode.

    Attributes:
        module: the model, as it was.
        config: of its text model.
        place: where its layers are, e.g. ('model', 'layers').
        layers: shallow copies of them, which look for their keys and values at the first place.
        types: of the layers as the configuration calls them, e.g. 'full_attention', or ''.
        names: the different ones among them.

    Raises:
        EvaluationError: its layers are of a sort that cannot be run one by one.
    """

    def __init__(self, module: Any) -> None:
        self.module, self.place = module, find_layers(module)
        own = list(module.get_submodule(".".join(self.place)))
        decoder = module.get_submodule(".".join(self.place[:-1]))
        self.config = decoder.config
        self.types = list(getattr(self.config, "layer_types", None) or [""] * len(own))
        self.names = list(dict.fromkeys(self.types))
        self.layers = [share(renumber(layer)) for layer in own]
        self._factors = [_attach_factor(layer) for layer in self.layers]
        self._kinds = [self.names.index(name) for name in self.types]
        self._cache: Any = None
        self._given: Any = None
        self._noted: list[tuple[Tensor, Call]] = []
        self._accepts = frozenset(inspect.signature(decoder.forward).parameters)
        try:
            self._rewire(decoder, [own[self.types.index(name)] for name in self.names])
            self._empty = self._find_cache()
            self._try_out()
        except Exception as error:  # each family fails in its own way
            raise EvaluationError(
                f"{type(module).__name__}: its layers cannot be run one by one ({describe(error)})",
                "Search in parameter space instead",
            ) from error

    def _rewire(self, decoder: Any, examples: Sequence[Any]) -> None:
        """Make the copies of the model; a layer of each kind is enough for them."""
        config = resize(self.config, self.names)
        notes = [stand_in(layer, partial(self._note, k)) for k, layer in enumerate(examples)]
        gives = [stand_in(layer, self._give) for layer in examples]
        self._reader = rewire(decoder, self.place[-1:], notes, config)
        self._blank = rewire(decoder, self.place[-1:], notes, config, blank=True)
        self._finisher = rewire(self.module, self.place, gives, config, blank=True)

    @property
    def tied(self) -> bool:
        """Tell whether the model's embedding is its head, too."""
        head: Any = self.module.get_output_embeddings()
        return head is not None and head.weight is self.module.get_input_embeddings().weight

    def open(
        self,
        ids: Tensor,
        *,
        embed: bool,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: Any = None,
    ) -> Opening:
        """Do what the model does before its layers.

        Args:
            ids: token ids, [rows, width].
            embed: whether they are this model's own; otherwise `hidden` means nothing.
            mask: as the model's forward takes it.
            positions: as the model's forward takes them.
            cache: an outline, which grows by as many places; or None.
        """
        extra = {"attention_mask": mask, "position_ids": positions, "past_key_values": cache}
        extra = {k: v for k, v in extra.items() if v is not None and k in self._accepts}
        self._cache, self._noted = cache, []
        if embed:
            self._reader(input_ids=ids, use_cache=cache is not None, **extra)
        else:
            self._blank(inputs_embeds=self._draw(ids), use_cache=cache is not None, **extra)
        noted, self._noted, self._cache = self._noted, [], None
        return Opening(noted[0][0], [call for _, call in noted])

    def run(self, step: Step, hidden: Tensor, calls: Sequence[Call], cache: Any) -> Tensor:
        """Run a layer.

        Args:
            step: which one, and its scales.
            hidden: what enters it, [rows, width, size]; it stays as it is.
            calls: of an `open` of this model.
            cache: whose only layer holds the keys and values of this hop, and grows; or None.

        Raises:
            EvaluationError: a scale of the last addition, of which nothing is known here.
        """
        factor = self._factors[step.layer]
        if factor is not None:
            factor[0] = step.after
        elif step.after != 1:
            raise EvaluationError(
                f"{type(self.layers[step.layer]).__name__}: no part of it is known to add to the "
                "stream last, which input_scale_target: delta scales",
                "Use input_scale_target: stream",
            )
        scaled = hidden if step.before == 1 else hidden * step.before
        return calls[self._kinds[step.layer]].run(self.layers[step.layer], scaled, cache)

    def close(self, hidden: Tensor, labels: Tensor | None = None, *, head: Any = None) -> Any:
        """Return what the model's forward returns where its last layer leaves these hidden states.

        Args:
            hidden: of the positions whose logits are wanted, [rows, width, size].
            labels: as the model's forward takes them.
            head: another model's, which takes the place of its own.
        """
        self._given = hidden
        told = {} if labels is None else {"labels": labels}
        finisher = self._finisher if head is None else exchange_head(self._finisher, head)
        out = finisher(inputs_embeds=hidden, use_cache=False, **told)
        self._given = None
        return out

    def outline(self) -> Any:
        """Return an empty cache with a layer for each kind: it will know lengths, nothing else."""
        return with_layers(self._empty, [copy.copy(layer) for layer in self._empty.layers])

    def slot(self, layer: int) -> Any:
        """Return an empty cache with one layer, of the kind that a layer of this model needs."""
        return with_layers(self._empty, [copy.copy(self._empty.layers[self._kinds[layer]])])

    def _note(self, kind: int, hidden: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
        """Stand in for a layer: write down what it is handed."""
        mark = partial(_mark, self._cache)
        call = Call(tuple(map(mark, arguments)), {k: mark(v) for k, v in keywords.items()})
        self._noted.append((hidden, call))
        if self._cache is not None:
            dots = hidden.new_zeros(hidden.shape[0], 1, hidden.shape[1], 1)
            self._cache.update(dots, dots, kind)
        return hidden

    def _give(self, *_: Any, **__: Any) -> Any:
        """Stand in for the layers: answer with what has been given."""
        return self._given

    @torch.inference_mode()
    def _find_cache(self) -> Any:
        """Return the cache that the model makes for itself, a layer for each kind, empty."""
        ids = torch.zeros(1, 1, dtype=torch.long, device=self.module.device)
        cache = self._blank(inputs_embeds=self._draw(ids), use_cache=True).past_key_values
        if len(cache.layers) != len(self.names):
            raise ValueError(f"{len(cache.layers)} caches for {len(self.names)} kinds of layers")
        return cache

    @torch.inference_mode()
    def _try_out(self) -> None:
        """Hold the layers, run one by one, against the model on made-up tokens."""
        vocabulary = self.module.get_input_embeddings().weight.shape[0]
        ids = torch.arange(11, 21, device=self.module.device).view(2, 5) % vocabulary
        hidden, calls = self.open(ids, embed=True, cache=self.outline())
        for layer in range(len(self.layers)):
            if self._factors[layer] and not self._adds_last(layer, hidden, calls):
                self._factors[layer] = None
            hidden = self.run(Step(None, layer), hidden, calls, self.slot(layer))
        expected = self.module(input_ids=ids, use_cache=False).logits
        if not torch.allclose(self.close(hidden).logits, expected, equal_nan=True):
            raise ValueError("they do not add up to the model")

    def _adds_last(self, layer: int, hidden: Tensor, calls: Sequence[Call]) -> bool:
        """Tell whether nothing stands between what a layer's factor scales and the stream."""
        wide = torch.promote_types(hidden.dtype, torch.float32)
        none, twice, once = (
            self.run(Step(None, layer, after=k), hidden, calls, self.slot(layer)).to(wide)
            for k in (0.0, 2.0, 1.0)
        )
        rounding = 8 * torch.finfo(hidden.dtype).eps
        bound = rounding * (none.abs() + once.abs() + twice.abs() + hidden.abs())
        return not ((twice - once) - (once - none)).abs().gt(bound).any()

    def _draw(self, ids: Tensor) -> Tensor:
        return draw_blank(self.module.get_input_embeddings(), ids)


def _attach_factor(layer: Any) -> list[float] | None:
    """Make a layer's last addition to the stream scalable; return where to put the scale."""
    name = next((name for name in TAILS if name in layer._modules), None)
    if name is None:
        return None
    part, factor = layer._modules[name], [1.0]
    layer._modules[name] = stand_in(part, partial(_multiply, part, factor))
    return factor


def _multiply(part: Any, factor: Sequence[float], *arguments: Any, **keywords: Any) -> Any:
    out = part.forward(*arguments, **keywords)
    return out if factor[0] == 1 else out * factor[0]


def _mark(cache: Any, value: Any) -> Any:
    return CACHE if value is cache and cache is not None else value
