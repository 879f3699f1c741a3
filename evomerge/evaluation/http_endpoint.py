"""Any HTTP endpoint as the judge: JSON is posted, JSON comes back."""

import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from evomerge.errors import EvaluationError
from evomerge.evaluation.judge import OutsideJudge

TRIES = 3
"""How often an endpoint is called that refuses the connection: it may be starting."""

PAUSE = 1.0
"""Seconds before the second try; twice as many before the third."""

MOST_BYTES = 1 << 26
"""An answer longer than this is no answer."""


@dataclass(eq=False, repr=False)
class HttpEndpoint(OutsideJudge):
    """Scores by an HTTP endpoint of yours.

    It is posted the JSON document that a command gets at its standard input, and answers, with
    status 200, what a command prints. Redirects are not followed. Only a refused connection is
    tried again, twice. What an endpoint does cannot be seen from here: when it changes, start a
    new run.

    Args:
        url: of the endpoint, http or https; secrets do not belong in it.
        header_env: header -> environment variable that holds its value, as in
            `{Authorization: JUDGE_TOKEN}`; the value itself is never stored.
    """

    url: str
    _: KW_ONLY
    header_env: dict[str, str] | None = None

    def __post_init__(self) -> None:
        """Check the endpoint's URL and read its headers."""
        super().__post_init__()
        self.name = _check_url(self.url)
        self._headers = _read_headers(self.header_env or {})

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
