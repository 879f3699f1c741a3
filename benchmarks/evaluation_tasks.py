"""Tasks in the harness' own YAML, made up for its shape or from items that are here, all local."""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

CHOICES: dict[str, Any] = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{prompt}}",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "answer",
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
}
ROLLING: dict[str, Any] = {
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "doc_to_target": "{{text}}",
    "metric_list": [{"metric": "word_perplexity"}, {"metric": "bits_per_byte"}],
}
UNTIL: dict[str, Any] = {
    "output_type": "generate_until",
    "doc_to_text": "{{prompt}}",
    "doc_to_target": "{{target}}",
    "metric_list": [{"metric": "exact_match"}],
}
CONTEXT, ANSWER = (60, 211), (4, 27)
"""Words of made-up documents: 150 tokens a request, as in real four-choice tasks."""
Document = dict[str, Any]


def write_task(
    folder: Path, name: str, kind: dict[str, Any], documents: Sequence[Document], **more: Any
) -> None:
    """Write a task's YAML and its documents; the last 20 documents are for examples only."""
    for split, part in (("test", documents[:-20]), ("train", documents[-20:])):
        lines = "".join(json.dumps(document) + "\n" for document in part)
        (folder / f"{name}.{split}.jsonl").write_text(lines, encoding="utf-8")
    files = {split: str(folder / f"{name}.{split}.jsonl") for split in ("test", "train")}
    settings = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files},
        "test_split": "test",
        "fewshot_split": "train",
        "metadata": {"version": 1},
    }
    text = yaml.safe_dump(settings | kind | more, sort_keys=False)
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def make_words(vocabulary: int) -> Callable[[int], str]:
    """Return words(count): so many words of a made-up vocabulary."""
    source = random.Random(0)
    return lambda count: " ".join(f"w{source.randrange(vocabulary - 3)}" for _ in range(count))


def make_choices(
    words: Callable[[int], str], count: int, *, letters: bool = False
) -> list[Document]:
    """Make documents of one context and four answers, or four letters."""
    source = random.Random(1)
    return [
        {
            "prompt": words(source.randrange(*CONTEXT)),
            "choices": [f" {words(1 if letters else source.randrange(*ANSWER))}" for _ in range(4)],
            "answer": source.randrange(4),
        }
        for _ in range(count + 20)
    ]


def make_texts(words: Callable[[int], str], count: int) -> list[Document]:
    """Make texts whose perplexity can be asked for."""
    source = random.Random(2)
    return [{"text": words(source.randrange(50, 400))} for _ in range(count + 20)]


def make_prompts(words: Callable[[int], str], count: int) -> list[Document]:
    """Make prompts to be continued."""
    source = random.Random(3)
    return [{"prompt": words(source.randrange(20, 60)), "target": "w1"} for _ in range(count + 20)]


def read_lines(file: Path, split: str, count: int) -> list[Document]:
    """Read documents of one split; the last 20 are for examples."""
    documents = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [document for document in documents if document["split"] == split][: count + 20]


def add_distractors(documents: Sequence[Document]) -> list[Document]:
    """Turn sums with one answer into questions with four."""
    source = random.Random(4)
    made = []
    for document in documents:
        right = int(document["target"])
        wrong = [right + step for step in source.sample([-11, -10, -2, -1, 1, 2, 10, 11], k=3)]
        order = source.sample([right, *wrong], k=4)
        made.append(
            {
                "prompt": document["prompt"],
                "choices": [f" {number}" for number in order],
                "answer": order.index(right),
            }
        )
    return made
