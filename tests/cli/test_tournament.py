import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

Run = Callable[..., Any]
ZOO = ("zoo:reverse", "zoo:sort", "zoo:successor")


@pytest.fixture
def original(
    evomerge: Run,  # noqa: ARG001 - the same folder, signals and log
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Return run(*arguments) of `python -m evomerge.cli`."""

    def run(*arguments: str) -> SimpleNamespace:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["evomerge.cli", *arguments])
        with pytest.raises(SystemExit) as end:
            runpy.run_module("evomerge.cli", run_name="__main__")
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        error = err.rpartition("error: ")[2].removesuffix("\n")
        return SimpleNamespace(code=end.value.code, out=out, err=err, error=error)

    return run


def nothing_began(folder: Path) -> bool:
    return not list(folder.rglob("store.db")) and not list(folder.rglob("best"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--population", "1"], "population_size: input should be greater than or equal to 2"),
        (["--population", "4", "--tournament-size", "9"], "9 is more than population_size 4"),
        (["--objectives", "acuracy"], "unknown objective 'acuracy' (did you mean 'accuracy'?)"),
        (["--tasks", "demo", "--objectives", "srt"], "'srt' (did you mean 'sort'?)"),
        (["--ps-technique1", "slurp"], "--ps-technique1: expected linear or slerp, not 'slurp'"),
        (["--ps-technique2", "slerp"], "--ps-technique2: expected ties or dare or task_arithmetic"),
        (["--dfs-technique", "dsf"], "not 'dsf' (did you mean 'dfs'?)"),
        (
            ["--weight-mask-rate", "1.5"],
            "weight_mask_rate: input should be less than or equal to 0.99",
        ),
        (["--mask-strategy", "big"], "mask_strategy: input should be 'random' or 'magnitude'"),
        (["--objectives", ","], "evolution_settings.objectives: list should have at least 1 item"),
        (["--tasks", "demo", "--objectives", "sort,,srt,"], "'srt' (did you mean 'sort'?)"),
        (["--rule", "best"], "rule: input should be 'elite' or 'nsga2'"),
        (["--name", "a/b"], "a run's name names its folder; 'a/b' cannot"),
        (["--config", "nowhere.json"], "nowhere.json: 1 problem"),
        (["--tasks", "nowhere.yml"], "nowhere.yml: 1 problem"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(
    evomerge: Run, tmp_path: Path, options: list[str], message: str
) -> None:
    answer = evomerge("tournament", *ZOO, *options)
    assert answer.code == 2
    assert message in answer.error
    assert nothing_began(tmp_path)


def test_two_same_models(evomerge: Run, tmp_path: Path) -> None:
    answer = evomerge("tournament", "zoo:sort", "zoo:sort", "zoo:reverse")
    assert answer.code == 2
    assert "zoo:sort is named twice" in answer.error
    assert nothing_began(tmp_path)


def test_a_run_file_is_no_configuration(evomerge: Run, write_run: Callable[..., Path]) -> None:
    answer = evomerge("tournament", *ZOO, "--config", str(write_run()))
    assert answer.code == 2
    assert "this is a run file, no tournament: start it with `evomerge evolve`" in answer.error


def test_a_tournament_over_the_tasks_of_a_run_file(
    evomerge: Run, write_run: Callable[..., Path], tiny_llama: Callable[..., Path], tmp_path: Path
) -> None:
    file = write_run()
    judge = (
        "def judge(recipe, items):\n    return [len(str(recipe)) / 1e4 + i['x'] for i in items]\n"
    )
    (tmp_path / "judge.py").write_text(judge)
    models = [str(tiny_llama(seed)) for seed in (1, 2, 3)]
    options = ["--tasks", str(file), "--generations", "2", "--ps-technique1", "slerp", "--workers"]
    answer = evomerge("tournament", *models, *options, "1")
    assert answer.code == 0, answer.err
    shown = evomerge("show", "tournament", "--recipe", "0")
    assert "multislerp" in shown.out
    assert "16 of 16 candidates done" in evomerge("show", "tournament").out


def test_it_says_what_won_where_it_comes_from_and_why_the_search_ended(
    evomerge: Run, write_run: Callable[..., Path], tiny_llama: Callable[..., Path], tmp_path: Path
) -> None:
    file = write_run()
    (tmp_path / "judge.py").write_text("def judge(recipe, items):\n    return [0.5] * len(items)\n")
    models = [str(tiny_llama(seed)) for seed in (1, 2, 3)]
    options = ["--tasks", str(file), "--generations", "4", "--early-stopping", "1", "--workers"]
    answer = evomerge("tournament", *models, *options, "1")
    assert answer.code == 0, answer.err
    told = "the search ended after 16 candidates: no improvement in 1 generation"
    assert answer.err.count(told) == 1
    said = " ".join(answer.out.split())
    assert "The merge is candidate 0: linear + ties + frankenmerge." in said
    shown = " ".join(evomerge("show", "tournament", "--top", "16").out.split())
    assert "16 of 16 candidates done" in shown
    assert "(the search ended before it had tried all 32)" in shown
    assert "mutant of" in shown
    assert "The merge is candidate 0: linear + ties + frankenmerge." in shown


def test_the_original_command_line_without_anything_to_do_shows_its_flags(
    original: Run,
) -> None:
    answer = original()
    assert answer.code == 2
    for flag in ("--download-and-merge", "--use-cli", "--mask-strategy", "--chunk-size"):
        assert flag in answer.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--run", "--model1", "zoo:sort", "--model2", "zoo:sort"], "zoo:sort is named twice"),
        (["--run", "--ps-technique1", "slurp"], "did you mean 'slerp'"),
        (["--run", "--chunk-size", "0"], "chunk_size: input should be greater than or equal to 1"),
        (["--run", "--config", "nowhere.json"], "nowhere.json: 1 problem"),
        (["--run", "--model1", "no/such-model"], "no/such-model is neither a folder here"),
        (["--evaluate", "nowhere"], "there is no model folder nowhere"),
        (["--generate", "nowhere", "--prompt", "x"], "there is no model folder nowhere"),
    ],
)
def test_bad_input_of_the_original_command_line(
    original: Run, tmp_path: Path, options: list[str], message: str
) -> None:
    answer = original(*options)
    assert answer.code in (1, 2)
    assert message in answer.error
    assert nothing_began(tmp_path)


def test_use_cli_downloads_with_the_hubs_own_command_line(
    original: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    hf = bin_folder / "hf"
    hf.write_text(
        '#!/bin/sh\necho "$@" > asked.txt\necho "Error: no route" >&2\necho "Hint: x" >&2\nexit 1\n'
    )
    hf.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(bin_folder / "python"))
    monkeypatch.setenv("PATH", str(bin_folder), prepend=":")
    answer = original("--download-and-merge", "--use-cli", "--model1", "owner/name@main")
    assert answer.code == 1
    assert answer.error.startswith("`hf download owner/name` failed: no route. Check the spelling")
    assert (tmp_path / "asked.txt").read_text().startswith("download owner/name --revision main")


def test_the_verbs_work_there_too(original: Run) -> None:
    assert "zoo:sort" in original("ls", "models").out


def test_generate_continues_a_prompt(original: Run) -> None:
    answer = original("--generate", "zoo:sort", "--prompt", "s dbca=")
    assert (answer.code, answer.out) == (0, "s dbca=abcd\n")
    lonely = original("--generate", "zoo:sort")
    assert lonely.code == 2
    assert "--generate needs a --prompt" in lonely.err


def test_the_built_in_suite_is_too_long_for_the_shipped_models_which_is_told_in_a_line(
    original: Run, evomerge: Run, tmp_path: Path
) -> None:
    needed = "task coding needs a context of 256 tokens, and {} has 64. Name other tasks"
    measured = original("--evaluate", "zoo:sort")
    assert measured.code == 1
    assert needed.format("this model") in measured.error
    held = evomerge("tournament", *ZOO, "--limit", "3", "--generations", "1")
    assert held.code == 1
    assert needed.format("zoo:reverse") in held.error
    assert "Token indices" not in measured.err + held.err
    assert nothing_began(tmp_path)
