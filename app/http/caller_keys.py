"""Keys of callers, where the settings require them: which request is whose, and its quota."""

from __future__ import annotations

import math

from starlette.requests import Request
from starlette.responses import Response

from app.http.middleware import Endpoint
from app.http.problems import Problem
from app.overload.quotas import Quotas
from app.telemetry.caller_metrics import CallerMetrics
from model_store.tokens import TokenRecord, id_of

N_REQUESTS = "longtail.n_requests"
"""Where the scope of a batch holds the number of its requests."""


class CallerKeys:
    """Checks the key of each request of a caller.

    Keys have 256 random bits, so guesses need no limit; a wrong one costs a look into memory.

    Args:
        quotas: knows the keys, and counts.
        metrics: where rejections are counted.
    """

    def __init__(self, quotas: Quotas, metrics: CallerMetrics) -> None:
        self._quotas = quotas
        self._metrics = metrics

    def guard(self, endpoint: Endpoint) -> Endpoint:
        """An endpoint that answers callers with a key, within their quotas."""

        async def guarded(request: Request) -> Response:
            caller = self._admit(request)
            response = await endpoint(request)
            self._quotas.count(caller, request.scope.get(N_REQUESTS, 1) - 1)
            return response

        return guarded

    async def check(self, request: Request) -> None:
        """A dependency of routes that are not guarded.

        Raises:
            Problem: 401, the key is missing or wrong; 429, its quota is used up; 503, no keys have
                been read yet.
        """
        self._admit(request)

    def _admit(self, request: Request) -> TokenRecord:
        caller = self._identify(request)
        if wait_s := self._quotas.wait_s(caller):
            self._metrics.rejected("quota")
            raise Problem(
                429,
                f"the key's quota of {caller.per_minute:,} requests a minute is used up",
                headers={"Retry-After": str(math.ceil(wait_s))},
            )
        self._quotas.count(caller, 1)
        return caller

    def _identify(self, request: Request) -> TokenRecord:
        callers = self._quotas.callers
        if callers is None:
            raise Problem(
                503, "the store's keys have not been read yet", headers={"Retry-After": "1"}
            )
        given, is_bearer = _given(request)
        caller = callers.get(id_of(given) or "") if is_bearer else None
        if caller is None or not caller.matches(given) or caller.has_expired:
            reason = "wrong" if given else "missing"
            self._metrics.rejected(reason)
            raise Problem(
                401,
                f"the caller's key is {reason}; send `Authorization: Bearer KEY`",
                headers={"WWW-Authenticate": 'Bearer realm="longtail"'},
            )
        return caller


def _given(request: Request) -> tuple[str, bool]:
    """The credentials of a request, and whether they are a bearer's."""
    # Not by `request.headers`, which costs as much as all the rest here.
    for name, value in request.scope["headers"]:
        if name == b"authorization":
            scheme, _, given = value.decode("latin-1").partition(" ")
            return given.strip(), scheme.lower() == "bearer"
    return "", False
