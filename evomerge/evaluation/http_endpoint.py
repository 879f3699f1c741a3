"""Any HTTP endpoint as the judge: JSON is posted, JSON comes back."""

import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from evomerge.errors import EvaluationError
from evomerge.evaluation.judge import Needs, OutsideJudge

TRIES = 3
"""How often an endpoint is called that refuses the connection: it may be starting."""

PAUSE = 1.0
"""Seconds before the second try; twice as many before the third."""

MOST_BYTES = 1 << 26
"""An answer longer than this is no answer."""


class HttpEndpoint(OutsideJudge):
    """Scores by an HTTP endpoint of yours.

    It is posted the JSON document that a command gets at its standard input, and answers, with
    status 200, what a command prints. Redirects are not followed. Only a refused connection is
    tried again, twice. What an endpoint does cannot be seen from here: when it changes, start a
    new run.

    Args:
        url: of the endpoint, http or https; secrets do not belong in it.
        prompt: the field of an item that is generated from.
        max_new_tokens: where an answer ends at the latest.
        stop: strings before which an answer ends.
        needs: 'answers', or 'folder' for a temporary export of the merge, if the endpoint runs
            on this machine.
        metrics: numbers of the answer (`{"accuracy": 0.8}`), where it gives no score per item.
        higher_is_better: direction of the scores.
        timeout: seconds to wait for the answer.
        header_env: header -> environment variable that holds its value, as in
            `{Authorization: JUDGE_TOKEN}`; the value itself is never stored.
    """

    def __init__(  # noqa: PLR0913 - what a user may decide about one endpoint
        self,
        url: str,
        *,
        prompt: str = "prompt",
        max_new_tokens: int = 256,
        stop: str | Sequence[str] = (),
        needs: Needs = "answers",
        metrics: list[str] | None = None,
        higher_is_better: bool = True,
        timeout: float = 60.0,
        header_env: dict[str, str] | None = None,
    ) -> None:
        super().__init__(
            prompt=prompt,
            max_new_tokens=max_new_tokens,
            stop=stop,
            needs=needs,
            metrics=metrics,
            higher_is_better=higher_is_better,
        )
        if not 0 < timeout <= 1e6:
            raise ValueError("timeout must be a positive number of seconds, at most a million")
        self.name = _check_url(url)
        self.url = url
        self.timeout = timeout
        self._headers = _read_headers(header_env or {})

    def _ask(self, task: str, document: bytes) -> bytes:
        headers = {"Content-Type": "application/json", **self._headers}
        request = urllib.request.Request(self.url, document, headers, method="POST")
        deadline = time.monotonic() + self.timeout
        try:
            with _open(request, self.timeout) as response:
                return _read(response, deadline)
        except urllib.error.HTTPError as error:
            error.close()
            reason = f"answered {error.code} {error.reason}".rstrip()
        except TimeoutError:
            reason = f"gave no answer within {self.timeout:g} s"
        except (OSError, HTTPException) as error:
            cause = getattr(error, "reason", error)
            if isinstance(cause, TimeoutError):
                reason = f"gave no answer within {self.timeout:g} s"
            else:
                told = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
                reason = f"gave no usable answer: {told}"
        raise EvaluationError(f"task {task}: {self.name} {reason}", "Look at the endpoint")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuse to go where the answers were not meant to go."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _open(request: urllib.request.Request, timeout: float) -> Any:
    opener = urllib.request.build_opener(_NoRedirect)
    for attempt in range(TRIES):
        try:
            return opener.open(request, timeout=timeout)
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError) or attempt == TRIES - 1:
                raise
        time.sleep(PAUSE * 2**attempt)
    raise AssertionError  # the last try returns or raises


def _read(response: Any, deadline: float) -> bytes:
    """Read the body; an endpoint that dribbles is no faster than one that is silent."""
    parts, size = [], 0
    while part := response.read1(1 << 16):
        parts.append(part)
        size += len(part)
        if time.monotonic() > deadline:
            raise TimeoutError
        if size > MOST_BYTES:
            raise HTTPException(f"its answer is longer than {MOST_BYTES >> 20} MiB")
    return b"".join(parts)


def _check_url(url: str) -> str:
    """Return an endpoint's name for messages: its URL without the query."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"url must begin with http:// or https://, not {url[:60]!r}")
    if parts.username or parts.password:
        raise ValueError("url must hold no password; send it by `header_env`")
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def _read_headers(variables: Mapping[str, str]) -> dict[str, str]:
    headers = {}
    for header, variable in variables.items():
        value = os.environ.get(variable, "").strip()
        if not value or not value.isprintable():
            raise ValueError(f"header_env: the environment has no {variable}")
        headers[header] = value
    return headers
