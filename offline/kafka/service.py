"""A running service's `POST /events`: what it accepts, what it rejects, and waiting for it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import httpx

from model_store.admin_api import service_url
from model_store.errors import ConfigError, InputError
from offline.evaluate.caller_key import caller_headers, hint
from offline.kafka.writer import Stopped
from offline.progress import announce

MAX_EVENTS = 1_000
"""Of a request, as the service has it."""
MAX_BYTES = 1_000_000
"""Of a request's events; the service takes bodies of up to 2 MiB."""
_REJECTED = frozenset({400, 413, 422})
_WAITED_FOR = frozenset({408, 425, 429})  # and all from 500 on
_SAID_EVERY_S = 60.0
_LONGEST_PAUSE_S = 60.0
_SHORTEST_PAUSE_S = 0.1
_LOOK_S = 0.2
_PLACE = re.compile(r"events\[(\d+)\]")


class EventsEndpoint:
    """`POST /events` of a service; an asynchronous context manager.

    Args:
        url: of the service, as a person gave it; the key for it is in LONGTAIL_CALLER_KEY.
        is_stopped: whether a person wants an end.
        patience_s: how long a service that takes nothing is waited for; None: for ever.

    Raises:
        ConfigError: the URL is none, or the key can't stand in a header.
    """

    def __init__(
        self, url: str, is_stopped: Callable[[], bool], patience_s: float | None = None
    ) -> None:
        self._url = service_url(url) + "/events"
        try:
            httpx.URL(self._url)
        except httpx.InvalidURL as error:
            raise ConfigError(f"--url {url!r}: {error}") from None
        self._is_stopped = is_stopped
        self._patience_s = patience_s
        headers = {"Content-Type": "application/json", **caller_headers()}
        self._client = httpx.AsyncClient(timeout=30.0, headers=headers)

    async def __aenter__(self) -> EventsEndpoint:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def post(self, events: Sequence[bytes]) -> dict[int, str]:
        """Have the service take events; returns the reasons for those that it rejects, by place.

        Args:
            events: JSON objects; at most MAX_EVENTS.

        Raises:
            InputError: no service takes events there; none of them need have been taken.
            Stopped: a person wants an end, and the service is away.
        """
        rejected: dict[int, str] = {}
        left = [list(enumerate(events))]
        while left:
            part = left.pop()
            response = await self._answer([event for _, event in part])
            if response.status_code == httpx.codes.OK:
                self._check(response, len(part))
                continue
            reason = _reason(response)
            wrong = _place_of_wrong(response, len(part))
            if wrong is not None:
                rejected[part.pop(wrong)[0]] = reason
                left += [part] if part else []
            elif len(part) > 1:
                middle = len(part) // 2
                left += [part[middle:], part[:middle]]
            else:
                rejected[part[0][0]] = reason
        return rejected

    async def _answer(self, events: Sequence[bytes]) -> httpx.Response:
        """The answer to a request, once there is one that waiting does not change."""
        body = b'{"events":[%s]}' % b",".join(events)
        started_s = time.monotonic()
        said_s = -_SAID_EVERY_S
        pause_s = 0.5
        while True:
            try:
                response = await self._client.post(self._url, content=body)
            except httpx.HTTPError as error:
                what, asked_s = str(error) or type(error).__name__, None
            else:
                status = response.status_code
                if status == httpx.codes.OK or status in _REJECTED:
                    return response
                what = f"{status} {_reason(response)}"
                if status not in _WAITED_FOR and status < 500:
                    raise InputError(f"{self._url}: {what}{hint(status)}")
                asked_s = _retry_after_s(response)
            now_s = time.monotonic()
            if self._patience_s is not None and now_s - started_s > self._patience_s:
                raise InputError(f"{self._url}: {what}; not taken for {self._patience_s:.0f} s")
            if now_s - said_s >= _SAID_EVERY_S:
                announce(f"longtail events: {self._url}: {what}; waiting")
                said_s = now_s
            await self._pause(pause_s if asked_s is None else asked_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _pause(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            if self._is_stopped():
                raise Stopped
            await asyncio.sleep(min(_LOOK_S, left_s))

    def _check(self, response: httpx.Response, n_sent: int) -> None:
        """That it was the service who said yes."""
        answer = _document(response)
        if answer.get("accepted") != n_sent:
            raise InputError(
                f"{self._url}: not a recommendation service; it answered {response.text[:60]!r}"
            )


def _document(response: httpx.Response) -> dict[str, Any]:
    try:
        answer = response.json()
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _reason(response: httpx.Response) -> str:
    detail = _document(response).get("detail")
    return detail if isinstance(detail, str) else response.reason_phrase


def _place_of_wrong(response: httpx.Response, n_sent: int) -> int | None:
    """Which event a rejection is about, where it says so."""
    errors = _document(response).get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    found = _PLACE.match(str(first.get("field"))) if isinstance(first, dict) else None
    return int(found[1]) if found and int(found[1]) < n_sent else None


def _retry_after_s(response: httpx.Response) -> float | None:
    """Seconds of a `Retry-After`; of one with a date, and without one, None."""
    asked = response.headers.get("Retry-After", "")
    if not (asked.isdecimal() and asked.isascii()):
        return None
    return min(max(float(asked), _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S)
