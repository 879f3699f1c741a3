"""What modules are called, and what their names say of them."""

import re

from evomerge.checkpoints.architecture import is_head

WRAPPERS = frozenset(
    {"model", "transformer", "language_model", "gpt_neox", "bert", "roberta", "distilbert"}
)
"""Leading words of names that one class of a model has and another lacks."""
BODIES = {"gpt2": "transformer.", "bloom": "transformer.", "opt": "model."}
"""What live models put before names that old files leave without it, by model_type."""
EMBEDDING = re.compile(
    r"(.*_)?embeddings?|embed_(in|positions|tokens.*)|wte|wpe|shared|relative_attention_bias"
)
NOT_OF_TOKENS = re.compile(r"wpe|.*position.*|.*type.*|relative_attention_bias")


def shorten(name: str) -> str:
    """Return a name without the leading words in which classes of one model differ."""
    words = name.split(".")
    while len(words) > 1 and words[0] in WRAPPERS:
        del words[0]
    return ".".join(words)


def live_name(module: str, model_type: str) -> str:
    """Return what transformers calls a module of a file once it is loaded."""
    body = BODIES.get(model_type, "")
    return module if module.startswith(body) or is_head(f"{module}.weight") else body + module


def is_embedding(module: str) -> bool:
    """Tell whether a module is an embedding: its weight's rows are inputs."""
    return bool(EMBEDDING.fullmatch(_last(module))) and not is_head(f"{module}.weight")


def is_token_embedding(module: str) -> bool:
    """Tell whether a module is the embedding that a head may be tied to."""
    return is_embedding(module) and not NOT_OF_TOKENS.fullmatch(_last(module))


def _last(module: str) -> str:
    return module.rpartition(".")[2]
