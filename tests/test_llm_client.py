"""The door to language-model endpoints: a real server on loopback that behaves, and misbehaves."""

import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from evomerge.errors import EndpointError, MissingExtra
from evomerge.llm_client import ChatEndpoint
from evomerge.types import Message

KEY = "sk-planted-1f2e3d4c5b6a"
HELLO: list[Message] = [{"role": "user", "content": "hello"}]


class Handler(BaseHTTPRequestHandler):
    """Speaks the chat-completions protocol; the first part of the path says how well."""

    told: list[Any]

    def log_message(self, *_: Any) -> None:
        """Stay silent."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.told.append((self.path, self.headers.get("Authorization"), body))
        getattr(self, f"answer_{self.path.strip('/').partition('/')[0]}")(body)

    def reply(self, code: int, body: Any, **headers: str) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        self.send_response(code)
        kind = "text/html" if text.startswith("<") else "application/json"
        for name, value in {"Content-Type": kind, "retry-after-ms": "5", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def refuse(self, code: int, message: str, param: str | None = None) -> None:
        self.reply(code, {"error": {"message": message, "param": param, "type": "x"}})

    def answer_good(self, body: Any) -> None:
        content = f"you said {body['messages'][-1]['content']}"
        message = {"role": "assistant", "content": content}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
        named = {"id": "1", "object": "chat.completion", "created": 1, "model": body["model"]}
        self.reply(200, {**named, "choices": [choice], "usage": usage})

    def answer_busy(self, body: Any) -> None:
        if len(self.told) < 3:
            self.refuse(429, "slow down")
        else:
            self.answer_good(body)

    def answer_flooded(self, _: Any) -> None:
        self.refuse(429, "you exceeded your quota")

    def answer_locked(self, _: Any) -> None:
        self.refuse(401, f"Incorrect API key provided: {self.headers.get('Authorization')}")

    def answer_strict(self, body: Any) -> None:
        for name in ("temperature", "max_tokens"):
            if name in body:
                self.refuse(400, f"Unsupported parameter: '{name}'", name)
                return
        self.answer_good(body)

    def answer_picky(self, _: Any) -> None:
        self.refuse(400, "the conversation is too long")

    def answer_unknown(self, body: Any) -> None:
        self.refuse(404, f"The model `{body['model']}` does not exist")

    def answer_broken(self, _: Any) -> None:
        self.refuse(500, "out of memory")

    def answer_page(self, _: Any) -> None:
        self.reply(200, "<html>welcome</html>")

    def answer_garbled(self, _: Any) -> None:
        self.reply(200, '{"choices": [')

    def answer_empty(self, _: Any) -> None:
        self.reply(200, {"id": "1", "object": "chat.completion", "choices": []})

    def answer_other(self, _: Any) -> None:
        self.reply(200, {"scores": [1, 2]})

    def answer_parts(self, _: Any) -> None:
        thought = {"type": "thinking", "thinking": [{"type": "text", "text": "[1]"}]}
        self.say([thought, {"type": "text", "text": "[5, "}, {"type": "text", "text": "6]"}])

    def answer_list(self, _: Any) -> None:
        self.say([5, 6])

    def answer_number(self, _: Any) -> None:
        self.say(12)

    def answer_object(self, _: Any) -> None:
        self.say({"a": 1})

    def answer_nothing(self, _: Any) -> None:
        self.say(None)

    def say(self, content: Any) -> None:
        choice = {"index": 0, "message": {"role": "assistant", "content": content}}
        self.reply(200, {"id": "1", "model": "m", "choices": [choice]})

    def answer_echo(self, _: Any) -> None:
        key = self.headers["Authorization"]
        choice = {"index": 0, "message": {"role": "assistant", "content": f"you sent {key}"}}
        self.reply(200, {"id": "1", "model": f"m of {key}", "choices": [choice], "usage": "lots"})

    def answer_named(self, _: Any) -> None:
        self.reply(200, {"id": "1", "choices": {"a": 1}})

    def answer_counted(self, _: Any) -> None:
        self.reply(200, {"id": "1", "choices": 5})

    def answer_hiccup(self, body: Any) -> None:
        if len(self.told) < 3:
            self.reply(200, {"error": {"message": "upstream"}})
        else:
            self.answer_good(body)

    def answer_slow(self, body: Any) -> None:
        time.sleep(0.6)
        with suppress(BrokenPipeError):  # nobody has waited
            self.answer_good(body)


@pytest.fixture
def server() -> Iterator[str]:
    Handler.told = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_settings_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_model_is_asked_for_its_likeliest_answer(server: str) -> None:
    answer, told = ChatEndpoint("m", base_url=f"{server}/good/v1")(HELLO)
    assert answer == "you said hello"
    assert told["model"] == "m"
    assert told["usage"]["total_tokens"] == 7
    [(path, _, body)] = Handler.told
    assert path == "/good/v1/chat/completions"
    assert body == {"model": "m", "messages": HELLO, "temperature": 0.0}


def test_endpoint_is_named_by_the_environment_too(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server}/good/v1")
    assert ChatEndpoint("m")(HELLO)[0] == "you said hello"


def test_key_is_read_from_the_variable_that_is_named(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    ChatEndpoint("m", base_url=f"{server}/good/v1", api_key_variable="MY_KEY").probe()
    assert Handler.told[0][1] == f"Bearer {KEY}"


def test_settings_that_a_model_does_not_take_are_left_out(server: str) -> None:
    endpoint = ChatEndpoint("m", base_url=f"{server}/strict/v1", max_tokens=9)
    assert endpoint(HELLO)[0] == endpoint(HELLO)[0] == "you said hello"
    assert [sorted(body) for _, _, body in Handler.told] == [
        ["max_tokens", "messages", "model", "temperature"],
        ["max_tokens", "messages", "model"],
        ["messages", "model"],
        ["messages", "model"],
    ]


def test_busy_endpoint_is_asked_again(server: str) -> None:
    assert ChatEndpoint("m", base_url=f"{server}/busy/v1")(HELLO)[0] == "you said hello"
    assert len(Handler.told) == 3


@pytest.mark.parametrize(
    ("behaviour", "text"),
    [
        ("parts", "[5, 6]"),
        ("list", "[5, 6]"),
        ("number", "12"),
        ("object", '{"a": 1}'),
        ("nothing", ""),
    ],
)
def test_answer_is_a_text_whatever_the_endpoint_makes_of_it(
    server: str, behaviour: str, text: str
) -> None:
    assert ChatEndpoint("m", base_url=f"{server}/{behaviour}/v1")(HELLO)[0] == text


def test_key_is_hidden_in_an_answer_that_echoes_it_and_odd_usage_spoils_no_answer(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    answer, told = ChatEndpoint("m", base_url=f"{server}/echo/v1")(HELLO)
    assert answer == "you sent Bearer ***"
    assert told == {"model": "m of Bearer ***", "usage": None}


def test_what_is_no_chat_completion_is_asked_for_again(server: str) -> None:
    url = f"{server}/hiccup/v1"
    assert ChatEndpoint("m", base_url=url, max_retries=2)(HELLO)[0] == "you said hello"
    assert len(Handler.told) == 3
    Handler.told.clear()
    with pytest.raises(EndpointError, match="answered no chat completion"):
        ChatEndpoint("m", base_url=url, max_retries=1)(HELLO)
    assert len(Handler.told) == 2


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        ("flooded", r"takes no more requests now \(.*quota.*\)\. Wait, or raise"),
        ("locked", r"wants a key \(.*\)\. Set the environment variable OPENAI_API_KEY"),
        ("unknown", r"has no model 'm'.*does not exist.*Correct `model`"),
        ("picky", r"failed \(.*too long.*\)"),
        ("broken", r"failed \(.*out of memory.*\)\. Look at the endpoint"),
        ("page", r"answered no chat completion .*Does `base_url` end in /v1"),
        ("garbled", r"answered no chat completion"),
        ("empty", r"answered no chat completion .*holds no answer"),
        ("other", r"answered no chat completion"),
        ("named", r"answered no chat completion \(KeyError"),
        ("counted", r"answered no chat completion \(TypeError"),
        ("slow", r"gave no answer within 0\.2 s\. Raise `timeout`"),
    ],
)
def test_endpoint_that_fails_is_told_of_in_one_line(server: str, behaviour: str, says: str) -> None:
    url = f"{server}/{behaviour}/v1"
    endpoint = ChatEndpoint("m", base_url=url, timeout=0.2, max_retries=0)
    with pytest.raises(EndpointError, match=says) as caught:
        endpoint(HELLO)
    assert "\n" not in str(caught.value)
    assert url in str(caught.value)


def test_endpoint_that_is_down_is_told_of() -> None:
    with socket.socket() as idle:
        idle.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{idle.getsockname()[1]}/v1"
        endpoint = ChatEndpoint("m", base_url=url, max_retries=0)
        with pytest.raises(EndpointError, match=r"cannot be reached \(.*refused.*Start the server"):
            endpoint(HELLO)


def test_key_is_never_said(
    server: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even where the endpoint quotes it, or everything is logged."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    endpoint = ChatEndpoint("m", base_url=f"{server}/locked/v1")
    with pytest.raises(
        EndpointError, match=r"refuses the key in OPENAI_API_KEY .*\*\*\*"
    ) as caught:
        endpoint(HELLO)
    assert Handler.told[0][1] == f"Bearer {KEY}"
    assert KEY not in str(caught.value)
    assert KEY not in caplog.text


def test_missing_key_is_found_before_anything_is_sent() -> None:
    with pytest.raises(EndpointError, match=r"environment has no OPENAI_API_KEY\. Set it, or"):
        ChatEndpoint("m")


def test_key_that_cannot_be_one_is_refused_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\nx")
    with pytest.raises(EndpointError, match="characters that no key has") as caught:
        ChatEndpoint("m")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"base_url": "127.0.0.1:8000"}, "must begin with http:// or https://"),
        ({"base_url": "http://me:secret@here/v1"}, "must hold no password"),
        ({"base_url": "http://here/v1?api-key=secret"}, "must end with its path"),
        ({"api_key_variable": KEY}, "the key itself belongs in there"),
    ],
)
def test_settings_that_cannot_be_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        ChatEndpoint("m", **options)
    assert KEY not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtra, match=r"pip install 'evomerge\[llm\]'"):
        ChatEndpoint("m", base_url="http://127.0.0.1:9/v1")
