"""Parses bodies into models, large ones off the event loop, and reports their errors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request

from app.http.body import read_body
from app.http.problems import Problem, from_validation
from app.http.requests import (
    MAX_BATCH,
    BatchRequest,
    Event,
    EventsRequest,
    ItemsRequest,
    RatingsRequest,
    RecommendRequest,
)
from model_store.item_filter import Filter, Filters

Parsed = TypeVar("Parsed")
_FILTERS: TypeAdapter[dict[str, Filter]] = TypeAdapter(Filters)

# Bytes of JSON that are parsed within two milliseconds, even if everything in them is wrong.
MAX_PARSED_ON_LOOP = 64 * 1024
MAX_EVENT_ERRORS = 20


async def parse_body(request: Request, parse: Callable[[bytes], Parsed]) -> Parsed:
    """The parsed body of a request.

    Args:
        request: its body is read.
        parse: one of the functions below.

    Raises:
        Problem: 413, 415 or 422, the body is no such thing.
        ValidationError: it is none, and short.
    """
    body = await read_body(request)
    if len(body) <= MAX_PARSED_ON_LOOP:
        return parse(body)
    return await asyncio.to_thread(_parse_large, body, parse)


def parse_recommend(body: bytes) -> RecommendRequest:
    """The body of `POST /recommend`."""
    return RecommendRequest.model_validate_json(body)


def parse_ratings(body: bytes) -> RatingsRequest:
    """The body of `POST /ratings`."""
    return RatingsRequest.model_validate_json(body)


def parse_batch(body: bytes) -> list[RecommendRequest | Problem]:
    """The body of `POST /recommend/batch`; a request that is wrong is its problem.

    Raises:
        ValidationError: it is no list of 1 to MAX_BATCH requests.
    """
    if len(body) <= MAX_PARSED_ON_LOOP:
        try:
            return [*BatchRequest.model_validate_json(body).requests]
        except ValidationError:
            parsed = _parse_each(body)
            if parsed is None:
                raise
            return parsed
    # One request after another: parsing all in one call would block other threads.
    parsed = _parse_each(body)
    return [*BatchRequest.model_validate_json(body).requests] if parsed is None else parsed


def _parse_each(body: bytes) -> list[RecommendRequest | Problem] | None:
    """The requests one by one; None where the batch itself is wrong."""
    try:
        document = orjson.loads(body)
    except ValueError:
        return None
    requests = document.get("requests") if isinstance(document, dict) else None
    if not isinstance(requests, list) or len(document) > 1 or not 1 <= len(requests) <= MAX_BATCH:
        return None
    parsed: list[RecommendRequest | Problem] = []
    for one in requests:
        try:
            parsed.append(RecommendRequest.model_validate(one))
        except ValidationError as error:
            parsed.append(from_validation(error))
    return parsed


def parse_events(body: bytes) -> list[Event]:
    """The body of `POST /events`: several events, or a single one."""
    try:
        return EventsRequest.model_validate_json(body).events
    except ValidationError as error:
        # A single event has other fields instead of this one: few errors, quickly listed.
        if error.error_count() <= MAX_EVENT_ERRORS and any(
            one["type"] == "missing" and one["loc"] == ("events",) for one in error.errors()
        ):
            return [Event.model_validate_json(body)]
        raise


def parse_filters(text: str) -> Mapping[str, Filter]:
    """The parameter `filters` of `GET /items/{item_id}/similar`: JSON as in `POST /recommend`.

    Raises:
        Problem: 422, it is no such thing; each error names the field.
    """
    try:
        return _FILTERS.validate_json(text)
    except ValidationError as error:
        raise from_validation(error, "filters") from None


def parse_items(body: bytes) -> ItemsRequest:
    """The body of `PUT /admin/items`."""
    return ItemsRequest.model_validate_json(body)


def _parse_large(body: bytes, parse: Callable[[bytes], Parsed]) -> Parsed:
    try:
        return parse(body)
    except ValidationError as error:
        raise from_validation(error) from None
