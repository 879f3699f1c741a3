"""A run that asks a language model: a real endpoint on loopback, and models of this machine."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from evomerge.config import parse_config
from evomerge.errors import ConfigError, EndpointError, EvoMergeException
from evomerge.evolve import evolve, resume
from evomerge.evolve.local_language_model import LocalLanguageModel
from evomerge.evolve.prepare import check_run
from evomerge.search.prompt import answer_fittest
from evomerge.store import open_store

KEY = "sk-planted-77aa88bb99cc"
JUDGE = """
def judge(recipe, items):
    weight = recipe["models"][0].get("parameters", {}).get("weight", 0.5)
    weight = weight if isinstance(weight, float) else weight[0]["value"]
    return [1.0 - abs(weight - item["x"]) for item in items]
"""
Document = dict[str, Any]


class Handler(BaseHTTPRequestHandler):
    """Answers every question as the mock does; after `life` of them the server is out of order."""

    asked: int
    life: int
    keys: set[str | None]

    def log_message(self, *_: Any) -> None:
        """Stay silent."""

    def do_POST(self) -> None:
        kind = type(self)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind.asked += 1
        kind.keys.add(self.headers.get("Authorization"))
        if kind.asked > kind.life:
            return self.reply(500, {"error": {"message": "out of memory"}})
        text = "1" if "number 1" in str(body) else answer_fittest(body["messages"])[0]
        choice = {"index": 0, "finish_reason": "stop", "message": {"content": text}}
        return self.reply(200, {"id": "1", "model": body["model"], "choices": [choice]})

    def reply(self, code: int, body: Any) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("retry-after-ms", "1")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())


@contextmanager
def serve(life: int = 1000, port: int = 0) -> Iterator[str]:
    Handler.asked, Handler.life, Handler.keys = 0, life, set()
    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}/v1"
        finally:
            running.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def make(tmp_path: Path, tiny_llama: Callable[..., Path]) -> Callable[..., Document]:
    """Return make(**options of the searcher) -> a run of four generations of four."""
    splits = [s for s in ("search", "validation", "test") for _ in range(4)]
    rows = [{"x": k / 12, "split": split} for k, split in enumerate(splits)]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "judge.py").write_text(JUDGE)
    task = {
        "name": "near",
        "evaluator": "python_function",
        "data": str(tmp_path / "items.jsonl"),
        "function": f"{tmp_path / 'judge.py'}:judge",
        "subject": "recipe",
    }

    def document(name: str = "run", **options: Any) -> Document:
        search = {"algorithm": "llm", "evaluations": 16, "population": 4, **options}
        models = [str(tiny_llama(1)), str(tiny_llama(2))]
        return {
            "name": name,
            "genome": {"models": models, "merge_method": "linear"},
            "tasks": [task],
            "search": search,
            "executor": {"name": "local", "threads": 1},
            "finalists": 2,
        }

    return document


Make = Callable[..., Document]


def weights(folder: Path) -> list[Any]:
    with open_store(folder) as store:
        return [row.genome for row in store.candidates("search")]


def answers(folder: Path) -> list[str | None]:
    lines = (folder / "exchanges-0.jsonl").read_text().splitlines()
    return [json.loads(line)["answer"] for line in lines]


def test_endpoint_advises_a_run_and_its_key_is_kept_nowhere(make: Make, tmp_path: Path) -> None:
    with serve() as url:
        result = evolve(make(base_url=url), runs=tmp_path / "runs")
    assert Handler.asked == 1 + 3, "a probe, and a question before each generation but the first"
    assert {f"Bearer {KEY}"} == Handler.keys
    assert len(answers(result.folder)) == 3
    files = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert {"store.db", "exchanges-0.jsonl"} <= {path.name for path in files}
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_run_can_be_replayed_without_any_endpoint(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve() as url:
        first = evolve(make(base_url=url), runs=tmp_path).folder
    monkeypatch.delenv("OPENAI_API_KEY")
    again = evolve(make("again", replay=str(first)), runs=tmp_path).folder
    assert weights(again) == weights(first)
    with pytest.raises(EvoMergeException, match="cannot be replayed here: question 1"):
        evolve(make("other", replay=str(first)) | {"seed": 1}, runs=tmp_path)


def test_replay_of_a_local_model_needs_no_model(make: Make, tmp_path: Path) -> None:
    first = evolve(make(backend="mock"), runs=tmp_path).folder
    said = {"backend": "local", "model": str(tmp_path / "deleted"), "replay": str(first)}
    assert weights(evolve(make("again", **said), runs=tmp_path).folder) == weights(first)


def test_endpoint_that_is_down_is_found_before_anything_is_written(
    make: Make, tmp_path: Path
) -> None:
    with serve() as url:
        pass
    with pytest.raises(EndpointError, match="cannot be reached"):
        evolve(make(base_url=url), runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    assert check_run(parse_config(make(base_url=url)))["candidates"] == 16


def test_run_outlives_its_endpoint(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(life=2) as url:
        folder = evolve(make(base_url=url, max_retries=1), runs=tmp_path).folder
    assert Handler.asked == 1 + 1 + 2 + 2, "a probe, an answer, and two questions asked twice"
    assert answers(folder)[1:] == [None, None]
    assert caplog.text.count("stands in") == 1
    assert "2 of 3 answers of the language model were replaced by the mean" in caplog.text
    assert "failed (Error code: 500" in caplog.text


def test_interrupted_run_asks_nothing_twice(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the endpoint failed to answer then is not answered now, so the run stays as it was."""
    with serve(life=2) as url:
        whole = evolve(make("whole", base_url=url, max_retries=0), runs=tmp_path).folder
    with serve(life=2) as url, monkeypatch.context() as patch:
        patch.setattr("evomerge.evolve.expedition.short_list", _stop)
        with pytest.raises(KeyboardInterrupt):
            evolve(make("cut", base_url=url, max_retries=0), runs=tmp_path)
    assert answers(tmp_path / "cut") == answers(whole)
    with serve(port=int(url.split(":")[2].split("/")[0])):
        resume("cut", runs=tmp_path)
    assert Handler.asked == 1, "the probe"
    assert weights(tmp_path / "cut") == weights(whole)


def _stop(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_local_model_is_asked_in_a_run(make: Make, tmp_path: Path) -> None:
    """It has never learnt to count, so the mean of the best stands in for it."""
    said = {"backend": "local", "model": "zoo:sort", "max_tokens": 4, "max_retries": 1}
    result = evolve(make(**said), runs=tmp_path)
    assert len(answers(result.folder)) == 6
    assert all(answer is not None for answer in answers(result.folder))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"backend": "local"}, "search.model: field required: the local backend"),
        ({"backend": "remote"}, r"search\.backend: .*'openai', 'local' or 'mock'"),
        ({"backend": "mock", "population": 1}, "population of at least 2"),
        ({"ask": "me"}, "unknown key 'ask'"),
        ({"api_key": KEY}, "unknown key 'api_key' .*did you mean 'api_key_variable'"),
        ({"api_key_variable": KEY}, "the key itself belongs in there"),
        ({"sigma_low": 0.5}, "0 < sigma_low <= sigma_high"),
        ({"replay": "nowhere"}, "there is no log of exchanges at nowhere"),
    ],
)
def test_bad_settings_are_found_before_a_run(
    make: Make, tmp_path: Path, options: Document, says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        evolve(make(**options), runs=tmp_path)
    assert KEY not in str(caught.value)


def test_conversation_is_told_as_text_where_there_is_no_chat_template() -> None:
    answer, told = LocalLanguageModel("zoo:base", 3)([{"role": "user", "content": "abc"}])
    assert isinstance(answer, str)
    assert told["model"] == "zoo:base"
    assert 0 <= told["usage"]["completion_tokens"] <= 3
