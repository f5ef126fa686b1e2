"""Everything that a call can raise, as one tree.

    LongtailError
    ├── UnreachableError          no answer came: no connection, or it broke
    │   └── AnswerTimeoutError        no answer came in time
    ├── UnreadableAnswerError     an answer that Longtail doesn't give: of a proxy, say
    └── ApiError                  the service's own word: status, message, wrong fields
        ├── InvalidRequestError       4xx that is none of the below: the request is wrong
        ├── UnauthorizedError         401: the key or token is missing or wrong
        ├── ForbiddenError            403: it opens no such thing
        ├── NotFoundError             404
        ├── ConflictError             409: the active version, or its kind, doesn't allow it
        ├── OverloadedError           429: by load, or by the key's quota
        ├── UnavailableError          502, 503, 504: not ready, ending, or out of a proxy's reach
        └── ServiceError              other 5xx: a fault of the service; its log has the request id

Each has the `request_id` under which the service logs the call, and `may_have_acted`: whether the
service may have done what was asked for all the same.
"""

from __future__ import annotations

from longtail_client.answers import WrongField


class LongtailError(Exception):
    """Root of all errors of a call.

    Attributes:
        request_id: of all attempts of the call, which the service logs and answers with.
        may_have_acted: whether the service may have done what was asked for.
    """

    def __init__(self, message: str, *, request_id: str, may_have_acted: bool) -> None:
        super().__init__(f"{message} (request {request_id})")
        self.request_id = request_id
        self.may_have_acted = may_have_acted


class UnreachableError(LongtailError):
    """No answer came: no connection could be made, or it broke."""


class AnswerTimeoutError(UnreachableError):
    """No answer came in time."""


class UnreadableAnswerError(LongtailError):
    """Something answered that Longtail doesn't: a proxy, or another service."""


class ApiError(LongtailError):
    """The service answered with an error.

    Attributes:
        status: of HTTP.
        detail: the service's message, which names the field and the value that are wrong.
        errors: each wrong field, with its value.
        retry_after_s: seconds after which it asks to be called again; None where it doesn't.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        request_id: str,
        errors: tuple[WrongField, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        may_have_acted = status >= 500
        super().__init__(
            f"{status}: {detail}", request_id=request_id, may_have_acted=may_have_acted
        )
        self.status = status
        self.detail = detail
        self.errors = errors
        self.retry_after_s = retry_after_s


class InvalidRequestError(ApiError):
    """The request is wrong: 422, 413, 415 and the like; `errors` has its wrong fields."""


class UnauthorizedError(ApiError):
    """401: the key or the token is missing or wrong."""


class ForbiddenError(ApiError):
    """403: the token doesn't open this, or nothing does."""


class NotFoundError(ApiError):
    """404: there is no such item."""


class ConflictError(ApiError):
    """409: the version that answers, or its kind, doesn't allow it now."""


class OverloadedError(ApiError):
    """429: more than the service answers in time, or than the key's quota."""


class UnavailableError(ApiError):
    """502, 503, 504: the service is not ready, or is ending, or a proxy doesn't reach it."""


class ServiceError(ApiError):
    """Another 5xx: a fault of the service; its log has details under the request id."""


_KINDS: dict[int, type[ApiError]] = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    429: OverloadedError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}


def kind_of(status: int) -> type[ApiError]:
    """The error that a status of HTTP is raised as."""
    return _KINDS.get(status, ServiceError if status >= 500 else InvalidRequestError)
