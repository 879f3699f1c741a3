"""A transformers model as a LanguageModel: texts and tokens in, log-likelihoods and texts out.

What shares a batch is decided by the requests alone (by length, then by order), never by timing,
so scores repeat to the bit with the same number of threads.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from evomerge.errors import EvaluationError
from evomerge.inference.families import Row
from evomerge.inference.forward import Forward
from evomerge.inference.generation import Writer
from evomerge.inference.proof import prove_padding, prove_sharing
from evomerge.inference.scoring import TokenScore, score_tokens
from evomerge.inference.texts import Texts
from evomerge.records import Generation
from evomerge.types import ScoreRequest

UNSTATED = 2048
"""Tokens of context where neither model nor tokenizer states them (lm-evaluation-harness)."""
ENDLESS = 1 << 40
"""A tokenizer that states a longer context than this states none."""


class TransformersModel:
    """A causal language model of the transformers library.

    Args:
        module: the model, in evaluation mode; its parameters may change between calls.
        tokenizer: its tokenizer.

    Attributes:
        context_limit: most tokens the model reads at once.
        texts: turns texts into tokens.
    """

    def __init__(self, module: Any, tokenizer: Any) -> None:
        self.module = module
        self.tokenizer = tokenizer
        self.context_limit = find_context_limit(module.config, tokenizer)
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        ends = find_end_tokens(module, tokenizer)
        self._forward = Forward(module, pad, self.context_limit)
        self._writer = Writer(self._forward, tokenizer, ends)
        first = tokenizer.bos_token_id
        self.texts = Texts(tokenizer, first if first is not None else min(ends, default=pad))
        self._proven = False

    def score(self, requests: Sequence[ScoreRequest]) -> list[float]:
        """Log-likelihood (nats) of each continuation given its context.

        A context longer than the model's is cut at its beginning. Where there is no context, the
        start token (or the end token) stands for it.

        Raises:
            EvaluationError: a continuation alone is longer than the model's context.
        """
        pairs = self.texts.split(requests)
        return [score.log_likelihood for score in self.score_tokens(pairs)]

    @torch.inference_mode()
    def score_tokens(
        self, requests: Sequence[tuple[Sequence[int], Sequence[int]]]
    ) -> list[TokenScore]:
        """Score continuations given their contexts, both as token ids.

        An empty context is the start token; one that is too long is cut at its beginning, so that
        the model reads at most `context_limit` tokens: all but the continuation's last.

        Raises:
            EvaluationError: a continuation alone is longer than the model's context.
        """
        rows = [self._fit(*request) for request in requests]
        return score_tokens(self.prove(), rows)

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        stop: Sequence[str] = (),
        witness: Callable[[Generation], None] | None = None,
    ) -> list[str]:
        """Greedy continuation of each prompt, up to an end token or before a stop string.

        Args:
            prompts: what to continue.
            max_new_tokens: where an answer ends at the latest.
            stop: strings before which an answer ends.
            witness: told of every answer, in the order of the prompts.

        Raises:
            EvaluationError: so many new tokens leave no room for a prompt.
        """
        return self.generate_tokens(
            self.texts.encode(prompts),
            max_new_tokens=max_new_tokens,
            stop=stop,
            texts=prompts,
            witness=witness,
        )

    @torch.inference_mode()
    def generate_tokens(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        stop: Sequence[str] = (),
        texts: Sequence[str] | None = None,
        witness: Callable[[Generation], None] | None = None,
    ) -> list[str]:
        """Continue prompts of token ids greedily; see `generate`.

        A prompt that is too long is cut at its beginning; an empty one is the start token.

        Args:
            prompts: what to continue.
            max_new_tokens: where an answer ends at the latest.
            stop: strings before which an answer ends.
            texts: the prompts as texts, for the witness; default: decoded.
            witness: told of every answer, in the order of the prompts.

        Raises:
            EvaluationError: so many new tokens leave no room for a prompt.
        """
        room = self.context_limit - max_new_tokens
        if room < 1:
            raise EvaluationError(
                f"max_new_tokens: {max_new_tokens} leaves no room for a prompt in the model's "
                f"context of {self.context_limit} tokens",
                "Ask for fewer",
            )
        rows: list[Row] = [tuple(ids[-room:]) or (self.texts.start,) for ids in prompts]
        self.prove()
        answers = self._writer.write(rows, max_new_tokens, stop)
        written = [self._writer.decode(answer.tokens, stop) for answer in answers]
        if witness is not None:
            asked = texts or [str(self.tokenizer.decode(list(ids))) for ids in prompts]
            for prompt, text, answer in zip(asked, written, answers, strict=True):
                witness(Generation(prompt, text, len(answer.tokens), answer.finished))
        return written

    @torch.inference_mode()
    def prove(self) -> Forward:
        """Find out once what the model's caches can be used for, and whether it may be padded.

        Returns:
            The model as a forward pass that knows it.
        """
        self._proven = self._proven or (
            prove_sharing(self._forward, self.context_limit) and prove_padding(self._forward)
        )
        return self._forward

    def _fit(self, context: Sequence[int], continuation: Sequence[int]) -> tuple[Row, Row]:
        room = self.context_limit + 1 - len(continuation)
        if room < 1:
            raise EvaluationError(
                f"a text of {len(continuation)} tokens is longer than the model's context of "
                f"{self.context_limit}",
                "Split it into shorter items",
            )
        return tuple(context[-room:]) or (self.texts.start,), tuple(continuation)


def find_context_limit(config: Any, tokenizer: Any) -> int:
    """Return most tokens a model reads at once, by lm-evaluation-harness' rule."""
    for name in ("n_positions", "max_position_embeddings", "n_ctx"):
        if stated := getattr(config.get_text_config(), name, None):
            return int(stated)
    stated = getattr(tokenizer, "model_max_length", None) or ENDLESS
    return int(stated) if stated < ENDLESS else UNSTATED


def find_end_tokens(module: Any, tokenizer: Any) -> frozenset[int]:
    """Return the token ids that end a text: the model's and the tokenizer's."""
    stated = getattr(getattr(module, "generation_config", None), "eos_token_id", None)
    ends = stated if isinstance(stated, list) else [stated]
    return frozenset(token for token in [*ends, tokenizer.eos_token_id] if token is not None)
