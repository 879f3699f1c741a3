"""Bad input: one clear message, the right exit code, nothing that looks finished."""

import json
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from evomerge.store import open_store

MakeModel = Callable[..., Path]
Run = Callable[..., Any]
WriteRun = Callable[..., Path]


def nothing_began(folder: Path) -> bool:
    return not list(folder.rglob("store.db")) and not list(folder.rglob("best"))


def copy_model(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


class TestModels:
    def refused(self, evomerge: Run, write_run: WriteRun, tmp_path: Path, model: Path) -> str:
        other = json.dumps(str(model))
        file = write_run()
        file.write_text(
            file.read_text().replace("genome:\n  models:\n", f"genome:\n  models:\n  - {other}\n")
        )
        answer = evomerge("evolve", "first.yml")
        assert answer.code in (1, 2)
        assert nothing_began(tmp_path)
        message: str = answer.error
        return message

    def test_missing_folder(self, evomerge: Run, write_run: WriteRun, tmp_path: Path) -> None:
        message = self.refused(evomerge, write_run, tmp_path, Path("./nowhere"))
        assert message.startswith("there is no model folder nowhere. Give a folder, zoo:NAME")

    def test_missing_shard(
        self, evomerge: Run, write_run: WriteRun, tmp_path: Path, tiny_llama: MakeModel
    ) -> None:
        model = copy_model(tiny_llama(5, shard="20KB"), tmp_path / "torn")
        lost = sorted(model.glob("model-*.safetensors"))[1]
        lost.unlink()
        message = self.refused(evomerge, write_run, tmp_path, model)
        assert lost.name in message
        assert "torn" in message

    def test_truncated_file(
        self, evomerge: Run, write_run: WriteRun, tmp_path: Path, tiny_llama: MakeModel
    ) -> None:
        model = copy_model(tiny_llama(5), tmp_path / "cut")
        weights = model / "model.safetensors"
        os.truncate(weights, weights.stat().st_size - 100)
        message = self.refused(evomerge, write_run, tmp_path, model)
        assert "model.safetensors" in message
        assert "cut" in message

    def test_header_of_garbage(
        self, evomerge: Run, write_run: WriteRun, tmp_path: Path, tiny_llama: MakeModel
    ) -> None:
        model = copy_model(tiny_llama(5), tmp_path / "garbage")
        (model / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + b"{}")
        message = self.refused(evomerge, write_run, tmp_path, model)
        assert "model.safetensors" in message

    def test_other_shapes(
        self, evomerge: Run, write_run: WriteRun, tmp_path: Path, tiny_llama: MakeModel
    ) -> None:
        message = self.refused(evomerge, write_run, tmp_path, tiny_llama(5, intermediate_size=40))
        assert "40" in message
        assert "48" in message

    def test_nan_weights_of_models_that_are_judged_live(
        self, evomerge: Run, write_run: WriteRun, tmp_path: Path
    ) -> None:
        from evomerge.checkpoints.locate import locate

        model = copy_model(locate("zoo:sort"), tmp_path / "sick")
        tensors = load_file(model / "model.safetensors")
        name = "model.layers.1.mlp.up_proj.weight"
        tensors[name][3, 4] = torch.nan
        save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
        write_run(
            genome={"models": ["zoo:reverse", str(model)]},
            tasks=[{"name": "r", "evaluator": "exact_match", "data": "zoo:reverse"}],
        )
        answer = evomerge("evolve", "first.yml")
        assert answer.code == 1
        assert "sick" in answer.error
        assert name in answer.error
        assert "NaN" in answer.error
        assert nothing_began(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "task near: its search split is empty. Give items for search, validation and test"),
        (
            '{"x": 1, "split": "serch"}\n',
            "task near: line 1 of {file} has the split 'serch' (did you mean 'search'?). "
            "Splits are search, validation, test (and train, which is passed over)",
        ),
        (
            '{"x": 1}\nnonsense\n',
            "task near: line 2 of {file} is not a JSON object. Write one item a line",
        ),
        (
            '{"x": 1, "split": "search"}\n{"x": 1, "split": "test"}\n',
            "task near: 1 items stand in both search and test. "
            "Splits must not share items, or the verdict means nothing",
        ),
    ],
    ids=["empty", "split", "not JSON", "shared"],
)
def test_unusable_items(
    content: str, message: str, evomerge: Run, write_run: WriteRun, tmp_path: Path
) -> None:
    write_run()
    items = tmp_path / "items.jsonl"
    items.write_text(content)
    answer = evomerge("evolve", "first.yml")
    assert (answer.code, answer.error) == (1, message.format(file=items))
    assert nothing_began(tmp_path)


def test_missing_item_file(evomerge: Run, write_run: WriteRun) -> None:
    write_run(task={"data": "lost.jsonl"})
    answer = evomerge("evolve", "first.yml")
    expected = "task near: lost.jsonl cannot be read: No such file or directory"
    assert (answer.code, answer.error) == (1, expected)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("lost.py:judge", "lost.py cannot be imported: there is no file lost.py"),
        ("judge.py:jugde", "judge.py has no function 'jugde'"),
        ("judge", "'judge' names no function"),
        ("no.such.module:judge", "no.such.module cannot be imported: No module named 'no'"),
        ("broken.py:judge", "broken.py cannot be imported: "),
        ("raises.py:judge", "raises.py cannot be imported: "),
    ],
)
def test_unusable_function(
    function: str, message: str, evomerge: Run, write_run: WriteRun, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text("def judge(:\n")
    (tmp_path / "raises.py").write_text("1 / 0\n")
    write_run(task={"function": function})
    answer = evomerge("evolve", "first.yml")
    assert answer.code == 1
    assert message in answer.error
    assert "\n" not in answer.error
    assert nothing_began(tmp_path)


class TestRunFile:
    def test_all_problems_are_listed_at_once(self, evomerge: Run, write_run: WriteRun) -> None:
        write_run(
            genome={"layer_granularty": 1, "dtype": "float8", "merge_method": "lineer"},
            task={"weight": 0, "evaluator": "python_functoin"},
            search={"algorithm": "cmaa", "evaluations": 0},
            executor={"name": "procesess", "threads": 0},
            sed=3,
        )
        answer = evomerge("evolve", "first.yml")
        assert answer.code == 2
        for problem in (
            "genome.layer_granularty: unknown key 'layer_granularty' (did you mean "
            "'layer_granularity'?)",
            "genome.dtype: ",
            "genome.merge_method: unknown merge method 'lineer' (did you mean 'linear'?)",
            "tasks[0].weight: ",
            "tasks[0].evaluator: unknown evaluator 'python_functoin' (did you mean "
            "'python_function'?)",
            "search.algorithm: unknown searcher 'cmaa' (did you mean 'cma'?)",
            "search.evaluations: ",
            "executor.name: unknown executor 'procesess' (did you mean 'processes'?)",
            "executor.threads: ",
            "sed: unknown key 'sed' (did you mean 'seed'?)",
        ):
            assert f"\n  - {problem}" in answer.err, problem
        assert answer.error.startswith("first.yml: 10 problems in this run file\n")

    def test_options_of_evaluator_and_searcher_are_checked(
        self, evomerge: Run, write_run: WriteRun
    ) -> None:
        write_run(task={"functin": "x"}, search={"populaton": 3, "evaluations": 3})
        answer = evomerge("evolve", "first.yml")
        assert answer.code == 2
        assert "tasks[0].functin: unknown key 'functin' (did you mean 'function'?)" in answer.error
        assert (
            "search.populaton: unknown key 'populaton' (did you mean 'population'?)" in answer.error
        )

    def test_missing_file_says_so(self, evomerge: Run) -> None:
        answer = evomerge("evolve", "lost.yml")
        assert answer.code == 2
        assert "cannot be read: No such file or directory" in answer.error

    def test_folder_instead_of_file_says_so(self, evomerge: Run, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        answer = evomerge("evolve", "folder")
        assert answer.code == 2
        assert "cannot be read: Is a directory" in answer.error

    @pytest.mark.parametrize("content", ["", "- a\n- b\n", "just words\n"])
    def test_other_yaml_is_told_from_a_run_file(
        self, content: str, evomerge: Run, tmp_path: Path
    ) -> None:
        (tmp_path / "other.yml").write_text(content)
        answer = evomerge("evolve", "other.yml")
        assert answer.code == 2
        assert "expected keys and values" in answer.error

    def test_broken_yaml_names_the_line(self, evomerge: Run, tmp_path: Path) -> None:
        (tmp_path / "broken.yml").write_text("genome:\n  models: [a\n")
        answer = evomerge("evolve", "broken.yml")
        assert answer.code == 2
        assert "line 3" in answer.error

    def test_recipe_given_for_a_run_file(self, evomerge: Run) -> None:
        evomerge("cp", "ties")
        answer = evomerge("evolve", "ties.yml")
        assert answer.code == 2
        assert "genome: field required" in answer.error

    @pytest.mark.parametrize("name", ["a/b", "..", ".hidden", ""])
    def test_name_that_is_no_folder_name(
        self, name: str, evomerge: Run, write_run: WriteRun
    ) -> None:
        write_run()
        answer = evomerge("evolve", "first.yml", "--name", name)
        assert answer.code == 2
        assert f"a run's name names its folder; {name!r} cannot" in answer.error

    def test_impossible_search_option(self, evomerge: Run, write_run: WriteRun) -> None:
        write_run(search={"algorithm": "cma", "population": 1})
        answer = evomerge("evolve", "first.yml")
        assert answer.code == 2
        assert "search: cma needs a population of at least 4" in answer.error

    @pytest.mark.parametrize("option", [{"population": 0}, {"population": -3}])
    def test_random_search_refuses_an_empty_population(
        self, option: dict[str, int], evomerge: Run, write_run: WriteRun
    ) -> None:
        write_run(search={"algorithm": "random", "evaluations": 3, **option})
        answer = evomerge("evolve", "first.yml")
        assert answer.code == 2
        assert "search: random needs a population of at least 1" in answer.error

    @pytest.mark.parametrize(
        "options",
        [
            {"population": "many"},
            {"population": 2.5},
            {"sigma": "wide"},
            {"mean": [0.5]},
            {"sigma": float("nan")},
        ],
    )
    def test_search_option_of_the_wrong_kind(
        self, options: dict[str, Any], evomerge: Run, write_run: WriteRun
    ) -> None:
        write_run(search={"algorithm": "cma", "evaluations": 3, **options})
        answer = evomerge("evolve", "first.yml")
        assert answer.code == 2
        (option,) = options
        assert f"\n  - search.{option}: input should" in answer.error or option == "sigma"
        assert "\n  - search" in answer.error


class TestDisk:
    def test_runs_folder_that_cannot_be_made(
        self, evomerge: Run, write_run: WriteRun, tmp_path: Path
    ) -> None:
        write_run()
        (tmp_path / "runs").write_text("a file")
        answer = evomerge("evolve", "first.yml")
        assert answer.code == 1
        assert (
            answer.error
            == "runs/first cannot be written: Not a directory. Choose another --runs folder"
        )

    def test_runs_folder_where_nobody_can_write(self, evomerge: Run, write_run: WriteRun) -> None:
        write_run()
        answer = evomerge("evolve", "first.yml", "--runs", "/proc/runs")
        assert answer.code == 1
        assert answer.error.startswith("/proc/runs/first cannot be written: ")
        assert answer.error.endswith("Choose another --runs folder")

    @pytest.fixture
    def small_disk(self, tmp_path: Path) -> Iterator[Path]:
        disk = tmp_path / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(disk)]
        if (
            shutil.which("mount") is None
            or subprocess.run(mount, capture_output=True, check=False).returncode
        ):
            pytest.skip("only root may mount the small disk this test fills")
        yield disk
        subprocess.run(["umount", str(disk)], check=True)

    def test_disk_that_is_full_from_the_start(
        self, evomerge: Run, write_run: WriteRun, small_disk: Path
    ) -> None:
        write_run()
        fill(small_disk, leave=0)
        answer = evomerge("evolve", "first.yml", "--runs", str(small_disk / "runs"))
        assert answer.code == 1
        assert "\n" not in answer.error
        assert "No space left" in answer.error or "full" in answer.error

    def test_disk_that_fills_up_on_the_way_can_be_freed_and_the_run_resumed(
        self, evomerge: Run, write_run: WriteRun, small_disk: Path
    ) -> None:
        write_run(search={"evaluations": 200, "population": 20})
        runs = str(small_disk / "runs")
        fill(small_disk, leave=200_000)
        answer = evomerge("evolve", "first.yml", "--runs", runs)
        assert answer.code == 1
        assert "full" in answer.error
        assert "evomerge resume" in answer.error
        assert "\n" not in answer.error
        (small_disk / "ballast").unlink()
        subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
        assert evomerge("resume", "first", "--runs", runs).code == 0
        assert sound(small_disk / "runs" / "first")


def fill(disk: Path, *, leave: int) -> None:
    free = shutil.disk_usage(disk).free
    (disk / "ballast").write_bytes(bytes(max(free - leave, 0)))


def sound(folder: Path) -> bool:
    with open_store(folder) as store:  # runs quick_check
        return store.run() is not None


class TestRuns:
    def test_name_that_is_taken(self, evomerge: Run, write_run: WriteRun) -> None:
        write_run()
        assert evomerge("evolve", "first.yml").code == 0
        answer = evomerge("evolve", "first.yml")
        assert answer.code == 1
        assert answer.error == (
            "the run 'first' exists already in runs. "
            "Go on with `evomerge resume first`, or give the new run another name or folder"
        )

    @pytest.mark.parametrize("verb", ["resume", "show"])
    def test_run_that_does_not_exist(self, verb: str, evomerge: Run) -> None:
        answer = evomerge(verb, "lost")
        expected = "there is no run 'lost' in runs. See `evomerge runs`"
        assert (answer.code, answer.error) == (1, expected)

    @pytest.mark.parametrize("verb", ["resume", "show"])
    def test_run_whose_store_is_garbage(self, verb: str, evomerge: Run, tmp_path: Path) -> None:
        folder = tmp_path / "runs" / "broken"
        folder.mkdir(parents=True)
        (folder / "store.db").write_bytes(b"this is no database" * 100)
        answer = evomerge(verb, "broken")
        assert answer.code == 1
        assert "the store in runs/broken is damaged" in answer.error
        assert "unreadable" in evomerge("runs").out

    @pytest.mark.parametrize("verb", ["resume", "show"])
    def test_run_that_died_before_it_was_recorded(
        self, verb: str, evomerge: Run, tmp_path: Path
    ) -> None:
        with open_store(tmp_path / "runs" / "dead", write=True):
            pass
        answer = evomerge(verb, "dead")
        assert answer.code == 1
        assert "holds no run. Start it again with `evomerge evolve`" in answer.error
        assert json.loads(evomerge("runs", "--json").out)[0]["state"] == "empty"

    def test_run_that_another_process_works_on(
        self, evomerge: Run, write_run: WriteRun, tmp_path: Path
    ) -> None:
        write_run()
        with open_store(tmp_path / "runs" / "first", write=True):
            answer = evomerge("evolve", "first.yml")
        assert answer.code == 1
        assert answer.error == (
            "another process is working on runs/first. Wait for it, or stop it first"
        )

    def test_candidate_that_does_not_exist(self, evomerge: Run, write_run: WriteRun) -> None:
        write_run()
        evomerge("evolve", "first.yml")
        answer = evomerge("show", "first", "--recipe", "8")
        expected = "the run has no candidate 8. It has 0 to 7"
        assert (answer.code, answer.error) == (2, expected)


class TestVerbs:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["ls", "metods"], "nothing called 'metods' to list (did you mean 'methods'?)"),
            (["cp", "tis"], "nothing shipped is called 'tis' (did you mean 'ties'?)"),
            (["validate", "lost.yml"], "cannot be read: No such file or directory"),
            (["merge", "lost.yml", "out"], "cannot be read: No such file or directory"),
        ],
    )
    def test_wrong_names_exit_with_2(
        self, arguments: list[str], message: str, evomerge: Run
    ) -> None:
        answer = evomerge(*arguments)
        assert answer.code == 2
        assert message in answer.error

    @pytest.mark.parametrize(
        "arguments",
        [
            ["evovle"],
            ["evolve"],
            ["evolve", "demo", "--evaluations", "0"],
            ["evolve", "demo", "--seed", "-1"],
            ["show", "first", "--top", "x"],
            ["merge", "ties", "out", "--out-shard-size", "big"],
            ["--no-such-option"],
        ],
    )
    def test_wrong_usage_exits_with_2(self, arguments: list[str], evomerge: Run) -> None:
        answer = evomerge(*arguments)
        assert answer.code == 2
        assert "Traceback" not in answer.err
        assert "Error" in answer.err

    def test_copy_does_not_replace_a_file_unless_forced(
        self, evomerge: Run, tmp_path: Path
    ) -> None:
        (tmp_path / "ties.yml").write_text("mine")
        answer = evomerge("cp", "ties")
        expected = "ties.yml exists already. Pass --force to replace it"
        assert (answer.code, answer.error) == (1, expected)
        assert (tmp_path / "ties.yml").read_text() == "mine"
        assert evomerge("cp", "ties", "--force").code == 0

    @pytest.mark.parametrize("target", ["nowhere/ties.yml", "."])
    def test_copy_to_an_impossible_place(self, target: str, evomerge: Run) -> None:
        answer = evomerge("cp", "ties", target, "--force")
        assert answer.code == 1
        assert "cannot be written" in answer.error

    def test_merge_into_a_folder_that_is_taken(self, evomerge: Run, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "precious").write_text("mine")
        answer = evomerge("merge", "ties", "out")
        assert answer.code == 1
        assert "out exists already. Choose another place, or pass --force" in answer.error
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious"]

    def test_validate_of_a_file_that_is_not_text(self, evomerge: Run, tmp_path: Path) -> None:
        (tmp_path / "noise.yml").write_bytes(bytes(range(256)))
        answer = evomerge("validate", "noise.yml")
        assert answer.code == 2
        assert "noise.yml" in answer.error
