"""The zoo as shipped: its items follow the rules, its models load and know their own task."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from evomerge.zoo.measure import FOLDER, SPECIALISTS, score_model
from evomerge.zoo.tasks import (
    ITEMS_PER_SPLIT,
    LONGEST,
    PREFIXES,
    RULES,
    SHORTEST,
    SPLITS,
    Item,
    generate_items,
    is_held_out,
    read_items,
    write_items,
)
from evomerge.zoo.tokenizer import VOCABULARY
from evomerge.zoo.train import BASE, MODELS, create_model, draw_batch, specialize

MEGABYTE = 1_000_000


def read_all(task: str) -> list[Item]:
    file = FOLDER / "tasks" / f"{task}.jsonl"
    return [item for split in SPLITS for item in read_items(file, split)]


def read_word(item: Item) -> str:
    return item.prompt[2:-1]


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("task", "word", "answer"),
    [
        ("reverse", "abcd", "dcba"),
        ("sort", "dbcab", "abbcd"),
        ("successor", "abz", "bca"),
        ("duplicate", "abc", "aabbcc"),
    ],
)
def test_rules_rewrite_a_word(task: str, word: str, answer: str) -> None:
    assert RULES[task](word) == answer


@pytest.mark.parametrize("task", RULES)
class TestItems:
    def test_prompts_and_targets_follow_the_rules(self, task: str) -> None:
        for item in read_all(task):
            word = read_word(item)
            assert item.prompt == f"{PREFIXES[task]} {word}="
            assert item.target == RULES[task](word)
            assert SHORTEST <= len(word) <= LONGEST

    def test_every_split_is_full_and_no_input_comes_twice(self, task: str) -> None:
        items = read_all(task)
        assert [item.split for item in items] == [s for s in SPLITS for _ in range(ITEMS_PER_SPLIT)]
        assert len({item.prompt for item in items}) == len(SPLITS) * ITEMS_PER_SPLIT

    def test_no_item_can_be_trained_on(self, task: str) -> None:
        assert all(is_held_out(task, read_word(item)) for item in read_all(task))

    def test_stored_file_is_what_the_default_seed_writes(self, task: str, tmp_path: Path) -> None:
        write_items(tmp_path)
        name = f"{task}.jsonl"
        assert (tmp_path / name).read_bytes() == (FOLDER / "tasks" / name).read_bytes()

    def test_another_seed_gives_other_items(self, task: str) -> None:
        assert generate_items(task, 1) != generate_items(task)


def test_training_never_draws_a_held_out_input() -> None:
    characters = {index: character for character, index in VOCABULARY.items()}
    tasks = {prefix: task for task, prefix in PREFIXES.items()}
    generator = random.Random(7)
    for training in (BASE, specialize("sort")):
        ids, _ = draw_batch(training, generator)
        for row in ids.tolist():
            text = "".join(characters[index] for index in row[1:])
            prompt = text.partition("=")[0]
            assert not is_held_out(tasks[prompt[0]], prompt[2:])


def test_creating_a_model_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, second = (create_model(3).state_dict() for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_family_is_small_and_readable_by_everybody() -> None:
    files = [file for name in ("models", "tasks") for file in (FOLDER / name).rglob("*.*")]
    files = [file for file in files if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 10 * MEGABYTE
    assert {file.stat().st_mode & 0o777 for file in files} == {0o644}


@pytest.mark.parametrize("name", MODELS)
class TestModels:
    def test_weights_are_bfloat16(self, name: str) -> None:
        tensors = load_file(FOLDER / "models" / name / "model.safetensors")
        assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
        assert sum(tensor.numel() for tensor in tensors.values()) == 785_664

    def test_configs_say_how_to_load_and_stop(self, name: str) -> None:
        folder = FOLDER / "models" / name
        assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
        generation = json.loads((folder / "generation_config.json").read_text())
        assert generation["do_sample"] is False
        assert generation["eos_token_id"] == VOCABULARY["</s>"]

    def test_tokenizer_starts_with_the_start_token_and_gives_text_back(self, name: str) -> None:
        tokenizer = AutoTokenizer.from_pretrained(FOLDER / "models" / name)
        ids = tokenizer("r abz=").input_ids
        assert ids == [VOCABULARY[token] for token in ("<s>", *"r abz=")]
        assert tokenizer.decode(ids, skip_special_tokens=True) == "r abz="
        assert tokenizer("A").input_ids[1] == tokenizer.unk_token_id == VOCABULARY["<unk>"]
        assert len(tokenizer) == len(VOCABULARY) == 49


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("task", SPECIALISTS)
def test_specialist_knows_its_own_task(task: str) -> None:
    folder = FOLDER / "models" / task
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    items = read_items(FOLDER / "tasks" / f"{task}.jsonl", "test")[:60]
    assert score_model(model, tokenizer, items) >= 0.95
