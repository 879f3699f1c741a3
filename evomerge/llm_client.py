"""The one door to OpenAI-compatible endpoints: chat completions, and errors in one line each."""

import json
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from evomerge.errors import EndpointError, MissingExtra, describe
from evomerge.types import Message, Reply

if TYPE_CHECKING:
    import openai

KEY_VARIABLE = "OPENAI_API_KEY"
URL_VARIABLE = "OPENAI_BASE_URL"
PROBE: Message = {"role": "user", "content": "Answer with the number 1."}
HIDDEN = "***"


class ChatEndpoint:
    """A language model behind an OpenAI-compatible endpoint, asked for its likeliest answer.

    A refused connection, a time-out, 429 and 5xx are tried again, ever later, as the endpoint asks;
    what is no chat completion is, too. An answer that is no text is returned as JSON.

    Args:
        model: as the endpoint calls it.
        base_url: of the endpoint, commonly ending in /v1; if absent what OPENAI_BASE_URL says, and
            else OpenAI's own.
        api_key_variable: the environment variable that holds the key, which is read here and
            never written anywhere. A server of one's own may need none.
        timeout: seconds until an answer begins.
        max_retries: how often a request is tried again.
        max_tokens: longest answer; None: as the endpoint thinks right.

    Raises:
        ValueError: a setting is impossible.
        EndpointError: there is no key where one is needed.
        MissingExtra: the package openai is not installed.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key_variable: str = KEY_VARIABLE,
        timeout: float = 60.0,
        max_retries: int = 3,
        max_tokens: int | None = None,
    ) -> None:
        url = base_url or os.environ.get(URL_VARIABLE)
        self.model, self.name = model, _check_url(url) if url else "OpenAI"
        self._variable, self._timeout = _check_variable(api_key_variable), timeout
        self._key = _read_key(api_key_variable, needed=not url)
        self._tries = 1 + max_retries
        self._settings: dict[str, Any] = {"temperature": 0.0}
        if max_tokens is not None:
            self._settings["max_tokens"] = max_tokens
        try:
            from openai import OpenAI
        except ImportError:
            raise MissingExtra(
                "language models behind endpoints need the package openai",
                "pip install 'evomerge[llm]'",
            ) from None
        self._client = OpenAI(
            api_key=self._key or "none", base_url=url, timeout=timeout, max_retries=max_retries
        )

    def __call__(self, messages: Sequence[Message]) -> Reply:
        """Answer a conversation.

        Raises:
            EndpointError: the endpoint is down, slow, refuses, or answers nonsense.
        """
        text, told = self._request(self._client, messages, self._tries)
        # a debugging proxy may echo what it was sent
        return self._hide(text), json.loads(self._hide(json.dumps(told)))

    def probe(self) -> None:
        """Ask for next to nothing, once.

        Raises:
            EndpointError: as for a real question.
        """
        self._request(self._client.with_options(max_retries=1), [PROBE], 1)

    def _request(self, client: "openai.OpenAI", messages: Sequence[Message], tries: int) -> Reply:
        import openai

        what = hint = ""
        for _ in range(tries):
            try:
                return self._converse(client, messages)
            except openai.OpenAIError as error:  # which the client has tried again itself
                what, hint = self._explain(error)
                break
            except (ValueError, AttributeError, TypeError, LookupError) as error:
                what, hint = self._explain(error)
        raise EndpointError(f"the language model at {self.name} {what}", hint)

    def _converse(self, client: "openai.OpenAI", messages: Sequence[Message]) -> Reply:
        """Ask, and once more without a setting that the model does not take."""
        import openai

        make: Any = client.chat.completions.create
        while True:
            try:
                return _read(make(model=self.model, messages=messages, **self._settings))
            except openai.BadRequestError as error:
                said = f"{error.param} {error.message}"
                refused = [name for name in self._settings if name in said]
                if not refused:
                    raise
            del self._settings[refused[0]]

    def _explain(self, error: Exception) -> tuple[str, str]:
        """Say in one line what went wrong, and what to do about it."""
        import openai

        if isinstance(error, openai.APITimeoutError):
            return f"gave no answer within {self._timeout:g} s", "Raise `timeout`"
        if isinstance(error, openai.APIConnectionError):
            cause = describe(_find_root(error)).rstrip(".")
            return f"cannot be reached ({cause})", "Start the server, or correct `base_url`"
        if isinstance(error, openai.APIStatusError):
            return self._explain_status(error.status_code, " ".join(error.message.split()))
        told = f"answered no chat completion ({self._hide(describe(error))})"
        return told, "Does `base_url` end in /v1?"

    def _explain_status(self, status: int, message: str) -> tuple[str, str]:
        said = self._hide(message)[:200]
        if status in (401, 403) and self._key:
            told = f"refuses the key in {self._variable} ({said})"
            return told, "Set the variable to a valid key, or name another"
        if status in (401, 403):
            return f"wants a key ({said})", f"Set the environment variable {self._variable}"
        if status == 404:
            told = f"has no model {self.model!r}, or no chat completions ({said})"
            return told, "Correct `model`, or `base_url`, which commonly ends in /v1"
        if status == 429:
            told = f"takes no more requests now ({said})"
            return told, "Wait, or raise the quota or `max_retries`"
        return f"failed ({said})", "Look at the endpoint"

    def _hide(self, text: str) -> str:
        return text.replace(self._key, HIDDEN) if self._key else text


def _read(completion: Any) -> Reply:
    """Return an answer's text and what is told of it.

    Raises:
        AttributeError, TypeError, LookupError: it is no chat completion.
        ValueError: it holds no answer.
    """
    if not completion.choices:
        raise ValueError("it holds no answer")
    dump = getattr(completion.usage, "model_dump", None)
    usage = dump(exclude_none=True) if dump else None
    text = _join(completion.choices[0].message.content)
    return text, {"model": str(completion.model), "usage": usage}


def _join(content: Any) -> str:
    """Return an answer as one text: that of its parts, beside which may be thoughts; else JSON."""
    if content is None or isinstance(content, str):
        return content or ""
    parts = content if isinstance(content, list) else []
    said = [part.get("text") if isinstance(part, dict) else part for part in parts]
    texts = [text for text in said if isinstance(text, str)]
    return "".join(texts) if texts else json.dumps(content)


def _find_root(error: BaseException) -> BaseException:
    """Return the first cause of an error."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return error


def _check_url(url: str) -> str:
    """Return an endpoint's name for messages: its URL, which holds no secret."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"base_url must begin with http:// or https://, not {url[:60]!r}")
    if parts.username or parts.password:
        raise ValueError("base_url must hold no password; the key belongs in the environment")
    if parts.query or parts.fragment:
        raise ValueError("base_url must end with its path; a key belongs in the environment")
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def _check_variable(name: str) -> str:
    """Refuse what may be the key itself, which no message and no run file shall show."""
    if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
        raise ValueError(
            "api_key_variable is the name of an environment variable, such as OPENAI_API_KEY; "
            "the key itself belongs in there"
        )
    return name


def _read_key(variable: str, *, needed: bool) -> str:
    key = os.environ.get(variable, "").strip()
    if key and not (key.isascii() and key.isprintable()):
        raise EndpointError(
            f"the key in {variable} has characters that no key has", "Copy it once more"
        )
    if not key and (needed or variable != KEY_VARIABLE):
        raise EndpointError(
            f"there is no key for the language model: the environment has no {variable}",
            "Set it, or give the `base_url` of a server of your own, which may need none",
        )
    return key
