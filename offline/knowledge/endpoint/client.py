"""Requests to a language model's endpoint that outlast its troubles.

Overload, a model that is still being loaded, a proxy's errors and lost connections are waited out,
for a stated time. What is about one request is told apart from what is about all of them.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, TypeVar

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, sleep_using_event
from tenacity.wait import wait_exponential_jitter

from model_store.endpoint_access import EndpointAccess, describe_redirect
from model_store.endpoint_problem import EndpointProblem, Verdict
from model_store.errors import LongtailError
from model_store.texts import first_line, shorten
from offline.knowledge.endpoint.body import Garbled, parse_answer
from offline.progress import announce

T = TypeVar("T")

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
MAX_ANSWER_BYTES = 16 * 1024 * 1024
MAX_GARBLED = 4
# Before the first answer no connection is a wrong address more often than a server that starts.
UNREACHABLE_PATIENCE_S = 30.0
NOTICE_AFTER_S, NOTICE_EVERY_S = 3.0, 60.0


class EndpointError(LongtailError):
    """The endpoint can't be used, or not any longer; what it answered before is kept."""


class RejectedRequest(Exception):  # noqa: N818 - names its subject
    """The endpoint rejects this request; it may take others."""

    def __init__(self, problem: EndpointProblem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class _Passing(Exception):  # noqa: N818 - names its subject
    """Trouble that may pass. `wait_s`: as long as the endpoint asks to wait."""

    def __init__(self, trouble: str, wait_s: float = 0.0) -> None:
        super().__init__(trouble)
        self.wait_s = wait_s


class _Unreachable(_Passing):
    """No connection."""


class EndpointClient:
    """Posts JSON to one call of an endpoint, from several threads at a time.

    Args:
        access: address and headers.
        connections: limit on open ones.
        timeout_s: of one answer as a whole.
        patience_s: how long one request is tried before the run ends.
        first_wait_s: before the second try; each further wait is twice as long.
    """

    def __init__(
        self,
        access: EndpointAccess,
        connections: int,
        timeout_s: float,
        patience_s: float,
        first_wait_s: float = FIRST_WAIT_S,
    ) -> None:
        self._access = access
        self._timeout_s, self._patience_s = timeout_s, patience_s
        self._backoff = wait_exponential_jitter(first_wait_s, LONGEST_WAIT_S, jitter=first_wait_s)
        self._has_answered = False
        self._noticed_s = float("-inf")
        self._ending = threading.Event()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._client = httpx.Client(
            timeout=timeout_s,
            headers=access.headers,
            verify=_certificates(),
            limits=httpx.Limits(max_connections=connections),
        )

    def post(self, document: Mapping[str, Any], read: Callable[[Any], T]) -> T:
        """What `read` finds in the endpoint's answer.

        Args:
            document: to send.
            read: takes the answer's JSON; raises Garbled if that is not what was asked for.

        Raises:
            RejectedRequest: the endpoint rejects this request.
            Garbled: no answer of several could be read.
            EndpointError: it can't be used, or not within the patience.
        """
        retrying = Retrying(
            retry=retry_if_exception_type((_Passing, Garbled)),
            wait=self._wait_s,
            stop=self._is_over,
            sleep=sleep_using_event(self._ending),
            before_sleep=self._notice,
            reraise=True,
        )
        try:
            found: T = retrying(self._try, document, read)
        except _Passing as trouble:
            raise self.error(
                f"{trouble} (tried for up to {self._patience_of(trouble):g} s)"
            ) from None
        return found

    def end(self) -> None:
        """Have requests that wait before another try fail now."""
        self._ending.set()

    def abort(self) -> None:
        """Have all requests fail now, also those whose answers are under way."""
        self.end()
        for connection in list(self._sockets):
            with suppress(OSError):  # closed already
                connection.shutdown(socket.SHUT_RDWR)

    def error(self, trouble: object) -> EndpointError:
        """For a person: the endpoint and its trouble, in one line without secrets."""
        return EndpointError(f"{self._access.name}: {self.describe(trouble)}")

    def describe(self, trouble: object) -> str:
        """A trouble in one line without secrets."""
        return shorten(" ".join(self._access.hide(str(trouble)).split()))

    def _try(self, document: Mapping[str, Any], read: Callable[[Any], T]) -> T:
        while True:
            asked = self._access.url
            response, content = self._exchange(asked, document)
            if response.status_code == httpx.codes.OK:
                return self._read(content, read)
            problem = EndpointProblem.of(response.status_code, content)
            location = response.headers.get("location")
            if not self._access.moves_on(asked, problem.status, location, problem.message):
                raise self._failure(problem, response.headers)

    def _exchange(self, url: str, document: Mapping[str, Any]) -> tuple[httpx.Response, bytes]:
        """The answer, whatever it says, if it comes whole and in time."""
        ends_s, content = time.monotonic() + self._timeout_s, bytearray()
        late = f"no answer in {self._timeout_s:g} s (knowledge.timeout_s)"
        try:
            with self._client.stream(
                "POST", url, json=document, extensions={"trace": self._trace}
            ) as response:
                # httpx limits single reads; this limits the whole, however slowly bytes drip in.
                for part in response.iter_bytes():
                    content += part
                    if len(content) > MAX_ANSWER_BYTES:
                        raise self.error(f"its answer is longer than {MAX_ANSWER_BYTES:,} bytes")
                    if time.monotonic() > ends_s:
                        raise _Passing(late)
        except httpx.ConnectTimeout:
            raise _Unreachable(f"no connection in {self._timeout_s:g} s") from None
        except httpx.TimeoutException:
            raise _Passing(late) from None
        except httpx.ConnectError as error:
            if "SSL" in str(error):  # another try meets the same certificate
                raise self.error(first_line(error)) from None
            raise _Unreachable(f"no connection: {first_line(error)}") from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise _Passing(f"{type(error).__name__}: {first_line(error)}") from None
        return response, bytes(content)

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Remember the sockets of connections; httpx calls this at every step of a request."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._sockets.add(info["return_value"].get_extra_info("socket"))
            if self._ending.is_set():
                raise httpx.ConnectError("the run ends")

    def _read(self, content: bytes, read: Callable[[Any], T]) -> T:
        document = parse_answer(content)
        if problem := EndpointProblem.inside(document):
            raise self._failure(problem, {})
        found = read(document)
        self._access.confirm()
        self._has_answered = True
        return found

    def _failure(self, problem: EndpointProblem, headers: Mapping[str, str]) -> Exception:
        match problem.verdict:
            case Verdict.PASSING:
                return _Passing(str(problem), _asked_wait_s(headers))
            case Verdict.FATAL if 300 <= problem.status < 400:
                return self.error(f"{problem}; {describe_redirect(headers.get('location'))}")
            case Verdict.FATAL:
                return self.error(problem)
        return RejectedRequest(problem)

    def _wait_s(self, state: RetryCallState) -> float:
        trouble = state.outcome and state.outcome.exception()
        asked_s = trouble.wait_s if isinstance(trouble, _Passing) else 0.0
        return max(asked_s, self._backoff(state))

    def _is_over(self, state: RetryCallState) -> bool:
        trouble = state.outcome and state.outcome.exception()
        if self._ending.is_set() or (
            isinstance(trouble, Garbled) and state.attempt_number >= MAX_GARBLED
        ):
            return True
        waited_s = (state.seconds_since_start or 0.0) + state.upcoming_sleep
        return waited_s > self._patience_of(trouble)

    def _patience_of(self, trouble: object) -> float:
        if isinstance(trouble, _Unreachable) and not self._has_answered:
            return min(self._patience_s, UNREACHABLE_PATIENCE_S)
        return self._patience_s

    def _notice(self, state: RetryCallState) -> None:
        """Tell the person who waits, at most once a minute whatever the number of threads."""
        now_s = time.monotonic()
        waited_s = (state.seconds_since_start or 0.0) + state.upcoming_sleep
        if waited_s < NOTICE_AFTER_S or now_s < self._noticed_s + NOTICE_EVERY_S:
            return
        self._noticed_s = now_s
        trouble = state.outcome and state.outcome.exception()
        announce(f"waiting, up to {self._patience_of(trouble):g} s, for {self.error(trouble)}")


@cache
def _certificates() -> ssl.SSLContext:
    """The authorities' certificates, which take a tenth of a second to read."""
    return httpx.create_ssl_context()


def _asked_wait_s(headers: Mapping[str, str]) -> float:
    """Seconds that the endpoint asks to wait: a number, perhaps with its unit, or a date.

    0 without such a header, and where it can't be read.
    """
    in_ms = re.fullmatch(r"[\d.]+", headers.get("retry-after-ms", ""))
    value = f"{in_ms[0]}ms" if in_ms else headers.get("retry-after", "").strip()
    if number := re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*(m?s)?", value, re.ASCII):
        return float(number[1]) / (1000.0 if number[2] == "ms" else 1.0)
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            until = parse(value)
        except ValueError:
            continue
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        return max((until - datetime.now(UTC)).total_seconds(), 0.0)
    return 0.0
