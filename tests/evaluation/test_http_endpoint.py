"""An HTTP endpoint as the judge: a real server that answers, redirects, dribbles and refuses."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from evomerge.errors import EvaluationError
from evomerge.evaluation import build_evaluator
from evomerge.evaluation.http_endpoint import HttpEndpoint
from evomerge.records import Item

ITEMS = [Item(f"k{n}", "t", {"prompt": f"p{n}"}) for n in range(2)]


class Echo:
    """A LanguageModel that answers every prompt with itself."""

    def generate(self, prompts: list[str], **_: Any) -> list[str]:
        return [f"<{prompt}>" for prompt in prompts]


class Handler(BaseHTTPRequestHandler):
    """Answers as the path says, and remembers what it was told."""

    told: list[Any]
    protocol_version = "HTTP/1.0"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.told.append((self.path, dict(self.headers), body))
        getattr(self, f"answer_{self.path.strip('/').partition('?')[0]}")(body)

    def do_GET(self) -> None:
        self.told.append((self.path, dict(self.headers), None))
        self.reply(200, b"[1, 1]")

    def reply(self, code: int, body: bytes, **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def answer_good(self, body: Any) -> None:
        scores = {item["key"]: len(item["answer"]) for item in body["items"]}
        self.reply(200, json.dumps({"scores": scores}).encode())

    def answer_metrics(self, _: Any) -> None:
        self.reply(200, b'{"accuracy": 0.25}')

    def answer_page(self, _: Any) -> None:
        self.reply(200, b"<html>\nhello")

    def answer_broken(self, _: Any) -> None:
        self.reply(503, b"out of memory")

    def answer_moved(self, _: Any) -> None:
        self.reply(302, b"", Location="/good")

    def answer_short(self, _: Any) -> None:
        self.reply(200, b"[1", **{"Content-Length": "100"})

    def answer_slow(self, _: Any) -> None:
        time.sleep(2)

    def answer_dribbling(self, _: Any) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(40):
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.1)
        except OSError:
            pass

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def told() -> list[Any]:
    return []


@pytest.fixture
def server(told: list[Any]) -> Iterator[str]:
    """Return the URL of a server on this machine."""
    handler = type("Told", (Handler,), {"told": told})
    running = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{running.server_address[1]}"
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture
def judge(server: str) -> Callable[..., HttpEndpoint]:
    """Return make(path, **options) -> the evaluator."""

    def make(path: str, **options: Any) -> HttpEndpoint:
        made = build_evaluator("http", {"url": f"{server}{path}", **options}, "t")
        assert isinstance(made, HttpEndpoint)
        return made

    return make


Judge = Callable[..., HttpEndpoint]


def test_endpoint_is_posted_items_and_answers_and_gives_scores(
    judge: Judge, told: list[Any]
) -> None:
    assert judge("/good").evaluate(Echo(), ITEMS) == [4.0, 4.0]
    ((_, headers, document),) = told
    assert headers["Content-Type"] == "application/json"
    assert document == {
        "task": "t",
        "items": [
            {"key": f"k{n}", "fields": {"prompt": f"p{n}"}, "answer": f"<p{n}>"} for n in range(2)
        ],
    }


def test_secret_is_sent_and_kept_out_of_the_options(
    judge: Judge, told: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_TOKEN", "Bearer abc\n")
    judge("/good", header_env={"Authorization": "JUDGE_TOKEN"}).evaluate(Echo(), ITEMS)
    assert told[0][1]["Authorization"] == "Bearer abc"


def test_endpoint_with_metrics_has_one_score_for_all(judge: Judge) -> None:
    endpoint = judge("/metrics", metrics=["accuracy"])
    assert not endpoint.per_item
    assert endpoint.evaluate(Echo(), ITEMS) == [0.25, 0.25]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/page", r"the judge's answer is not JSON: '<html>\\nhello'\. Answer with JSON only"),
        ("/broken", r"http://127\.0\.0\.1:\d+/broken answered 503 Service Unavailable\. Look at"),
        ("/moved", r"/moved answered 302 Found\. Look at the endpoint"),
        ("/short?key=secret", r"is not JSON: '\[1'"),
        ("/slow", r"/slow gave no answer within 0\.5 s\. Look"),
        ("/dribbling", r"/dribbling gave no answer within 0\.5 s\. Look"),
        ("/metrics", "the judge scored 0 of 2 items; 'accuracy' is none of its items"),
    ],
)
def test_endpoint_that_fails_is_one_clear_line(
    judge: Judge, told: list[Any], path: str, message: str
) -> None:
    with pytest.raises(EvaluationError, match=f"task t: .*({message})") as caught:
        judge(path, timeout=0.5).evaluate(Echo(), ITEMS)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert len(told) == 1  # neither repeated nor followed


def test_answer_without_end_is_refused(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evomerge.evaluation.http_endpoint.MOST_BYTES", 5)
    with pytest.raises(
        EvaluationError, match="/page gave no usable answer: its answer is longer than"
    ):
        judge("/page").evaluate(Echo(), ITEMS)


def test_refused_connection_is_tried_again_and_then_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("evomerge.evaluation.http_endpoint.time.sleep", pauses.append)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/judge"
    with pytest.raises(EvaluationError, match=r"/judge gave no usable answer: Connection refused"):
        build_evaluator("http", {"url": url}, "t").evaluate(Echo(), ITEMS)
    assert pauses == [1.0, 2.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "file:///etc/passwd"}, r"url must begin with http:// or https://, not 'file://"),
        ({"url": "localhost:8000"}, "url must begin with http:// or https://"),
        ({"url": "http://"}, "url must begin with http:// or https://"),
        ({"url": "http://me:pw@host/x"}, "url must hold no password; send it by `header_env`"),
        (
            {"url": "http://host", "header_env": {"A": "NO_SUCH_VARIABLE"}},
            "header_env: the environment has no NO_SUCH_VARIABLE",
        ),
        ({"url": "http://host", "timeout": -1}, "timeout must be a positive number of seconds"),
    ],
)
def test_options_that_cannot_be_are_told_before_anything_runs(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(EvaluationError, match=f"task t: http: {message}") as caught:
        build_evaluator("http", options, "t")
    assert "pw@" not in str(caught.value)
