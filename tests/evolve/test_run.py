"""A run in small: what it records, what it refuses, what a failing judge does to it."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evomerge.errors import ConfigError, EvaluationError, StoreError
from evomerge.evaluation import SPLITS, read_items
from evomerge.evolve import evolve, resume
from evomerge.evolve.finish import describe_failures
from evomerge.evolve.forecast import Forecast, make_forecast
from evomerge.store import CandidateRow, open_store

MakeModel = Callable[..., Path]
Document = dict[str, Any]

JUDGE = """
def weight(recipe):
    found = recipe["models"][0].get("parameters", {}).get("weight", 0.5)
    return found if isinstance(found, (int, float)) else found[0]["value"]


def judge(recipe, items):
    {body}
    return [1.0 - abs(weight(recipe) - item["x"]) for item in items]
"""


@pytest.fixture
def document(tmp_path: Path, tiny_llama: MakeModel) -> Callable[..., Document]:
    """Return make(body, **changes) -> a run; `body` stands in the judge before its answer."""
    splits = ["search"] * 4 + ["validation"] * 4 + ["test"] * 4
    rows = [{"x": k / 12, "split": split} for k, split in enumerate(splits)]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def make(body: str = "pass", **changes: Any) -> Document:
        judge = tmp_path / f"judge{len(list(tmp_path.glob('judge*')))}.py"
        judge.write_text(JUDGE.replace("{body}", body))
        task = {
            "name": "near",
            "evaluator": "python_function",
            "data": str(tmp_path / "items.jsonl"),
            "function": f"{judge}:judge",
            "subject": "recipe",
        }
        genome = {"models": [str(tiny_llama(1)), str(tiny_llama(2))], "merge_method": "linear"}
        return {
            "genome": genome,
            "tasks": [task],
            "search": {"evaluations": 16, "population": 4},
            "executor": {"name": "local", "threads": 1},
            "finalists": 2,
            **changes,
        }

    return make


MakeDocument = Callable[..., Document]


def rows(folder: Path, stage: str) -> list[CandidateRow]:
    with open_store(folder) as store:
        return store.candidates(stage)


def test_finalists_are_the_best_distinct_merges_and_the_distribution_mean(
    document: MakeDocument, tmp_path: Path
) -> None:
    result = evolve(document(), runs=tmp_path)
    search = [row for row in rows(result.folder, "search") if row.objective is not None]
    best = sorted(search, key=lambda row: (-(row.objective or 0.0), row.number))[:2]
    finalists = [row.label for row in rows(result.folder, "validation")]
    assert finalists == [*(row.label for row in best), "distribution mean"]


def test_random_search_has_no_mean_among_its_finalists(
    document: MakeDocument, tmp_path: Path
) -> None:
    search = {"algorithm": "random", "evaluations": 8}
    result = evolve(document(search=search), runs=tmp_path)
    assert len(rows(result.folder, "validation")) == 2


def test_candidate_whose_judge_raises_is_a_recorded_failure_and_the_run_goes_on(
    document: MakeDocument, tmp_path: Path
) -> None:
    body = 'if "parameters" in recipe["models"][0] and weight(recipe) > 0.6: raise KeyError("why")'
    result = evolve(document(body), runs=tmp_path)
    search = rows(result.folder, "search")
    failed = [row for row in search if row.state == "failed"]
    assert len(search) == 16
    assert 0 < len(failed) < 16
    assert {(row.error, row.objective, row.items) for row in failed} == {
        ("KeyError: 'why'", None, 0)
    }
    told = f"{len(failed)} of 16 candidates failed: KeyError: 'why'."
    assert result.verdict.failures == told
    assert told in result.verdict.sentence


REASONS = ("a", "b.", "b. Mend c.", "b")


def test_most_common_reason_for_failures_is_told(document: MakeDocument, tmp_path: Path) -> None:
    evolve(document(search={"evaluations": 4, "population": 4}), runs=tmp_path)
    fine = rows(tmp_path / "run", "search")
    assert not describe_failures(fine)
    failed = [replace(row, error=why) for row, why in zip(fine, REASONS, strict=True)]
    assert describe_failures(failed[1:]) == "3 of 3 candidates failed: mostly: b."
    assert describe_failures([*fine, failed[0]]) == "1 of 5 candidates failed: a."


def test_run_in_which_every_candidate_fails_says_so(document: MakeDocument, tmp_path: Path) -> None:
    body = 'if recipe["merge_method"] == "linear": raise RuntimeError("no linear today")'
    with pytest.raises(
        EvaluationError, match="all 16 candidates failed; the first: RuntimeError: no linear"
    ):
        evolve(document(body), runs=tmp_path)
    assert len(rows(tmp_path / "run", "search")) == 16


def test_nan_on_a_parent_ends_the_run_before_its_search_and_frees_its_name(
    document: MakeDocument, tmp_path: Path
) -> None:
    with pytest.raises(
        EvaluationError,
        match=r"cannot be evaluated: task near: 4 of 4 scores are NaN or infinite\. Make the "
        r"metric return a finite number for every item\. Mend the task or the model",
    ) as error:
        evolve(document('return [float("nan")] * len(items)'), runs=tmp_path)
    assert "\n" not in str(error.value)
    with open_store(tmp_path / "run") as store:
        run = store.run()
    assert run is not None
    assert run.state == "failed"
    with closing(sqlite3.connect(tmp_path / "run" / "store.db")) as connection:
        assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    assert evolve(document(), runs=tmp_path).verdict.lines


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return [1.0]", r"the evaluator gave 1 scores for 4 items\. Return one number per item"),
        ("return 1.0", r"the evaluator gave 1\.0 for 4 items\. Return one number per item"),
        ("return ['good'] * len(items)", "the evaluator gave scores that are not numbers"),
        ("return None", "the evaluator gave None for 4 items"),
        ("raise SystemError('a\\nb')", "SystemError: a"),
    ],
)
def test_judge_that_answers_nonsense_is_found_on_the_parents(
    body: str, message: str, document: MakeDocument, tmp_path: Path
) -> None:
    with pytest.raises(EvaluationError, match=message):
        evolve(document(body), runs=tmp_path)


def test_equal_merges_are_evaluated_once(document: MakeDocument, tmp_path: Path) -> None:
    log = tmp_path / "log"
    body = f"with open({str(log)!r}, 'a') as file: file.write('x' * len(items))"
    result = evolve(document(body), runs=tmp_path)
    with closing(sqlite3.connect(result.folder / "store.db")) as connection:
        (count,) = connection.execute("SELECT COUNT(*) FROM scores").fetchone()
    assert len(log.read_text()) == count


@pytest.mark.parametrize("change", ["content", "replaced"])
def test_model_that_changed_since_the_start_is_refused(
    change: str, document: MakeDocument, tmp_path: Path, tiny_llama: MakeModel
) -> None:
    model = Path(shutil.copytree(tiny_llama(1), tmp_path / "mine"))
    wanted = document()
    wanted["genome"]["models"][0] = str(model)
    evolve(wanted, runs=tmp_path)
    with closing(sqlite3.connect(tmp_path / "run" / "store.db")) as store, store:
        store.execute("UPDATE run SET state = 'running'")
    other = tiny_llama(9) if change == "content" else tiny_llama(1)
    shutil.copyfile(other / "model.safetensors", model / "model.safetensors")
    with pytest.raises(
        StoreError, match=r"mine was changed since the run 'run' began\. Put the old"
    ):
        resume("run", runs=tmp_path)


def test_resume_with_other_settings_is_refused(document: MakeDocument, tmp_path: Path) -> None:
    evolve(document(), runs=tmp_path)
    with closing(sqlite3.connect(tmp_path / "run" / "store.db")) as store, store:
        store.execute("UPDATE run SET state = 'running'")
        config = json.loads(store.execute("SELECT config FROM run").fetchone()[0])
        config["search"]["population"] = 5
        store.execute("UPDATE run SET config = ?", (json.dumps(config),))
    with pytest.raises(StoreError, match=r"search round 0 of .* was made with other settings"):
        resume("run", runs=tmp_path)


def test_run_that_another_process_works_on_is_refused(
    document: MakeDocument, tmp_path: Path
) -> None:
    evolve(document(), runs=tmp_path)
    with closing(sqlite3.connect(tmp_path / "run" / "store.db")) as store, store:
        store.execute("UPDATE run SET state = 'running'")
    with (
        open_store(tmp_path / "run", write=True),
        pytest.raises(StoreError, match=r"another process is working on .*\. Wait for it, or stop"),
    ):
        resume("run", runs=tmp_path)


def test_name_that_is_taken_is_refused_with_a_way_out(
    document: MakeDocument, tmp_path: Path
) -> None:
    evolve(document(), runs=tmp_path)
    with pytest.raises(
        StoreError, match=r"exists already in .* `evomerge resume .*run`, or .* name or folder"
    ):
        evolve(document(), runs=tmp_path)


def test_run_with_one_gene_and_one_evaluation_reaches_a_verdict(
    document: MakeDocument, tmp_path: Path, tiny_llama: MakeModel
) -> None:
    genome = {
        "models": [str(tiny_llama(1)), str(tiny_llama(2))],
        "base_model": str(tiny_llama(1)),
        "merge_method": "slerp",
        "own_embeddings": False,
    }
    wanted = document("return [0.5] * len(items)", genome=genome, search={"evaluations": 1})
    result = evolve(wanted, runs=tmp_path)
    assert result.best is None
    assert "no better than" in result.verdict.sentence


def test_forecast_is_told_before_the_search_and_adds_up(
    document: MakeDocument, tmp_path: Path
) -> None:
    told: list[Forecast] = []
    evolve(document(), runs=tmp_path, tell_forecast=told.append)
    (forecast,) = told
    assert (forecast.candidates, forecast.finalists, forecast.workers) == (16, 2, 1)
    assert forecast.baselines == 3  # two parents and the uniform average: no base, no task vectors
    assert forecast.items == {"search": 4, "validation": 4, "test": 4}
    assert forecast.memory == 0
    assert forecast.genes == 4


def test_forecast_of_a_run_with_batches_counts_a_batch_for_every_candidate(
    document: MakeDocument, tmp_path: Path
) -> None:
    told: list[Forecast] = []
    evolve(document(items={"batch": 3}), runs=tmp_path, tell_forecast=told.append)
    (forecast,) = told
    assert forecast.items == {"search": 3, "validation": 4, "test": 4}
    assert forecast.race is None
    assert {row.items for row in rows(tmp_path / "run", "search")} == {3}


def test_forecast_extrapolates_from_the_quicker_half_of_the_probes() -> None:
    def probe(merge: float, evaluate: float) -> CandidateRow:
        seconds = {"merge": merge, "evaluate": evaluate}
        return CandidateRow(0, 0, "probe", "", None, {}, "", "done", 0.0, 0, "", seconds)

    forecast = make_forecast(
        [probe(1.0, 3.0), probe(90.0, 90.0)], [], genes=3, candidates=10, finalists=2, baselines=3,
        workers=2, model_bytes=50,
    )  # fmt: skip
    assert forecast.seconds_per_candidate == 4.0
    assert forecast.merge_share == 0.25
    assert forecast.memory == 100
    # 10 candidates at 4 s, then 2 finalists and 4 models that have no items: 1 s of merging each
    assert forecast.seconds == (10 * 4.0 + 2 * 1.0 + 4 * 1.0) / 2


def test_forecast_counts_paths_by_their_layers() -> None:
    seconds = {"merge": 1.0, "evaluate": 3.0}
    probe = CandidateRow(0, 0, "probe", "", None, {}, "", "done", 0.0, 0, "", seconds)
    forecast = make_forecast(
        [probe], [], genes=3, candidates=10, finalists=0, baselines=0, workers=1, model_bytes=0,
        stretch=1.5,
    )  # fmt: skip
    assert forecast.seconds_per_candidate == 1.0 + 1.5 * 3.0
    (note,) = forecast.notes
    assert note.startswith("A path is counted as 1.50 times a parent")


def test_edited_items_and_judges_are_noticed_on_resume(tmp_path: Path) -> None:
    (tmp_path / "judge.py").write_text(
        "def score(recipe, items):\n    return [1.0 for _ in items]\n"
    )
    rows = [{"split": s, "prompt": f"{s} {k}"} for s in SPLITS for k in range(4)]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    document = {
        "name": "edited",
        "genome": {
            "models": ["zoo:sort", "zoo:reverse"],
            "base_model": "zoo:base",
            "merge_method": "task_arithmetic",
        },
        "tasks": [
            {
                "name": "judged",
                "evaluator": "python_function",
                "data": str(tmp_path / "items.jsonl"),
                "function": f"{tmp_path / 'judge.py'}:score",
                "subject": "recipe",
            }
        ],
        "search": {"algorithm": "random", "evaluations": 3, "population": 3},
        "executor": {"name": "local"},
    }

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evolve(document, runs=tmp_path / "runs", tell_forecast=stop)
    kept = (tmp_path / "judge.py").read_text()
    (tmp_path / "judge.py").write_text(kept.replace("1.0", "2.0"))
    with pytest.raises(StoreError, match=r"task judged \(its items or its judge\) was changed"):
        resume("edited", runs=tmp_path / "runs")
    (tmp_path / "judge.py").write_text(kept)
    rows[0]["split"], rows[-1]["split"] = rows[-1]["split"], rows[0]["split"]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(StoreError, match=r"task judged \(its items or its judge\) was changed"):
        resume("edited", runs=tmp_path / "runs")
    rows[0]["split"], rows[-1]["split"] = rows[-1]["split"], rows[0]["split"]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert resume("edited", runs=tmp_path / "runs").verdict.lines[0].overall is not None


def test_one_question_never_stands_in_two_splits_whatever_the_task(tmp_path: Path) -> None:
    rows = [{"id": k, "prompt": f"question {k % 40}", "target": "x"} for k in range(400)]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = [read_items(name, str(tmp_path / "items.jsonl")) for name in ("one", "other")]
    asked = [
        {split: {item.fields["prompt"] for item in items} for split, items in splits.items()}
        for splits in found
    ]
    assert asked[0] == asked[1]
    assert not asked[0]["search"] & asked[1]["test"]


def test_descriptor_that_no_task_measures_ends_the_run_before_its_search(
    document: MakeDocument, tmp_path: Path
) -> None:
    search = {"algorithm": "map_elites", "evaluations": 16, "descriptors": ["near/mean_tokens"]}
    told = r"search.descriptors\[0\]: no task measures 'near/mean_tokens'; known: near$"
    with pytest.raises(ConfigError, match=told):
        evolve(document(search=search), runs=tmp_path)
    assert not rows(tmp_path / "run", "search")
    assert evolve(document(), runs=tmp_path).verdict.lines, "the name is free again"


class Onlooker:
    """Reads the best merge on disk whenever a candidate is done; may stop after some."""

    def __init__(self, file: Path, left: int) -> None:
        self.file, self.left = file, left
        self.stage, self.seen = "", list[str]()

    def begin(self, label: str, total: int) -> None:
        """Note what is being done."""
        assert total
        self.stage = label

    def advance(self, steps: int = 1, note: str = "") -> None:  # noqa: ARG002 - as it is called
        if self.stage == "search":
            there = self.file.exists()
            self.seen.append(self.file.read_text(encoding="utf-8") if there else "")
            self.left -= steps
        if self.left <= 0:
            raise KeyboardInterrupt

    def end(self) -> None:
        """Look on."""


def test_the_best_merge_on_disk_never_goes_back_when_a_run_is_resumed(
    document: MakeDocument, tmp_path: Path
) -> None:
    file = tmp_path / "run" / "best_config.yaml"
    first, second = Onlooker(file, 13), Onlooker(file, 99)
    with pytest.raises(KeyboardInterrupt):
        evolve(document(), runs=tmp_path, progress=first)
    assert len(set(first.seen)) > 1
    stopped = file.read_text(encoding="utf-8")
    resume("run", runs=tmp_path, progress=second)
    assert set(second.seen[:13]) == {stopped}


def test_parent_is_never_the_best_merge_on_disk(document: MakeDocument, tmp_path: Path) -> None:
    """No search can begin at it; so the best candidate is there, though no better than they."""
    onlooker = Onlooker(tmp_path / "run" / "best_config.yaml", 99)
    evolve(document("return [0.5] * len(items)"), runs=tmp_path, progress=onlooker)
    assert onlooker.seen[0] == ""
    assert all("merge_method: linear" in seen for seen in filter(None, onlooker.seen))
    assert "merge_method: linear" in onlooker.seen[-1]
    assert "merge_method: linear" in onlooker.file.read_text(encoding="utf-8")
