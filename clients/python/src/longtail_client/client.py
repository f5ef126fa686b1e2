"""The client for threads."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self, Unpack

import httpx

from longtail_client import calls
from longtail_client.answers import (
    BatchResponse,
    EventsResponse,
    ItemsChanged,
    Live,
    PersonForgotten,
    RatingsResponse,
    Ready,
    RecommendResponse,
    SimilarResponse,
)
from longtail_client.calls import Answer, Call
from longtail_client.errors import LongtailError
from longtail_client.exchange import (
    Secrets,
    from_transport,
    http_options,
    new_request_id,
    read_answer,
    request_options,
)
from longtail_client.requests import (
    Event,
    Filter,
    ItemChange,
    RatingsRequest,
    RecommendRequest,
)
from longtail_client.retries import Retries


class Client:
    """A service of Longtail.

    Keeps connections, and may be shared by threads. Close it, or use it in a `with` statement.
    Every call raises a `LongtailError` where it fails in the end.

    Args:
        url: of the service, such as `http://127.0.0.1:8000`.
        api_key: key of a caller, where the service requires one.
        admin_token: for `change_items` and `forget_user`.
        timeout_s: longest wait for a connection, and for each part of an answer.
        retries: when a failed call is made again.
        transport: of httpx, in place of connections: for tests, or for a proxy.

    Raises:
        ValueError: an argument can't be used.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        admin_token: str | None = None,
        timeout_s: float = 5.0,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._secrets = Secrets(api_key, admin_token)
        self._retries = retries or Retries()
        self._http = httpx.Client(**http_options(url, timeout_s), transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._http.base_url)!r})"

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def recommend(self, **request: Unpack[RecommendRequest]) -> RecommendResponse:
        """What should this user see next? `client.recommend(user_id="196", k=10)`."""
        return self._send(calls.recommend(request))

    def recommend_batch(self, requests: Sequence[RecommendRequest]) -> BatchResponse:
        """Several requests at once; a wrong one has its problem in the place of its answer."""
        return self._send(calls.recommend_batch(requests))

    def predict_ratings(self, **request: Unpack[RatingsRequest]) -> RatingsResponse:
        """The ratings that a user would give items, by a version of kind `rating`."""
        return self._send(calls.predict_ratings(request))

    def send_events(self, events: Sequence[Event]) -> EventsResponse:
        """Report interactions; they are durable when this returns.

        Where an answer is lost, events that all have an `event_id` are sent again, others are not:
        they might count twice.
        """
        return self._send(calls.send_events(events))

    def similar_items(
        self,
        item_id: str,
        *,
        k: int | None = None,
        fields: Sequence[str] | None = None,
        filters: Mapping[str, Filter] | None = None,
    ) -> SimilarResponse:
        """The items nearest to another."""
        return self._send(calls.similar_items(item_id, k, fields, filters))

    def change_items(self, items: Sequence[ItemChange]) -> ItemsChanged:
        """Withdraw items, let them come back, change attributes; needs the admin token."""
        return self._send(calls.change_items(items))

    def forget_user(self, user_id: str) -> PersonForgotten:
        """Remove all that is kept of a person; needs the admin token."""
        return self._send(calls.forget_user(user_id))

    def live(self) -> Live:
        """Whether the process answers; never repeated."""
        return self._send(calls.live())

    def ready(self) -> Ready:
        """Whether a model answers, and which; never repeated."""
        return self._send(calls.ready())

    def _send(self, call: Call[Answer]) -> Answer:
        request_id = new_request_id()
        options = request_options(call, self._secrets, request_id)
        n_failed = 0
        while True:
            try:
                try:
                    response = self._http.request(**options)
                except httpx.RequestError as error:
                    raise from_transport(call, error, request_id) from error
                return read_answer(call, response, request_id)
            except LongtailError as error:
                n_failed += 1
                wait_s = self._retries.wait_s(call, n_failed, error)
                if wait_s is None:
                    raise
            time.sleep(wait_s)
