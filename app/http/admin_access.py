"""Who may ask for what under /admin: tokens, their roles, and a limit on wrong ones."""

from __future__ import annotations

import hmac
import logging
import math
from datetime import datetime
from typing import Annotated, Literal

from fastapi import Depends
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from starlette.requests import Request

from app.http.failed_attempts import FailedAttempts
from app.http.parameters import reject_unknown_parameters
from app.http.problems import Problem
from app.http.request_id import REQUEST_ID
from app.store.tokens import TokenStore
from app.telemetry.admin_metrics import AdminMetrics
from app.telemetry.logs import REQUEST_ID as LOGGED_ID
from model_store.errors import StoreError
from model_store.tokens import Role, digest_of, id_of

log = logging.getLogger(__name__)

# For the document and its Authorize button; `AdminAccess` does the checking.
ADMIN_SCHEME = HTTPBearer(
    auto_error=False,
    scheme_name="adminToken",
    description="The value of LONGTAIL_ADMIN_TOKEN, or a token of `longtail tokens create`.",
)
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="longtail"'}
_READING = frozenset({"GET", "HEAD"})


class Operator(BaseModel):
    """Who asks: the bearer of a right token."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="Of the token; `environment` is the one in LONGTAIL_ADMIN_TOKEN.")
    role: Role
    note: str
    expires: datetime | None = Field(description="Null: never.")

    def describe(self) -> str:
        """For logs and the audit: the token's id and note, never its secret."""
        return f"token {self.id} ({self.note})" if self.note else f"token {self.id}"


_ENVIRONMENT = Operator(id="environment", role="operate", note="LONGTAIL_ADMIN_TOKEN", expires=None)


class AdminAccess:
    """Checks the token of each request under /admin.

    Args:
        token: the one in LONGTAIL_ADMIN_TOKEN, with the role `operate`; it is right also while the
            store is away.
        tokens: those that `longtail tokens` made.
        metrics: where failures are counted.
    """

    def __init__(self, token: SecretStr | None, tokens: TokenStore, metrics: AdminMetrics) -> None:
        # Of digests of one length the comparison doesn't even tell the token's.
        self._digest = None if token is None else digest_of(token.get_secret_value()).encode()
        self._tokens = tokens
        self._metrics = metrics
        self._attempts = FailedAttempts()

    async def check(self, request: Request) -> None:
        """Look at a request's token; leaves the Operator in `request.state.operator`.

        Raises:
            Problem: 401, the token is missing or wrong; 403, its role is too low, or there can be
                no right one; 429, too many wrong ones came from this address; 503, the store is
                away.
        """
        address = request.client.host if request.client else ""
        if wait_s := self._attempts.wait_s(address):
            raise self._failed("limited", _too_many(wait_s))
        operator = request.state.operator = await self._identify(request, address)
        needed: Role = "read" if request.method in _READING else "operate"
        if operator.role not in {needed, "operate"}:
            raise self._failed("role", _too_low(operator.role, needed))
        if needed == "read":
            return
        log.info(
            "%s %r by %s",
            request.method,
            _path_without_person(request)[:200],
            operator.describe(),
            extra={LOGGED_ID: request.scope[REQUEST_ID]},
        )

    async def _identify(self, request: Request, address: str) -> Operator:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        given = given.strip()
        is_bearer = scheme.lower() == "bearer"
        number = id_of(given)
        if self._digest is None and number is None:
            raise self._failed("missing" if not given else "wrong", _closed())
        if is_bearer and self._is_ours(given):
            return _ENVIRONMENT
        found = await self._find(given, number) if is_bearer and number else None
        if found is not None:
            return found
        if given:
            self._attempts.add(address)
            raise self._failed("wrong", _unauthorized("wrong"))
        raise self._failed("missing", _unauthorized("missing"))

    def _is_ours(self, given: str) -> bool:
        digest = digest_of(given).encode()
        return self._digest is not None and hmac.compare_digest(digest, self._digest)

    async def _find(self, given: str, number: str) -> Operator | None:
        try:
            record = await self._tokens.find(number)
        except StoreError as error:
            raise Problem(
                503,
                f"the token can't be checked: {error}; LONGTAIL_ADMIN_TOKEN's can",
                headers={"Retry-After": "1"},
            ) from error
        if record is None or not record.matches(given) or record.has_expired:
            return None
        return Operator(id=record.id, role=record.role, note=record.note, expires=record.expires)

    def _failed(
        self, reason: Literal["missing", "wrong", "role", "limited"], problem: Problem
    ) -> Problem:
        self._metrics.failed(reason)
        return problem


async def check_operator(request: Request) -> None:
    """A dependency of routes: the token as the service checks it, then the query's parameters.

    Raises:
        Problem: as `AdminAccess.check` and `reject_unknown_parameters`.
    """
    access: AdminAccess = request.app.state.access
    await access.check(request)
    await reject_unknown_parameters(request)


def _path_without_person(request: Request) -> str:
    """The path of a request; where it names a person, the route's."""
    if "user_id" in request.path_params:
        return str(request.scope["route"].path_format)
    return str(request.scope["path"])


def _describe(request: Request) -> str:
    operator: Operator = request.state.operator
    return operator.describe()


By = Annotated[str, Depends(_describe)]
"""Of a route under /admin: the operator, for the audit."""


def _closed() -> Problem:
    return Problem(
        403,
        "admin endpoints are closed (LONGTAIL_ADMIN_TOKEN is not set) but to tokens of "
        "`longtail tokens create`",
    )


def _unauthorized(reason: str) -> Problem:
    return Problem(
        401,
        f"the admin token is {reason}; send `Authorization: Bearer TOKEN`",
        headers=_CHALLENGE,
    )


def _too_low(role: Role, needed: Role) -> Problem:
    return Problem(403, f"the token has the role {role!r}; this needs {needed!r}")


def _too_many(wait_s: float) -> Problem:
    return Problem(
        429,
        "too many wrong admin tokens came from this address",
        headers={"Retry-After": str(math.ceil(wait_s))},
    )
