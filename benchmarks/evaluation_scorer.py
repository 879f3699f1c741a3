"""The harness' own scorer against ours: the same tasks, the same model, in turn.

run(arguments) returns a section of Markdown; see benchmarks/evaluation.py.
"""

import argparse
import logging
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from evaluation import keep, read_record
from evaluation_tasks import (
    CHOICES,
    ROLLING,
    UNTIL,
    add_distractors,
    make_choices,
    make_prompts,
    make_texts,
    make_words,
    read_lines,
    write_task,
)
from machine import describe

ASKED = ("loglikelihood", "loglikelihood_rolling", "generate_until")
BATCH = 32
TINY, MIDDLE = 1024, 16384
"""Vocabularies of the made-up models."""
GOAL = 3.0
"""How many times less CPU four-choice tasks shall take."""


class Case(NamedTuple):
    """One task on one model."""

    model: str
    task: str
    shots: int = 0


class Timed:
    """A model of the harness' kind, its answers kept and its seconds counted."""

    def __init__(self, model: Any) -> None:
        self.model, self.cpu, self.wall, self.answers = model, 0.0, 0.0, []
        for name in ASKED:
            setattr(model, name, self._time(getattr(model, name)))

    def _time(self, ask: Any) -> Any:
        def timed(*arguments: Any, **options: Any) -> Any:
            cpu, wall = time.process_time(), time.perf_counter()
            answers = ask(*arguments, **options)
            self.cpu += time.process_time() - cpu
            self.wall += time.perf_counter() - wall
            self.answers += answers
            return answers

        return timed


def make_llama(width: int, layers: int, vocabulary: int) -> tuple[Any, Any]:
    """Make a random Llama and a tokenizer of as many words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {"<pad>": 0, "<s>": 1, "</s>": 2} | {f"w{k}": k + 3 for k in range(vocabulary - 3)}
    core = Tokenizer(models.WordLevel(words, "<pad>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    config = LlamaConfig(
        hidden_size=width, intermediate_size=3 * width, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=2, vocab_size=vocabulary,
        max_position_embeddings=2048, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.05)
    return model.eval(), tokenizer


def load(folder: Path) -> tuple[Any, Any]:
    """Load a model in the arithmetic that is fast here, and its tokenizer."""
    import torch

    from evomerge.checkpoints.loading import find_arithmetic, load_model, load_tokenizer

    model = load_model(folder)
    arithmetic = find_arithmetic(str(model.dtype).removeprefix("torch."), "cpu")
    return model.to(getattr(torch, arithmetic)), load_tokenizer(folder)


def make_tasks(folder: Path, chosen: argparse.Namespace) -> Iterator[Case]:
    """Write all tasks; yield what is to be measured."""
    from evomerge.zoo import tasks as zoo

    few = 6 if chosen.quick else 1
    first = {"fewshot_config": {"sampler": "first_n"}}
    for model, vocabulary, count in (("tiny", TINY, 200), ("middle", MIDDLE, 40)):
        words = make_words(vocabulary)
        choices = make_choices(words, count // few)
        write_task(folder, f"{model}_choices", CHOICES, choices)
        yield Case(model, f"{model}_choices")
        some = choices[-(count // few // 4 + 20) :]
        write_task(folder, f"{model}_choices_own_examples", CHOICES, some)
        yield Case(model, f"{model}_choices_own_examples", 5)
        write_task(folder, f"{model}_choices_same_examples", CHOICES, some, **first)
        yield Case(model, f"{model}_choices_same_examples", 5)
        letters = make_choices(words, count // few, letters=True)
        write_task(folder, f"{model}_letters", CHOICES, letters)
        yield Case(model, f"{model}_letters")
        write_task(folder, f"{model}_texts", ROLLING, make_texts(words, count // few // 2))
        yield Case(model, f"{model}_texts")
    write_task(
        folder, "tiny_answers", UNTIL | _until(24), make_prompts(make_words(TINY), 60 // few)
    )
    yield Case("tiny", "tiny_answers")
    stored = Path(zoo.__file__).parent / "tasks"
    for name in ("sort", "reverse"):
        documents = read_lines(stored / f"{name}.jsonl", "test", 180 // few)
        write_task(folder, f"zoo_{name}", UNTIL | _until(16), documents)
        yield Case("zoo", f"zoo_{name}")
    if chosen.smollm2:
        yield from _make_smollm2(folder, chosen.smollm2 / "tasks", 24 // few)


def _make_smollm2(folder: Path, items: Path, count: int) -> Iterator[Case]:
    sums = read_lines(items / "arithmetic.jsonl", "test", count)
    write_task(folder, "smollm2_sums", CHOICES, add_distractors(sums))
    yield Case("smollm2", "smollm2_sums")
    yield Case("smollm2", "smollm2_sums", 5)
    write_task(folder, "smollm2_intent", CHOICES, read_lines(items / "intent.jsonl", "test", count))
    yield Case("smollm2", "smollm2_intent")
    write_task(folder, "smollm2_answers", UNTIL | _until(8), sums)
    yield Case("smollm2", "smollm2_answers")
    texts = [
        {"text": " ".join(d["prompt"] + d["target"] for d in sums[k : k + 8])} for k in range(28)
    ]
    write_task(folder, "smollm2_texts", ROLLING, texts)
    yield Case("smollm2", "smollm2_texts")


def _until(most: int) -> dict[str, Any]:
    return {"generation_kwargs": {"until": ["\n"], "max_gen_toks": most, "do_sample": False}}


class Models:
    """The models by name, built when they are asked for, only the last one kept."""

    def __init__(self, smollm2: Path | None) -> None:
        self._smollm2, self._name, self._pair = smollm2, "", (None, None)

    def get(self, name: str) -> tuple[Any, Any]:
        """Return model and tokenizer."""
        if name != self._name:
            self._pair = (None, None)
            self._pair, self._name = self._make(name), name
        return self._pair

    def _make(self, name: str) -> tuple[Any, Any]:
        from evomerge.checkpoints.locate import locate

        if name == "tiny":
            return make_llama(96, 4, TINY)
        if name == "middle":
            return make_llama(256, 4, MIDDLE)
        if name == "zoo":
            return load(locate("zoo:sort"))
        assert self._smollm2 is not None
        return load(self._smollm2 / "base")


def measure(case: Case, folder: Path, models: Models, repeats: int) -> dict[str, Any]:
    """Ask both scorers in turn; return seconds, metrics and how far their answers are apart."""
    from lm_eval.tasks import TaskManager

    from evomerge.evaluation.harness.language_model import HarnessModel, OwnModel
    from evomerge.inference.transformers_model import TransformersModel

    module, tokenizer = models.get(case.model)
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    ours, tokens = TransformersModel(module, tokenizer), {}
    runs: dict[str, Any] = {"ours": [], "theirs": [], "parameters": module.num_parameters()}
    runs |= {"shots": case.shots, "load": os.getloadavg()[0]}
    for _ in range(repeats):
        theirs = HarnessModel(
            pretrained=module, tokenizer=tokenizer, batch_size=BATCH, device="cpu"
        )
        answers = []
        for engine, model in (("theirs", theirs), ("ours", OwnModel(ours, tokens))):
            run, found = evaluate(Timed(model), manager, case)
            runs[engine].append(run)
            answers.append(found)
        runs["apart"] = max(runs.get("apart", 0.0), compare(*answers))
    return runs


def evaluate(timed: Timed, manager: Any, case: Case) -> tuple[dict[str, Any], list[Any]]:
    """Run one task by the harness' own loop; return what it took and gave, and the answers."""
    from lm_eval.evaluator import evaluate as run_harness
    from lm_eval.tasks import get_task_dict

    tasks = get_task_dict([case.task], manager)
    tasks[case.task].set_config(key="num_fewshot", value=case.shots)
    tasks[case.task].set_fewshot_seed(seed=1234)
    found = run_harness(timed.model, tasks, bootstrap_iters=0, log_samples=False, verbosity="ERROR")
    metrics = {
        name.partition(",")[0]: value
        for name, value in found["results"][case.task].items()
        if isinstance(value, float) and "stderr" not in name
    }
    return {"cpu": timed.cpu, "wall": timed.wall, "metrics": metrics}, timed.answers


def compare(theirs: Sequence[Any], ours: Sequence[Any]) -> float:
    """Return the largest distance of two log-likelihoods, or the share of texts that differ."""
    if isinstance(theirs[0], str):
        return sum(a != b for a, b in zip(theirs, ours, strict=True)) / len(theirs)
    first = [answer[0] if isinstance(answer, tuple) else answer for answer in theirs]
    second = [answer[0] if isinstance(answer, tuple) else answer for answer in ours]
    return max(abs(a - b) for a, b in zip(first, second, strict=True))


def run(arguments: argparse.Namespace) -> str:
    """Measure every case that is not kept yet; return the table."""
    import torch
    from datasets import disable_progress_bars

    torch.set_num_threads(1)
    disable_progress_bars()
    logging.disable(logging.WARNING)
    name = "scorer, quick" if arguments.quick else "scorer"
    kept = read_record(arguments.results).get(name, {}).get("cases", {})
    with tempfile.TemporaryDirectory() as place:
        models = Models(arguments.smollm2)
        for case in list(make_tasks(Path(place), arguments)):
            key = f"{case.task}, {case.shots} examples"
            if arguments.cases not in key:
                continue
            if len(kept.get(key, {}).get("ours", [])) < arguments.repeats:
                kept[key] = measure(case, Path(place), models, arguments.repeats)
                keep(arguments.results, name, {"machine": describe(), "cases": kept})
                print(_row(key, kept[key]), file=sys.stderr, flush=True)
    return render(kept)


COLUMNS = (
    "task", "parameters", "harness CPU s", "evomerge CPU s", "less CPU", "harness wall s",
    "evomerge wall s", "metrics, harness", "metrics, evomerge", "answers apart",
)  # fmt: skip


def render(cases: dict[str, Any]) -> str:
    """Return the section."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("lm_eval", "torch", "transformers"))
    times = min(len(runs["ours"]) for runs in cases.values())
    found = {
        name.split(",")[0].replace("_", " ") + f" ({runs['shots']})": ratio(runs)
        for name, runs in cases.items()
        if "acc" in runs["ours"][0]["metrics"]
    }
    mean = math.exp(sum(map(math.log, found.values())) / len(found))
    missed = [f"{name} {value:.1f}" for name, value in found.items() if value < GOAL]
    return "\n".join(
        [
            "### The harness' scorer and ours",
            "",
            f"{describe()}; {packages}; one thread, batches of {BATCH} for the harness. "
            f"Medians of {times} runs in turn (smallest – largest); highest load average before a "
            f"case: {max(runs['load'] for runs in cases.values()):.1f}.",
            "",
            "| " + " | ".join(COLUMNS) + " |",
            "|---" + "|--:" * (len(COLUMNS) - 1) + "|",
            *[_row(name, runs) for name, runs in cases.items()],
            "",
            f"Choices take {mean:.1f} times less CPU (geometric mean of {len(found)}). "
            f"Below the goal of {GOAL:.0f}: {', '.join(missed) or 'none'}.",
        ]
    )


def ratio(runs: dict[str, Any]) -> float:
    """Return the harness' CPU seconds over ours."""
    theirs, ours = (median(run["cpu"] for run in runs[engine]) for engine in ("theirs", "ours"))
    return theirs / ours


def _row(name: str, runs: dict[str, Any]) -> str:
    cells = [name.replace("_", " "), f"{runs['parameters'] / 1e6:.1f} M"]
    cells += [_spread(runs[engine], "cpu") for engine in ("theirs", "ours")]
    cells += [f"**{ratio(runs):.1f}**"]
    cells += [_spread(runs[engine], "wall") for engine in ("theirs", "ours")]
    cells += [
        ", ".join(f"{metric} {value:.6g}" for metric, value in runs[engine][0]["metrics"].items())
        for engine in ("theirs", "ours")
    ]
    return "| " + " | ".join([*cells, f"{runs['apart']:.1e}"]) + " |"


def _spread(runs: Sequence[dict[str, Any]], what: str) -> str:
    values = [run[what] for run in runs]
    return f"{median(values):.2f} ({min(values):.2f} – {max(values):.2f})"
