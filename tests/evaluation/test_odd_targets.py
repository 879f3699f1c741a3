"""Targets that are no plain index: our score is the harness' own, or there is one clear line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lm_eval.evaluator
import pytest
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from evomerge.errors import EvaluationError
from evomerge.evaluation import build_evaluator
from evomerge.evaluation.lm_eval_harness import LmEval
from evomerge.evaluation.task import items_of

LoadModel = Callable[[str], Any]
FIRST = "the target of its first question is no index of its choices"
NONE = "the target of none of its 24 questions is one of the choices; that of the first is "


@pytest.fixture
def asking(own_tasks: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., LmEval]:
    """Return make(target, metric) -> a task of multiple choice with such a target."""
    monkeypatch.chdir(own_tasks)
    monkeypatch.setattr(lm_eval.evaluator, "add_env_info", lambda _: None)  # a second of pip
    file = own_tasks / "reverse_choice.yaml"
    text = file.read_text()
    kept = "".join(line for line in text.splitlines(keepends=True) if "mcc" not in line)
    kept = "".join(line for line in kept.splitlines(keepends=True) if "brier" not in line)

    def make(target: str, metric: str = "acc") -> LmEval:
        whole = kept if metric == "acc" else text
        file.write_text(whole.replace("doc_to_target: answer", f"doc_to_target: {target}"))
        options = {"task_search_path": [str(own_tasks)], "metric": metric}
        judge = build_evaluator("lm_eval", options, "reverse_choice")
        assert isinstance(judge, LmEval)
        return judge

    return make


@pytest.mark.parametrize(
    "target",
    [
        "'{{-1}}'",  # whose minus only trims blanks
        "2",
        "'{{choices[answer]}}'",
        "'{{[answer]}}'",
        "'{{[0, 1]}}'",
        "'{{[0, 9]}}'",
        "word",  # among the choices where it reads the same from behind
        "'{{choices[0] if answer == 0 else 9 if answer == 1 else 2}}'",
    ],
)
def test_score_is_that_of_the_harness(
    asking: Callable[..., LmEval], zoo_model: LoadModel, target: str
) -> None:
    model = zoo_model("sort")
    judge = asking(target)
    found = judge.evaluate(model, items_of("t", judge.reported()))
    results = lm_eval.evaluator.simple_evaluate(
        HFLM(pretrained=model.module, tokenizer=model.tokenizer, batch_size=8),
        tasks=["reverse_choice"],
        task_manager=TaskManager(include_path=".", include_defaults=False),
        bootstrap_iters=0,
    )
    samples = sorted(results["samples"]["reverse_choice"], key=lambda sample: sample["doc_id"])
    assert found == [sample["acc"] for sample in samples]
    assert len(found) == 24


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("10", FIRST),
        ("'{{answer + 10}}'", FIRST),
        ("-1", f"{NONE}-1, of 4"),
        ("'{{answer * 1.0}}'", f"{NONE}'2.0', of 4"),
        ("'{{choices}}'", NONE),
        ("'{{[]}}'", f"{NONE}[], of 4"),
        ("'{{[-1]}}'", f"{NONE}[-1], of 4"),
        ("nothing", f"{NONE}'nothing', of 4"),
    ],
)
def test_task_without_a_right_choice_is_refused(
    asking: Callable[..., LmEval], target: str, reason: str
) -> None:
    with pytest.raises(EvaluationError) as error:
        asking(target).documents()
    assert reason in error.value.what
    assert "\n" not in str(error.value)


def test_answer_that_cannot_be_graded_is_a_failure_in_one_line(
    asking: Callable[..., LmEval], zoo_model: LoadModel
) -> None:
    judge = asking("word", "brier_score")
    items = items_of("t", judge.reported())
    with pytest.raises(
        EvaluationError,
        match=r"task reverse_choice: the harness cannot grade an answer: IndexError: .*\. Check "
        r"doc_to_target and metric_list in its YAML file in ",
    ):
        judge.evaluate(zoo_model("sort"), items)


def test_brier_score_of_several_right_choices_is_refused(asking: Callable[..., LmEval]) -> None:
    with pytest.raises(
        EvaluationError, match="'brier_score' means nothing where targets are lists"
    ):
        asking("'{{[answer]}}'", "brier_score")
