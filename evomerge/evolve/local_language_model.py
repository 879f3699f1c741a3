"""A language model of this machine as the partner of a search: asked in its own chat template."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from evomerge.checkpoints.loading import GGUF, find_device, load_model, load_tokenizer
from evomerge.checkpoints.locate import locate
from evomerge.errors import EndpointError, EvoMergeException
from evomerge.inference.transformers_model import TransformersModel
from evomerge.records import Generation
from evomerge.types import Message, Reply

MOST_TOKENS = 160
"""Longest answer, unless the run file says otherwise: a list of integers, and a few words."""


class LocalLanguageModel:
    """A model of the transformers library that answers greedily; loaded when it is first asked.

    Args:
        reference: a folder, `zoo:NAME`, a hub id, or a GGUF file.
        max_tokens: longest answer; 160 if None.

    Raises:
        CheckpointError: there is no such model.
    """

    def __init__(self, reference: str, max_tokens: int | None = None) -> None:
        path = Path(reference).expanduser()
        self._folder = path if path.suffix == GGUF and path.is_file() else locate(reference)
        self._reference, self._most = reference, max_tokens or MOST_TOKENS

    def probe(self) -> None:
        """Load the model.

        Raises:
            CheckpointError: it cannot be loaded.
        """
        _load(self._folder)

    def __call__(self, messages: Sequence[Message]) -> Reply:
        """Answer a conversation, greedily.

        Raises:
            EndpointError: the model cannot.
        """
        told: list[Generation] = []
        try:
            model = _load(self._folder)
            ids = _encode(model, messages)
            [text] = model.generate_tokens([ids], max_new_tokens=self._most, witness=told.append)
        except (EvoMergeException, ValueError, RuntimeError) as error:
            raise EndpointError(f"the language model {self._reference} fails: {error}") from None
        usage = {"prompt_tokens": len(ids), "completion_tokens": told[0].tokens}
        return text, {"model": self._reference, "usage": usage}


@cache
def _load(folder: Path) -> TransformersModel:
    module = load_model(folder, find_device(), arithmetic="fastest")
    return TransformersModel(module, load_tokenizer(folder))


def _encode(model: TransformersModel, messages: Sequence[Message]) -> list[int]:
    """Return a conversation as token ids; its texts, where the model has no chat template."""
    if model.tokenizer.chat_template:
        ids = model.tokenizer.apply_chat_template(
            list(messages), add_generation_prompt=True, tokenize=True, return_dict=False
        )
        return list(ids)
    text = "\n\n".join(message["content"] for message in messages) + "\n"
    [row] = model.texts.encode([text])
    return list(row)
