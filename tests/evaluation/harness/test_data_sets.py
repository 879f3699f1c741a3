"""Where data sets are: beside the YAML, prepared, fetched, on the hub, or nowhere."""

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import datasets
import pytest
from huggingface_hub import constants

from evomerge.errors import EvaluationError
from evomerge.evaluation.harness import data_sets
from evomerge.evaluation.harness.data_sets import from_cache, is_public, place_data

ON_THE_HUB = {"dataset_path": "someone/Words", "dataset_name": None}


@pytest.fixture
def online(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have empty caches, and a hub that may be asked."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")


def place(config: dict[str, Any], folder: Path = Path()) -> dict[str, Any]:
    return place_data("words", config, folder)


@pytest.mark.parametrize(
    ("config", "builtin", "public"),
    [
        ({"dataset_path": "json", "dataset_kwargs": {"data_files": "a.jsonl"}}, False, False),
        ({"dataset_path": "csv", "dataset_kwargs": {"data_files": {"test": "a"}}}, True, False),
        (
            {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": ["https://a/b"]}}},
            *(False, True),
        ),
        ({"dataset_path": "allenai/ai2_arc"}, False, True),
        ({"custom_dataset": print}, False, False),
        ({"custom_dataset": print}, True, True),
    ],
)
def test_all_but_files_and_functions_of_ones_own_is_public(
    config: dict[str, Any], builtin: bool, public: bool
) -> None:
    assert is_public(config, builtin=builtin) == public


def test_folder_of_ones_own_is_not_public(tmp_path: Path) -> None:
    assert not is_public({"dataset_path": str(tmp_path)}, builtin=False)


def test_files_stand_beside_the_yaml_or_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    for folder in (home, here):
        folder.mkdir()
    (home / "a.jsonl").write_text("{}\n")
    (here / "a.jsonl").write_text("{}\n")
    (here / "b.jsonl").write_text("{}\n")
    monkeypatch.chdir(here)
    files = {"test": "a.jsonl", "train": ["b.jsonl", "more-*.jsonl"]}
    found = place({"dataset_path": "json", "dataset_kwargs": {"data_files": files}}, home)
    assert found["dataset_kwargs"]["data_files"] == {
        "test": str(home / "a.jsonl"),
        "train": ["b.jsonl", "more-*.jsonl"],
    }


@pytest.mark.usefixtures("online")
def test_hub_that_refuses_is_told_of_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # bound, and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        _refused_within(data_sets.PATIENCE + 1)


@pytest.mark.usefixtures("online")
def test_hub_that_is_silent_is_told_of_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        _refused_within(data_sets.PATIENCE + 1)


def _refused_within(seconds: float) -> None:
    start = time.monotonic()
    with pytest.raises(EvaluationError, match="hf download someone/Words --repo-type dataset"):
        place(ON_THE_HUB)
    assert time.monotonic() - start < seconds


@contextmanager
def answering() -> Iterator[str]:
    """Run a server that knows of nothing; yield its address."""

    class NotFound(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), NotFound) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("online")
def test_hub_that_answers_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering() as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        assert place(ON_THE_HUB) == ON_THE_HUB


@pytest.mark.usefixtures("online")
def test_prepared_data_set_is_loaded_without_the_hub(
    tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    hashed = tmp_path / "datasets" / "someone___words" / "default" / "0.0.0" / ("0" * 40)
    source = datasets.load_dataset(
        "json", data_files={"test": str(tasks / "yes_no.jsonl")}, cache_dir=str(tmp_path / "made")
    )
    (arrow,) = (tmp_path / "made").rglob("json-test.arrow")
    hashed.mkdir(parents=True)
    shutil.copy(arrow, hashed / "words-test.arrow")
    info = (arrow.parent / "dataset_info.json").read_text()
    info = info.replace('"json"', '"words"').replace(arrow.parts[-4], "default")
    (hashed / "dataset_info.json").write_text(info)
    assert place(ON_THE_HUB) == ON_THE_HUB
    with from_cache(ON_THE_HUB):
        assert constants.HF_HUB_OFFLINE
        found = datasets.load_dataset("someone/Words")
    assert found["test"][:] == source["test"][:]
    assert not constants.HF_HUB_OFFLINE
