"""A typed client of Longtail, the recommendation service.

Requests are typed dictionaries, and answers are pydantic models; both have the names of the
service's OpenAPI document. `Client` is for threads, `AsyncClient` for event loops.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from longtail_client.answers import (
        BatchResponse,
        Because,
        EventsResponse,
        Explanation,
        Exploration,
        ItemsChanged,
        Live,
        MovedBy,
        PersonForgotten,
        PredictedRating,
        ProblemDocument,
        RatingsResponse,
        Ready,
        RecommendedItem,
        RecommendResponse,
        Reranked,
        SimilarItem,
        SimilarResponse,
        Timings,
        WrongField,
    )
    from longtail_client.async_client import AsyncClient
    from longtail_client.client import Client
    from longtail_client.errors import (
        AnswerTimeoutError,
        ApiError,
        ConflictError,
        ForbiddenError,
        InvalidRequestError,
        LongtailError,
        NotFoundError,
        OverloadedError,
        ServiceError,
        UnauthorizedError,
        UnavailableError,
        UnreachableError,
        UnreadableAnswerError,
    )
    from longtail_client.requests import (
        Event,
        ExcludeServed,
        Filter,
        ItemChange,
        RatingsRequest,
        RecommendRequest,
        RequestBoost,
        RequestCap,
    )
    from longtail_client.retries import Retries
    from longtail_client.version import VERSION

__all__ = [
    "VERSION",
    "AnswerTimeoutError",
    "ApiError",
    "AsyncClient",
    "BatchResponse",
    "Because",
    "Client",
    "ConflictError",
    "Event",
    "EventsResponse",
    "ExcludeServed",
    "Explanation",
    "Exploration",
    "Filter",
    "ForbiddenError",
    "InvalidRequestError",
    "ItemChange",
    "ItemsChanged",
    "Live",
    "LongtailError",
    "MovedBy",
    "NotFoundError",
    "OverloadedError",
    "PersonForgotten",
    "PredictedRating",
    "ProblemDocument",
    "RatingsRequest",
    "RatingsResponse",
    "Ready",
    "RecommendRequest",
    "RecommendResponse",
    "RecommendedItem",
    "RequestBoost",
    "RequestCap",
    "Reranked",
    "Retries",
    "ServiceError",
    "SimilarItem",
    "SimilarResponse",
    "Timings",
    "UnauthorizedError",
    "UnavailableError",
    "UnreachableError",
    "UnreadableAnswerError",
    "WrongField",
]

_MODULES = ("version", "errors", "retries", "requests", "answers", "client", "async_client")

if not TYPE_CHECKING:  # type checkers would take any name

    def __getattr__(name: str) -> object:
        """A name of `__all__` or a module, imported now: `longtail --help` needs no httpx."""
        if name in _MODULES:
            return import_module(f"{__name__}.{name}")
        if name in __all__:
            for module in _MODULES:
                found = import_module(f"{__name__}.{module}")
                if hasattr(found, name):
                    return getattr(found, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, *_MODULES})
