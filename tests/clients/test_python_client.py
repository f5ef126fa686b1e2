"""The Python client against a running service."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import pytest

from longtail_client import (
    AsyncClient,
    Client,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    ProblemDocument,
    RecommendResponse,
    Retries,
    UnauthorizedError,
)
from model_store.store import connect
from model_store.tokens import Tokens
from tests.app.conftest import TOKEN
from tests.app.listening import listening
from tests.clients.both import KINDS, Ask, ask_with
from tests.clients.conftest import ODD_ID, RunningService


@pytest.fixture(params=KINDS)
def ask(request: pytest.FixtureRequest) -> Ask:
    return ask_with(request.param)


def test_recommendations(service: RunningService, ask: Ask) -> None:
    answer = ask(
        service.url,
        "recommend",
        user_id="196",
        k=3,
        fields=["title", "year"],
        filters={"genres": {"any": ["comedy", "drama"]}, "year": {"gte": 1980}},
        exclude=["50"],
        explain=True,
    )
    assert isinstance(answer, RecommendResponse)
    assert (answer.user_id, answer.served_by, answer.degraded) == ("196", "model", [])
    assert [item.rank for item in answer.items] == [1, 2, 3]
    assert answer.items[0].fields is not None
    assert answer.items[0].fields["year"] >= 1980
    assert answer.items[0].explanation is not None
    assert answer.items[0].explanation.because
    assert answer.timings_ms.total > 0


def test_a_batch_has_problems_in_the_place_of_wrong_requests(
    service: RunningService, ask: Ask
) -> None:
    requests = [{"user_id": "196", "k": 2}, {"user_id": "196", "k": 0}, {"history": ["242"]}]
    first, wrong, last = ask(service.url, "recommend_batch", requests).responses
    assert len(first.items) == 2
    assert isinstance(wrong, ProblemDocument)
    assert (wrong.status, wrong.errors[0].field) == (422, "k")  # type: ignore[index]
    assert len(last.items) == 10


def test_ratings(service: RunningService, ask: Ask) -> None:
    answer = ask(
        service.url, "predict_ratings", model="ratings", user_id="u2", item_ids=["50", "i2"]
    )
    assert [one.item_id for one in answer.ratings] == ["50", "i2"]
    assert all(1 <= one.rating <= 5 for one in answer.ratings)
    with pytest.raises(ConflictError, match="rating"):
        ask(service.url, "predict_ratings", user_id="u2", item_ids=["50"])


def test_events_are_seen_by_the_next_request(service: RunningService, ask: Ask) -> None:
    user = f"new-{ask.__name__}"
    event = {"user_id": user, "item_id": "50", "event_id": "e1", "timestamp": 1767225600}
    answer = ask(service.url, "send_events", [event, {"user_id": user, "item_id": "?"}])
    assert (answer.accepted, answer.unknown_items, answer.degraded) == (2, 1, [])
    items = ask(service.url, "recommend", user_id=user, k=60).items
    assert "50" not in {item.item_id for item in items}


def test_similar_items(service: RunningService, ask: Ask) -> None:
    answer = ask(
        service.url,
        "similar_items",
        "50",
        k=4,
        fields=["genres", "title"],
        filters={"genres": {"any": ["drama"]}},
    )
    assert len(answer.items) == 4
    assert all("drama" in item.fields["genres"] for item in answer.items)
    assert len(ask(service.url, "similar_items", "50").items) == 10


def test_any_id_can_stand_in_a_path(service: RunningService, ask: Ask) -> None:
    assert ask(service.url, "similar_items", ODD_ID).item_id == ODD_ID
    options = {"admin_token": TOKEN}
    assert ask(service.url, "forget_user", ODD_ID, options=options).user_id == ODD_ID
    with pytest.raises(NotFoundError, match=r"item_id '\.\.' is unknown") as caught:
        ask(service.url, "similar_items", "..")
    assert caught.value.status == 404


def test_operators_calls_need_the_admin_token(service: RunningService, ask: Ask) -> None:
    options = {"admin_token": f" {TOKEN}\n"}
    changes = [{"item_id": "i1", "attributes": {"year": 1999}}]
    assert ask(service.url, "change_items", changes, options=options).items == 1
    with pytest.raises(UnauthorizedError, match="missing"):
        ask(service.url, "change_items", changes)
    with pytest.raises(UnauthorizedError, match="wrong"):
        ask(service.url, "forget_user", "nobody", options={"admin_token": "another-token"})


def test_health(service: RunningService, ask: Ask) -> None:
    assert ask(service.url, "live").status == "live"
    ready = ask(service.url, "ready")
    assert (ready.version, ready.store) == ("made-1", "up")
    assert ready.names == {"default": "made-1", "ratings": "rated-1"}


def test_an_error_has_the_services_message_fields_and_request_id(
    service: RunningService, ask: Ask
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        ask(service.url, "recommend", user_id="196", k=2_000, diversity=3)
    error = caught.value
    assert error.status == 422
    assert {(one.field, one.value) for one in error.errors} == {("k", 2_000), ("diversity", 3)}
    assert error.detail.startswith("k: Input should be less than or equal to 1000")
    assert str(error) == f"422: {error.detail} (request {error.request_id})"
    assert len(error.request_id) == 32
    assert error.may_have_acted is False


def test_keys_and_quotas(service: RunningService) -> None:
    assert service.settings.redis_url is not None
    with connect(service.settings.redis_url) as client:
        _, key = Tokens(client).create("call", per_minute=4)
    settings = service.settings.model_copy(update={"api_keys": "required"})
    with listening(settings) as running:
        url = f"http://127.0.0.1:{running.port}"
        with pytest.raises(UnauthorizedError, match="the caller's key is missing"):
            ask_with("sync")(url, "recommend", user_id="196")
        with Client(url, api_key=key, retries=Retries(attempts=1)) as client:
            # The clock's minute may end between two calls, but not more than once.
            with pytest.raises(OverloadedError, match="quota of 4 requests") as caught:
                for _ in range(10):
                    client.recommend(user_id="196")
            assert caught.value.retry_after_s is not None
            assert 1 <= caught.value.retry_after_s <= 60
            with pytest.raises(UnauthorizedError):
                client.forget_user("nobody")
        assert key not in repr(client)


def test_both_clients_have_the_same_calls() -> None:
    def signatures(of: type) -> dict[str, Any]:
        found = inspect.getmembers(of, inspect.isfunction)
        return {
            name: inspect.signature(one)
            for name, one in found
            if not name.startswith("_") and name != "close"
        }

    def constructor(of: type) -> list[tuple[str, Any]]:
        parameters = inspect.signature(of).parameters.values()
        return [(one.name, one.default) for one in parameters]

    assert signatures(Client) == signatures(AsyncClient)
    assert len(signatures(Client)) == 9
    assert constructor(Client) == constructor(AsyncClient)


def test_names_and_modules_of_the_package_are_there_when_they_are_asked_for() -> None:
    program = (
        "import sys, longtail_client as client\n"
        "assert not {'httpx', 'pydantic'} & sys.modules.keys()\n"
        "assert {*client.__all__, 'answers'} <= {*dir(client)}\n"
        "assert client.answers.Ready is client.Ready\n"
        "assert all(getattr(client, name) for name in client.__all__)\n"
        "from longtail_client import *\n"
        "assert Client is client.Client\n"
        "client.nothing"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    [*_, last] = found.stderr.splitlines()
    assert last == "AttributeError: module 'longtail_client' has no attribute 'nothing'"
