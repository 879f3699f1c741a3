"""The chat template of a merge: the models' most common one, a well-known one, or the user's."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evomerge.checkpoints.chat_template import (
    choose_template,
    named_templates,
    read_template,
    write_template,
)
from evomerge.checkpoints.loading import load_tokenizer
from evomerge.errors import CheckpointError

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "Bye"},
]


def _folder(place: Path, template: Any = None, *, file: str | None = None) -> Path:
    place.mkdir()
    settings = {} if template is None else {"chat_template": template}
    (place / "tokenizer_config.json").write_text(json.dumps(settings))
    if file is not None:
        (place / "chat_template.jinja").write_text(file)
    return place


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "chatml",
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"
            "<|im_start|>assistant\n",
        ),
        (
            "llama3",
            "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        (
            "mistral",
            "<s>[INST] Be brief.\n\nHi [/INST] Hello</s>[INST] Bye [/INST]",
        ),
        (
            "exaone",
            "[|system|]Be brief.[|endofturn|]\n[|user|]Hi\n[|assistant|]Hello[|endofturn|]\n"
            "[|user|]Bye\n[|assistant|]",
        ),
        (
            "alpaca",
            "Be brief.\n\n### Instruction:\nHi\n\n### Response:\nHello</s>\n\n"
            "### Instruction:\nBye\n\n### Response:\n",
        ),
    ],
)
def test_a_conversation_reads_as_the_format_is_published(
    train_tokenizer: Callable[..., Path], name: str, expected: str
) -> None:
    folder = train_tokenizer("base", "WordLevel")
    template = choose_template([folder], name)
    assert template is not None
    write_template(folder, template)
    tokenizer = load_tokenizer(folder)
    told = tokenizer.apply_chat_template(TALK, tokenize=False, add_generation_prompt=True)
    assert told == expected
    without = tokenizer.apply_chat_template(TALK[1:3], tokenize=False)
    assert "Hi" in without
    assert without.rstrip().endswith(("Hello", "</s>", "<|im_end|>", "<|eot_id|>", "[|endofturn|]"))


def test_there_are_the_five_known_names() -> None:
    assert list(named_templates()) == ["alpaca", "chatml", "exaone", "llama3", "mistral"]


def test_auto_takes_what_most_models_have_and_of_several_the_first(tmp_path: Path) -> None:
    one = _folder(tmp_path / "one", "{{ 'one' }}")
    two = _folder(tmp_path / "two", "{{ 'two' }}\n")
    three = _folder(tmp_path / "three", file="\n{{ 'two' }}")
    none = _folder(tmp_path / "none")
    assert choose_template([one, two, three, none], "auto") == "{{ 'two' }}"
    assert choose_template([none, one, two], "auto") == "{{ 'one' }}"
    assert choose_template([two, one], "auto") == "{{ 'two' }}"
    assert choose_template([none], "auto") is None
    assert choose_template([one, two], None) is None


def test_of_several_templates_of_a_model_the_default_counts(tmp_path: Path) -> None:
    named = [{"name": "tool", "template": "T"}, {"name": "default", "template": "D"}]
    assert read_template(_folder(tmp_path / "list", named)) == "D"
    assert read_template(_folder(tmp_path / "table", {"default": "E", "tool": "T"})) == "E"
    assert read_template(_folder(tmp_path / "lacks", named[:1])) is None
    assert read_template(_folder(tmp_path / "both", "old", file="new")) == "new"
    (tmp_path / "bare").mkdir()
    assert read_template(tmp_path / "bare") is None


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ m.content }}{% endfor %}",
        "{% for m in messages %}{% if m.x %}{% break %}{% endif %}{% endfor %}",
        "{% generation %}{{ messages }}{% endgeneration %}",
        "{{ 'a' * 10**10 }}{{ 9**9**9 }}",
        "{{ raise_exception('no') }}{{ strftime_now('%Y') }}{{ messages | tojson(indent=2) }}",
    ],
)
def test_literal_jinja_passes_as_it_is_with_all_that_transformers_knows(template: str) -> None:
    assert choose_template([], template) == template


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("chatlm", "chat_template 'chatlm' is neither one of auto, alpaca, chatml, .* nor Jinja"),
        ("x" * 500, "'x{64}' is neither one of"),
        ("{% for m in messages %}", "chat_template is not valid Jinja: .*for.* \\(line 1\\)"),
        ("{{ messages", "chat_template is not valid Jinja"),
        ("{{ m | unheard }}", "chat_template is not valid Jinja: No filter named 'unheard'"),
    ],
)
def test_what_is_no_template_is_one_clear_line(choice: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        choose_template([], choice)
    assert "\n" not in str(error.value)


def test_a_written_template_is_the_only_one(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "model", "old")
    assert write_template(folder, "{{ 'new' }}") == ["chat_template.jinja", "tokenizer_config.json"]
    assert json.loads((folder / "tokenizer_config.json").read_text()) == {}
    assert read_template(folder) == "{{ 'new' }}"
    assert write_template(folder, "{{ 'newer' }}") == ["chat_template.jinja"]


def test_a_template_that_is_no_text_is_one_clear_line(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "model")
    (folder / "chat_template.jinja").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(CheckpointError, match=r"chat_template\.jinja cannot be read"):
        choose_template([folder], "auto")
