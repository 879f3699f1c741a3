"""Chat templates, asked for: the prompts, and the tokens, that the harness itself would give."""

import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import pytest
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from evomerge.errors import EvaluationError
from evomerge.evaluation import Audit, build_evaluator
from evomerge.evaluation.chat import templated
from evomerge.evaluation.suite.coding import CLOSING, OPENING
from evomerge.inference.transformers_model import TransformersModel
from evomerge.records import Generation, Item

CHAT = (
    "{% for m in messages %}{{ m.role[0] }} {{ m.content }}. {% endfor %}"
    "{% if add_generation_prompt %}a {% endif %}"
)
BEGUN = "{{ bos_token }}" + CHAT
LoadModel = Callable[[str], Any]


def chatty(model: Any, template: str) -> TransformersModel:
    tokenizer = deepcopy(model.tokenizer)
    tokenizer.chat_template = template
    return TransformersModel(model.module, tokenizer)


class Recording:
    """A real model that remembers the texts and tokens it is asked to continue."""

    def __init__(self, model: TransformersModel) -> None:
        self.model, self.texts, self.tokens, self.stops = model, [], [], []  # type: ignore[var-annotated]  # filled below

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def generate(self, prompts: Sequence[str], **options: Any) -> list[str]:
        self.texts += prompts
        return self.model.generate(prompts, **options)

    def generate_tokens(self, prompts: Any, **options: Any) -> list[str]:
        self.texts += options["texts"]
        self.tokens += prompts
        self.stops.append(options["stop"])
        return self.model.generate_tokens(prompts, **options)


@pytest.mark.parametrize("template", [CHAT, BEGUN])
def test_answers_in_a_conversation_are_those_of_the_harness(
    zoo_model: LoadModel, template: str
) -> None:
    model = chatty(zoo_model("sort"), template)
    harness = HFLM(pretrained=model.module, tokenizer=model.tokenizer, batch_size=2)
    prompts = ["s cab=", "s fedcba=", "r ab="]
    turns = [harness.apply_chat_template([{"role": "user", "content": p}]) for p in prompts]
    how = {"until": [" "], "do_sample": False, "max_gen_toks": 9}
    asked = [Instance("generate_until", {}, (turn, dict(how)), 0) for turn in turns]
    expected = harness.generate_until(asked, disable_tqdm=True)
    recording = Recording(model)
    found = templated(recording, True).generate(prompts, max_new_tokens=9, stop=[" "])
    assert recording.texts == turns
    assert found == expected
    starts = [ids[:2].count(model.tokenizer.bos_token_id) for ids in recording.tokens]
    assert max(starts) <= 1


def test_model_without_a_template_is_asked_as_it_is_or_refused(zoo_model: LoadModel) -> None:
    model = zoo_model("base")
    assert templated(model, False) is model
    assert templated(model, "auto") is model
    with pytest.raises(EvaluationError, match="tokenizer has no chat template"):
        templated(model, True)


def test_template_that_refuses_is_a_failure_in_one_line(zoo_model: LoadModel) -> None:
    model = chatty(zoo_model("base"), "{{ raise_exception('only systems speak') }}")
    with pytest.raises(EvaluationError, match=r"template cannot be applied: .*only systems speak"):
        templated(model, "auto").generate(["s ab="], max_new_tokens=2)


ITEMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "mgsm": ({"language": "en", "detector": "none"}, {"question": "s ab=", "answer": 1}),
    "exact_match": ({}, {"prompt": "s ab=", "target": "ab"}),
    "command": ({"command": [sys.executable, "-c", "print([1])"]}, {"prompt": "s ab="}),
}


@pytest.mark.parametrize("name", ITEMS)
@pytest.mark.parametrize(("wanted", "asked"), [(True, "u s ab=. a "), (False, "s ab=")])
def test_evaluators_put_their_questions_through_it_when_asked(
    zoo_model: LoadModel, name: str, wanted: bool, asked: str
) -> None:
    options, fields = ITEMS[name]
    short = {"max_new_tokens": 3, "apply_chat_template": wanted}
    judge = build_evaluator(name, {**options, **short}, "t")
    recording, audit = Recording(chatty(zoo_model("sort"), CHAT)), Audit()
    judge.evaluate(recording, [Item("k", "t", fields)], audit)
    assert recording.texts == [asked]
    assert audit.measures()["answers"] == 1


@pytest.mark.parametrize("part", ["mathematics", "writing", "zero_shot_qa"])
def test_parts_of_the_suite_that_write_do_it_in_a_conversation(
    zoo_model: LoadModel, part: str
) -> None:
    recording = Recording(chatty(_roomy(zoo_model("sort")), CHAT))
    judge = build_evaluator("suite", {"apply_chat_template": "auto"}, part)
    documents = judge.documents()
    assert documents is not None
    judge.evaluate(recording, [Item("k", part, dict(documents["search"][0]))])
    (asked,) = recording.texts
    assert asked.startswith("u ")
    assert asked.endswith(". a ")


def test_code_in_a_conversation_is_a_block_of_its_own(zoo_model: LoadModel) -> None:
    recording = Recording(chatty(_roomy(zoo_model("sort")), CHAT))
    judge = build_evaluator("suite", {"apply_chat_template": True}, "coding")
    documents = judge.documents()
    assert documents is not None
    fields = dict(documents["search"][0])
    judge.evaluate(recording, [Item("k", "coding", fields)])
    assert recording.texts == [f"u {OPENING}{fields['prompt'].rstrip()}{CLOSING}. a "]
    assert recording.stops == [()]


@pytest.mark.parametrize("part", ["perplexity", "coherence", "zero_shot_classification"])
def test_parts_that_compare_likelihoods_have_no_use_for_it(zoo_model: LoadModel, part: str) -> None:
    model, found = chatty(_roomy(zoo_model("sort")), CHAT), []
    for wanted in (True, False):
        judge = build_evaluator("suite", {"apply_chat_template": wanted}, part)
        documents = judge.documents()
        assert documents is not None
        items = [Item(str(k), part, dict(documents["search"][k])) for k in range(2)]
        found.append(judge.evaluate(model, items))
    assert found[0] == found[1]


def _roomy(model: Any) -> Any:
    """Return the model with room for long answers, which it was not trained for."""
    module = deepcopy(model.module)
    module.config.max_position_embeddings = 2048
    return TransformersModel(module, model.tokenizer)


def test_witness_is_told_the_whole_turn(zoo_model: LoadModel) -> None:
    heard: list[Generation] = []
    model = chatty(zoo_model("sort"), CHAT)
    templated(model, True).generate(["s ba="], max_new_tokens=2, witness=heard.append)
    assert [answer.prompt for answer in heard] == ["u s ba=. a "]
