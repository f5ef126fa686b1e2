"""Answers that the server protocol gives without the application, as bytes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable

from starlette.responses import Response

from app.http.problems import Problem
from app.http.request_id import RequestIds
from app.telemetry.metrics import NOBODY, Metrics

Header = tuple[bytes, bytes]


class EarlyAnswers:
    """Rejections by overload, and problems of incomplete requests.

    Args:
        ids: names the requests.
        metrics: where answers are counted.
        route: the metrics' name of a route, by method and path.
    """

    def __init__(self, ids: RequestIds, metrics: Metrics, route: Callable[[str, str], str]) -> None:
        self._ids = ids
        self._metrics = metrics
        self._route = route
        self._rejected = Counter[tuple[bytes, bytes]]()  # by method and URL

    def reject(
        self, method: bytes, url: bytes, headers: Iterable[Header], more: Iterable[Header]
    ) -> bytes:
        """The complete answer to a request that is rejected by overload.

        Args:
            method, url: the request's.
            headers: the request's, names in lower case.
            more: headers of the answer besides its own.
        """
        request_id = self._ids.choose(headers).encode()
        if not self._rejected:
            asyncio.get_running_loop().call_soon(self._count_rejections)
        self._rejected[method, url] += 1
        body = request_id.join(_REJECTION_BODY)
        lines = [
            _REJECTION_HEAD,
            *(b"%s: %s" % pair for pair in more),
            b"x-request-id: %s\r\ncontent-length: %d\r\n\r\n" % (request_id, len(body)),
        ]
        return b"\r\n".join(lines) + body

    def answer(self, problem: Problem, headers: Iterable[Header], more: Iterable[Header]) -> bytes:
        """The complete answer about a problem, for a request that is not read to its end.

        Args:
            problem: the problem.
            headers: those of the request that were read, names in lower case.
            more: headers of the answer besides its own.
        """
        request_id = self._ids.choose(headers)
        response = problem.response(request_id)
        self._metrics.answered("other", problem.status, NOBODY, None)
        head = _head(
            problem, [*response.raw_headers, *more, (b"x-request-id", request_id.encode())]
        )
        return head + b"\r\n\r\n" + bytes(response.body)

    def _count_rejections(self) -> None:
        """Count rejections of one loop iteration together, which is cheaper than one by one."""
        for (method, url), n in self._rejected.items():
            path = url.partition(b"?")[0].decode("latin-1")
            self._metrics.rejected_by_overload(self._route(method.decode("latin-1"), path), n)
        self._rejected.clear()


def overload() -> Problem:
    """429: one request too many."""
    detail = "as many requests as can be answered in time wait already"
    return Problem(429, detail, headers={"Retry-After": "1"})


def ending() -> Problem:
    """503: only the server cancels requests, when its time to end orderly is over."""
    return Problem(503, "the service is ending", headers={"Retry-After": "1"})


def _head(problem: Problem, headers: Iterable[Header]) -> bytes:
    status = b"HTTP/1.1 %d %s" % (problem.status, problem.title.encode())
    return b"\r\n".join([status, *(b"%s: %s" % pair for pair in headers)])


def _prepare_rejection() -> tuple[bytes, list[bytes]]:
    """Status and headers of a rejection, and its body in two parts around the request's id."""
    placeholder = "request-id"
    problem = overload()
    response: Response = problem.response(placeholder)
    headers = [pair for pair in response.raw_headers if pair[0] != b"content-length"]
    return _head(problem, headers), bytes(response.body).split(placeholder.encode())


# Most answers of an overloaded service are this one.
_REJECTION_HEAD, _REJECTION_BODY = _prepare_rejection()
