"""Our models as the harness sees them: its own tokenisation and windows, our scoring.

The harness' transformers model (HFLM) turns texts into token ids, cuts what is too long and looks
for stop strings; that code runs here unchanged. Only what computes is replaced.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from lm_eval import utils
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import (
    handle_stop_sequences,
    has_bos_prefix,
    postprocess_generated_text,
)

from evomerge.errors import EvaluationError
from evomerge.evaluation.harness.tasks import greedy_arguments

if TYPE_CHECKING:
    from collections.abc import Callable

    from evomerge.records import Generation


class TokenModel(Protocol):
    """A live model that is asked in token ids."""

    @property
    def tokenizer(self) -> Any:
        """The tokenizer, of the transformers library."""
        ...

    @property
    def module(self) -> Any:
        """The model, of the transformers library."""
        ...

    def score_tokens(
        self, requests: Sequence[tuple[Sequence[int], Sequence[int]]]
    ) -> Sequence[tuple[float, bool]]:
        """Log-likelihood of each continuation given its context, and whether it is greedy."""
        ...

    def generate_tokens(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        stop: Sequence[str] = (),
        texts: Sequence[str] | None = None,
        witness: "Callable[[Generation], None] | None" = None,
    ) -> list[str]:
        """Greedy continuation of each prompt, cut before the first stop string."""
        ...


class HarnessModel(HFLM):  # type: ignore[misc]  # the harness ships no types
    """The harness' own transformers model, without its progress bars.

    A model's own `max_new_tokens` would override the task's `max_gen_toks`; here it does not.

    Raises:
        EvaluationError: the tokenizer has no token to begin a text with.
    """

    def __init__(self, **options: Any) -> None:
        check_tokenizer(options["tokenizer"])
        super().__init__(**options)

    def _loglikelihood_tokens(self, requests: Any, **options: Any) -> Any:
        return super()._loglikelihood_tokens(requests, **{**options, "disable_tqdm": True})

    def _model_generate(self, *arguments: Any, **options: Any) -> Any:
        stated = self.model.generation_config
        before, stated.max_new_tokens = stated.max_new_tokens, None
        try:
            return super()._model_generate(*arguments, **options)
        finally:
            stated.max_new_tokens = before


class OwnModel(HFLM):  # type: ignore[misc]  # the harness ships no types
    """A live model of ours behind the harness' interface.

    Args:
        model: what computes.
        tokens: text -> its token ids; kept by the caller over many models of one tokenizer.

    Raises:
        EvaluationError: the tokenizer has no token to begin a text with.
    """

    def __init__(self, model: TokenModel, tokens: dict[Any, Any]) -> None:
        check_tokenizer(model.tokenizer)
        super().__init__(pretrained=model.module, tokenizer=model.tokenizer)
        self._ours = model
        self._tokens = tokens

    def _encode_pair(self, context: str, continuation: str) -> Any:
        key = (context, continuation)
        if key not in self._tokens:
            self._tokens[key] = super()._encode_pair(context, continuation)
        return self._tokens[key]

    def _loglikelihood_tokens(self, requests: Any, **_: Any) -> list[tuple[float, bool]]:
        pairs = [self._cut(list(context), list(tail)) for _, context, tail in requests]
        return [(score, greedy) for score, greedy in self._ours.score_tokens(pairs)]

    def _cut(self, context: list[int], tail: list[int]) -> tuple[list[int], list[int]]:
        """Keep as much of the context as the model can see, as the harness does."""
        if not tail:
            raise EvaluationError(
                "a continuation adds no token to its context, so it has no likelihood",
                "Begin answers with a blank (target_delimiter), or leave such documents out",
            )
        if len(tail) > self.max_length:
            raise EvaluationError(
                f"a continuation of {len(tail)} tokens is longer than the model's context of "
                f"{self.max_length}",
                "Leave such documents out",
            )
        context = context or [self.prefix_token_id]
        return (context + tail)[-(self.max_length + 1) :][: -len(tail) or None], tail

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = True) -> list[float]:
        """Return the log-likelihood of whole texts, window by window."""
        del disable_tqdm
        windows = [
            (number, window)
            for number, request in enumerate(requests)
            for window in self._windows(request.args[0])
        ]
        answers = self._loglikelihood_tokens([(None, *window) for _, window in windows])
        totals = [0.0] * len(requests)
        for (number, _), (likelihood, _) in zip(windows, answers, strict=True):
            totals[number] += likelihood
        return totals

    def _windows(self, text: str) -> list[tuple[list[int], list[int]]]:
        key = (text, self.max_length)
        if key not in self._tokens:
            rolling = utils.get_rolling_token_windows(
                self.tok_encode(text), self.prefix_token_id, self.max_length, 1
            )
            self._tokens[key] = [utils.make_disjoint_window(window) for window in rolling]
        found: list[tuple[list[int], list[int]]] = self._tokens[key]
        return found

    def generate_until(self, requests: Any, disable_tqdm: bool = True) -> list[str]:
        """Continue texts greedily; those of equal arguments together."""
        del disable_tqdm
        groups: dict[str, list[int]] = {}
        for number, request in enumerate(requests):
            groups.setdefault(repr(request.args[1]), []).append(number)
        answers = [""] * len(requests)
        for numbers in groups.values():
            texts = [requests[number].args[0] for number in numbers]
            found = self._continue(texts, requests[numbers[0]].args[1])
            for number, answer in zip(numbers, found, strict=True):
                answers[number] = answer
        return answers

    def _continue(self, texts: list[str], arguments: dict[str, Any]) -> list[str]:
        wanted = greedy_arguments(arguments, self.max_gen_toks)
        most = wanted["max_gen_toks"]
        room = self.max_length - most
        if room < 1:
            raise EvaluationError(
                f"max_gen_toks: {most} leaves no room for a prompt in the model's context of "
                f"{self.max_length} tokens",
                "Ask for fewer in gen_kwargs",
            )
        end = self.tok_decode(self.eot_token_id, skip_special_tokens=False)
        stop = handle_stop_sequences(wanted["until"], eos=end)
        prompts = [self._prompt(text)[-room:] for text in texts]
        answers = self._ours.generate_tokens(
            prompts, max_new_tokens=most, stop=[word for word in stop if word], texts=texts
        )
        return [postprocess_generated_text(answer, stop, None) for answer in answers]

    def _prompt(self, text: str) -> list[int]:
        """Return a prompt's ids; a text that begins with the start token gets no second one."""
        if text not in self._tokens:
            begun = has_bos_prefix(text, getattr(self.tokenizer, "bos_token", None))
            extra = {"add_special_tokens": False} if begun else {}
            self._tokens[text] = self.tokenizer(text, **extra)["input_ids"]
        found: list[int] = self._tokens[text]
        return found


def check_tokenizer(tokenizer: Any) -> None:
    """Check that a tokenizer has a token that can stand before a text's first.

    Raises:
        EvaluationError: it has neither a start nor an end token.
    """
    if tokenizer.bos_token_id is None and tokenizer.eos_token_id is None:
        raise EvaluationError(
            "the tokenizer has neither a start nor an end token, and lm-evaluation-harness needs "
            "one before a text's first",
            "State bos_token or eos_token in its tokenizer_config.json",
        )
