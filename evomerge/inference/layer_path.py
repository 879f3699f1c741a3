"""A model whose layers are references to layers of resident models, in any order.

What data-flow search runs (Akiba et al., 2024, "Evolutionary Optimization of Model Merging
Recipes", section 3.2): https://arxiv.org/abs/2403.13187

No weight is copied. Each hop has keys and values of its own, even where a layer comes again; each
layer is handed the masks and rotary embeddings that its own model makes.
"""

from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from typing import Any

from torch import Tensor

from evomerge.errors import EvaluationError
from evomerge.inference.caches import with_layers
from evomerge.inference.layer_host import LayerHost, Opening, Step
from evomerge.inference.rewiring import exchange_head, graft_end, resize, rewire
from evomerge.inference.transformers_model import TransformersModel

Hops = Sequence[tuple[Hashable, int, float]]
"""(model, number of the layer, scale of what enters it), in order."""


def find_steps(hops: Hops, target: str = "stream") -> tuple[Step, ...]:
    """Return what happens at each hop.

    Args:
        hops: the path.
        target: 'stream': the scale multiplies all that enters the layer. 'delta': it multiplies the
            last addition of the layer before, of the first hop the embedding, as in the released
            runtime (https://github.com/SakanaAI/vllm, branch evo).
    """
    if target == "stream":
        return tuple(Step(*hop) for hop in hops)
    before = [hops[0][2], *[1.0] * (len(hops) - 1)]
    after = [*(scale for _, _, scale in hops[1:]), 1.0]
    return tuple(
        Step(model, layer, *scales)
        for (model, layer, _), *scales in zip(hops, before, after, strict=True)
    )


class LayerPool:
    """Resident models that lend their layers.

    What may share a batch or a cache is what all of them allow, whichever of them a path visits: a
    path's scores do not depend on the company it is in.

    Args:
        models: by whatever they are called; of one hidden size, dtype and device.

    Attributes:
        models: as given.
        hosts: the same, taken apart.

    Raises:
        EvaluationError: layers of one of them cannot be run one by one, or do not fit the others'.
    """

    def __init__(self, models: Mapping[Hashable, TransformersModel]) -> None:
        self.models = dict(models)
        self.hosts = {key: LayerHost(model.module) for key, model in models.items()}
        shapes = {key: _describe(host) for key, host in self.hosts.items()}
        first = next(iter(shapes))
        for key, shape in shapes.items():
            if shape != shapes[first]:
                raise EvaluationError(
                    f"{first} has {shapes[first]}, {key} has {shape}: no path leads through both",
                    "Choose models of one hidden size, loaded alike",
                )


def _describe(host: LayerHost) -> str:
    """Return what models of a pool have to have in common."""
    module = host.module
    return f"hidden size {host.config.hidden_size}, {module.dtype} on {module.device}"


class PathModule:
    """What a copy of a model of the transformers library becomes to run along a path."""

    config: Any
    hosts: Mapping[Hashable, LayerHost]
    steps: tuple[Step, ...]

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int = 0,
        **_: Any,
    ) -> Any:
        """Return what a model of the library does: logits of the last positions (0: of all), cache.

        Args:
            input_ids: [rows, width].
            attention_mask: as the first model takes it.
            position_ids: [rows, width]; counted if absent.
            past_key_values: of what stands before, as an earlier call returned it; or empty.
            use_cache: whether a cache is wanted; default: as the configuration says.
            labels: of all positions, for the loss of the last model.
            logits_to_keep: of how many last positions logits are wanted.
        """
        if use_cache is None:
            use_cache = getattr(self.config, "use_cache", False)
        cache = past_key_values
        if use_cache or cache is not None:
            cache = self._prepare_cache(cache)
        outline = cache and with_layers(cache, cache.layers[len(self.steps) :])
        first = self.steps[0].model
        openings = open_all(
            self.hosts, first, input_ids, attention_mask, position_ids, outline=outline
        )
        hidden = openings[first].hidden
        for place, step in enumerate(self.steps):
            slot = cache and with_layers(cache, cache.layers[place : place + 1])
            hidden = self.hosts[step.model].run(step, hidden, openings[step.model].calls, slot)
        last = self.hosts[self.steps[-1].model]
        head = find_head(self.hosts[first], last)
        out = last.close(hidden[:, -logits_to_keep:], labels, head=head)
        out.past_key_values = cache
        return out

    def _prepare_cache(self, given: Any) -> Any:
        """Return a cache that has a layer for each hop, and then the models' outline."""
        if given is not None and given.get_seq_length():
            return given
        slots = [self.hosts[step.model].slot(step.layer) for step in self.steps]
        outline = outline_all(self.hosts)
        made = outline if given is None else given
        made.layers = [*(slot.layers[0] for slot in slots), *outline.layers]
        return made


def find_head(first: LayerHost, last: LayerHost) -> Any:
    """Return the head of a path where it is not its last model's own; else None.

    Where the models at both ends have their embedding for a head, so has the path, and its
    embedding is the first one's: an ordinary checkpoint holds that one only.
    """
    kept = first is not last and first.tied and last.tied
    return first.module.get_output_embeddings() if kept else None


def outline_all(hosts: Mapping[Hashable, LayerHost]) -> Any:
    """Return an empty cache that will know the lengths of what models have read, nothing else."""
    outlines = [host.outline() for host in hosts.values()]
    return with_layers(outlines[0], [layer for outline in outlines for layer in outline.layers])


def open_all(
    hosts: Mapping[Hashable, LayerHost],
    first: Hashable,
    ids: Tensor,
    mask: Tensor | None,
    positions: Tensor | None,
    *,
    outline: Any,
) -> dict[Hashable, Opening]:
    """Return what each of several models does before its layers.

    Args:
        hosts: the models.
        first: the one whose tokens they are.
        ids: token ids, [rows, width].
        mask: as a model's forward takes it.
        positions: as a model's forward takes them.
        outline: as of `outline_all`, which grows; or None.
    """
    openings, start = {}, 0
    for model, host in hosts.items():
        end = start + len(host.names)
        own = outline and with_layers(outline, outline.layers[start:end])
        openings[model] = host.open(
            ids, embed=model == first, mask=mask, positions=positions, cache=own
        )
        start = end
    return openings


class LayerPath(TransformersModel):
    """A path through the layers of resident models, as a LanguageModel; made at little cost.

    Embedding and tokenizer are those of the first layer's model, final norm and head those of the
    last one's; but where both have their embedding for a head, the embedding is the head.

    Args:
        pool: whose layers it visits.
        hops: the path.
        target: what the scales multiply; see `find_steps`.
    """

    def __init__(self, pool: LayerPool, hops: Hops, target: str = "stream") -> None:
        steps = find_steps(hops, target)
        first = pool.models[steps[0].model]
        super().__init__(make_module(pool.hosts, steps), first.tokenizer)
        self.texts, self.steps = first.texts, steps
        self._forward.adopt([model.prove() for model in pool.models.values()])
        self._proven = True


def make_module(hosts: Mapping[Hashable, LayerHost], steps: Sequence[Step]) -> Any:
    """Return a module that runs along a path, a copy of its first model but for the weights."""
    first, last = hosts[steps[0].model], hosts[steps[-1].model]
    config = resize(first.config, [hosts[step.model].types[step.layer] for step in steps])
    layers = [hosts[step.model].layers[step.layer] for step in steps]
    made = rewire(first.module, first.place, layers, config)
    if last is not first:
        graft_end(made, last.module, last.place)
    if (head := find_head(first, last)) is not None:
        made = exchange_head(made, head)
    made.__class__ = _make_class(first.module.__class__)
    made.hosts = {step.model: hosts[step.model] for step in steps}
    made.steps = tuple(steps)
    return made


@cache
def _make_class(kind: type) -> type:
    return type(f"{kind.__name__}Path", (PathModule, kind), {})
