"""What looks wrong about a model's answers, whatever score they earned.

A merge may win by being cut off at the token limit less often than its parents, by answering in
another language, or by babbling something that the extractor likes. Every share is counted while
the answers are made; a winner whose answers look worse than its parents' is told so.

Repetition is seq-rep-n (Welleck et al., 2020), the share of n-grams that occurred before, taken
over characters, so that it means the same in languages without blanks.
https://arxiv.org/abs/1908.04319
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from evomerge.records import Generation
from evomerge.types import LanguageModel, ScoreRequest

WINDOW = 16
"""Characters of an n-gram: a phrase of three words, or half a sentence of Japanese."""

SHORTEST = 4 * WINDOW
"""Shorter answers are never called repetitive."""

HEAVY = 0.5
"""An answer is repetitive when more than this share of its n-grams occurred before in it."""

SUSPICIOUS = 0.05
"""A share up to this is never suspicious …"""

EXCESS = 2.0
"""… nor one up to so many times the best parent's."""

LENGTH = 3.0
"""Answers are suspicious when so many times as long, or short, as those of every parent."""

Measures = Mapping[str, Mapping[str, float]]
"""Task name -> measure -> value."""

SHARES = {
    "truncated": "of the answers end at the token limit",
    "unparsed": "of the answers hold nothing that could be extracted",
    "empty": "of the answers are empty",
    "repetitive": "of the answers repeat themselves",
    "wrong_language": "of the answers are not in the wanted language",
}
"""Measures that are shares of answers, less is better, and how people are told of them."""

MEASURES = ("answers", "mean_tokens", *SHARES, "nonfinite")
"""Everything an audit may measure; what never came up is not among a model's measures."""


class Audit:
    """Counts what looks wrong about one model's answers to one task.

    The measures are `answers` (how many were generated), `mean_tokens`, the shares of `SHARES`,
    and `nonfinite`, the share of log-likelihoods that are NaN or infinite.
    """

    def __init__(self) -> None:
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._counts: Counter[str] = Counter()

    def note_generation(self, answer: Generation) -> None:
        """Count a generated answer."""
        self._add("tokens", answer.tokens)
        self._add("truncated", not answer.finished)
        self._add("empty", not answer.text.strip())
        self._add("repetitive", measure_repetition(answer.text) > HEAVY)

    def note_extraction(self, found: bool) -> None:
        """Count whether what was looked for in an answer was found in it."""
        self._add("unparsed", not found)

    def note_language(self, right: bool) -> None:
        """Count whether an answer is in the wanted language."""
        self._add("wrong_language", not right)

    def note_likelihoods(self, nats: Iterable[float]) -> None:
        """Count log-likelihoods that are no numbers to compare with."""
        for value in nats:
            self._add("nonfinite", not math.isfinite(value))

    def measures(self) -> dict[str, float]:
        """Return what was counted, by name; nothing of what never came up."""
        found = {name: self._sums[name] / count for name, count in self._counts.items()}
        if "tokens" in found:
            found["mean_tokens"] = found.pop("tokens")
            found["answers"] = float(self._counts["tokens"])
        return found

    def watch(self, model: LanguageModel) -> LanguageModel:
        """Return the same model, whose answers are counted."""
        return _Watched(model, self)

    def _add(self, name: str, amount: float) -> None:
        self._sums[name] += amount
        self._counts[name] += 1


class _Watched:
    """A live model under audit; whatever else it can do goes straight to it."""

    def __init__(self, model: Any, audit: Audit) -> None:
        self._model = model
        self._audit = audit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    @property
    def tokenizer(self) -> Any:
        return self._model.tokenizer

    @property
    def module(self) -> Any:
        return self._model.module

    def score(self, requests: Sequence[ScoreRequest]) -> list[float]:
        found: list[float] = self._model.score(requests)
        self._audit.note_likelihoods(found)
        return found

    def score_tokens(self, requests: Sequence[Any]) -> Any:
        found = self._model.score_tokens(requests)
        self._audit.note_likelihoods(score.log_likelihood for score in found)
        return found

    def generate(
        self, *arguments: Any, witness: Callable[[Generation], None] | None = None, **options: Any
    ) -> Any:
        return self._model.generate(*arguments, witness=self._tell(witness), **options)

    def generate_tokens(
        self, *arguments: Any, witness: Callable[[Generation], None] | None = None, **options: Any
    ) -> Any:
        return self._model.generate_tokens(*arguments, witness=self._tell(witness), **options)

    def _tell(self, witness: Callable[[Generation], None] | None) -> Callable[[Generation], None]:
        def tell(answer: Generation) -> None:
            self._audit.note_generation(answer)
            if witness:
                witness(answer)

        return tell


def measure_repetition(text: str) -> float:
    """Return the share of a text's character 16-grams that stand earlier in it, in [0, 1).

    Runs of white space count as one blank. Texts under 64 characters have none.
    """
    folded = " ".join(text.split())
    if len(folded) < SHORTEST:
        return 0.0
    grams = [folded[k : k + WINDOW] for k in range(len(folded) - WINDOW + 1)]
    return 1.0 - len(set(grams)) / len(grams)


def find_suspicions(winner: Measures, parents: Sequence[Measures]) -> tuple[str, ...]:
    """Say in plain words what about the winner's answers should make one look at them.

    A share is suspicious above 5 % when it is also more than twice that of the best parent; any
    log-likelihood that is not finite is; answers three times as long (or short) as any parent's
    are. What was not measured of the winner is not suspicious; of a parent, it does not count.
    """
    found = []
    for task, measures in winner.items():
        known = [parent[task] for parent in parents if task in parent]
        found += [f"{task}: {sentence}" for sentence in _suspect(measures, known)]
    return tuple(found)


def _suspect(winner: Mapping[str, float], parents: Sequence[Mapping[str, float]]) -> Iterable[str]:
    for name, words in SHARES.items():
        share = winner.get(name, 0.0)
        best = min((parent[name] for parent in parents if name in parent), default=0.0)
        if share > SUSPICIOUS and share > EXCESS * best:
            yield f"{share:.0%} {words} (best parent: {best:.0%})"
    if winner.get("nonfinite", 0.0) > 0:
        yield f"{winner['nonfinite']:.2%} of the log-likelihoods are NaN or infinite"
    lengths = [parent["mean_tokens"] for parent in parents if "mean_tokens" in parent]
    mean = winner.get("mean_tokens")
    if mean is None or not lengths:
        return
    if mean > LENGTH * max(lengths) or LENGTH * mean < min(lengths):
        known = f"{min(lengths):.1f} to {max(lengths):.1f}"
        yield f"answers are {mean:.1f} tokens long on average (parents: {known})"


def describe_measures(measures: Mapping[str, float]) -> str:
    """Write measures in one line: `60 answers of 4.2 tokens; 3 % truncated`."""
    parts = []
    if "answers" in measures:
        parts.append(f"{measures['answers']:.0f} answers of {measures['mean_tokens']:.1f} tokens")
    shares = [n for n in (*SHARES, "nonfinite") if n in measures]
    parts += [f"{measures[name]:.1%} {name.replace('_', ' ')}" for name in shares]
    return "; ".join(parts)
