"""However large a request is, it holds the event loop for no more than some milliseconds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from starlette.testclient import TestClient

from app.http import hot_endpoints
from app.http.requests import MAX_BODY_BYTES, RecommendRequest
from app.recommend import pipeline
from model_store.embedded import EmbeddedStore
from tests.app.conftest import publish_and_activate, serving, settings_for
from tests.app.loop_watch import MAX_HELD_S, shortest_held, watched_loops
from tests.synthetic_bundle import make_bundle, make_catalogue

N_ITEMS = 3_000


@pytest.fixture(scope="module")
def larger(store: EmbeddedStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service of some thousand items."""
    folder = tmp_path_factory.mktemp("larger")
    (folder / "bundles").mkdir()
    catalogue = make_catalogue(n_items=N_ITEMS, n_users=20, history_length=50)
    bundle = make_bundle(folder / "bundle", version="larger-1", catalogue=catalogue)
    publish_and_activate(bundle, folder, store.url)
    with serving(settings_for(store.url, folder)) as http:
        yield http


def item_ids(count: int, seed: int = 0) -> list[str]:
    numbers = random.Random(seed)
    return [f"i{numbers.randrange(1, N_ITEMS + 1)}" for _ in range(count)]


titles = [f"Comedy {n}" for n in range(1_000)]
large: dict[str, tuple[str, dict[str, Any]]] = {
    "k": ("/recommend", {"user_id": "u1", "k": 1_000, "fields": ["title", "genres"]}),
    "history": ("/recommend", {"history": item_ids(10_000)}),
    "lists": ("/recommend", {"user_id": "u1", "candidates": item_ids(10_000),
                             "exclude": item_ids(10_000, 1)}),
    "explain": ("/recommend", {"user_id": "u1", "k": 1_000, "explain": True}),
    "diversity": ("/recommend", {"user_id": "u1", "k": 1_000, "diversity": 0.5}),
    "interests": ("/recommend", {"interests": "a western or a comedy " * 80}),
    "filters": ("/recommend", {"user_id": "u1", "filters": {
        "title": {"none": titles}, "genres": {"all": titles}, "year": {"gte": 1990}}}),
    "users": ("/recommend/batch", {"requests": [
        {"user_id": f"u{n % 20}", "k": 1_000} for n in range(256)]}),
    "histories": ("/recommend/batch", {"requests": [
        {"history": item_ids(700, n)} for n in range(256)]}),
    "many filters": ("/recommend/batch", {"requests": [
        {"user_id": "u1", "filters": {"title": {"any": titles[:300]}}} for _ in range(256)]}),
}  # fmt: skip


@pytest.mark.alone
@pytest.mark.parametrize("kind", large)
def test_a_large_request_holds_the_loop_for_some_milliseconds(
    larger: TestClient, kind: str
) -> None:
    path, body = large[kind]
    larger.post(path, json=body)

    def ask() -> None:
        response = larger.post(path, json=body)
        assert response.status_code == 200, response.text[:500]
        # The answer comes before its callback ends, which is noted once another one is answered.
        larger.get("/health/live")

    with watched_loops() as held:
        seconds, callback = shortest_held(held, ask)
    assert seconds < MAX_HELD_S, callback


@pytest.mark.parametrize(
    ("k", "order"),
    [
        (1_000, ["choose", "others", "respond", "others", "encode"]),
        (100, ["choose", "respond", "encode"]),
    ],
)
def test_others_get_their_turn_before_a_large_answer_is_written_and_encoded(
    larger: TestClient, k: int, order: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def noted(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            seen.append(name)
            asyncio.get_running_loop().call_soon(seen.append, "others")
            return step(*arguments, **options)

        return run

    monkeypatch.setattr(pipeline, "choose", noted("choose", pipeline.choose))
    monkeypatch.setattr(pipeline, "respond", noted("respond", pipeline.respond))
    encode = noted("encode", hot_endpoints.JsonResponse)
    monkeypatch.setattr(hot_endpoints, "JsonResponse", encode)
    response = larger.post("/recommend", json={"user_id": "u1", "k": k})
    assert len(response.json()["items"]) == k
    assert seen[: len(order)] == order


def test_a_large_batch_is_answered_as_its_requests_are(larger: TestClient) -> None:
    requests = [{"history": item_ids(800, n), "k": 20, "diversity": 0} for n in range(256)]
    response = larger.post("/recommend/batch", json={"requests": requests})
    assert response.status_code == 200
    assert len(response.request.read()) > MAX_BODY_BYTES / 2
    answers = response.json()["responses"]
    assert len(answers) == 256
    for number in (0, 100, 255):
        alone = larger.post("/recommend", json=requests[number]).json()
        scores = [item["score"] for item in alone["items"]]
        assert [item["score"] for item in answers[number]["items"]] == pytest.approx(
            scores, rel=1e-5
        )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"k": 0}, "k"),
        ({"k": True}, "k"),
        ({"kk": 1}, "kk"),
        ({"filters": {"year": {}}}, "filters.year"),
        ({"fields": ["nope"]}, "fields[0]"),
    ],
)
def test_a_problem_in_a_large_batch_has_its_place(
    larger: TestClient, change: dict[str, Any], field: str
) -> None:
    requests: list[Any] = [{"history": item_ids(600, n)} for n in range(256)]
    requests[200] |= change
    response = larger.post("/recommend/batch", json={"requests": requests})
    responses = response.json()["responses"]
    assert responses[200]["errors"][0]["field"] == field
    assert sum("items" in one for one in responses) == 255


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"1," * 200_000 + b"1]",
        b'{"requests": [' + b"1," * 200_000 + b"1]}",
        b'{"requests": {"0": "' + b"x" * 400_000 + b'"}}',
        b'{"requests": "' + b"x" * 400_000 + b'"}',
        b'{"requests": [{"history": ["' + b"x" * 400_000 + b'"]}], "more": 1}',
        b'{"requests": [{"user_id": "a"}]' + b" " * 400_000,
        b"x" * 400_000,
    ],
)
def test_a_large_body_that_is_no_batch_is_a_422(larger: TestClient, body: bytes) -> None:
    response = larger.post("/recommend/batch", content=body)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"


def test_large_and_small_batches_are_read_alike() -> None:
    """Parsed in one call or in parts, JSON means the same."""
    full = {
        "user_id": "u", "history": ["a"], "k": 3, "exclude": [], "candidates": None, "diversity": 0,
        "filters": {"year": {"gte": 1990, "lte": 2000.5}, "genres": {"any": ["x"], "none": ["y"]}},
        "exclude_seen": False, "rerank": "always", "deadline_ms": 5, "explain": True,
        "interests": "…", "fields": ["title"],
    }  # fmt: skip
    text = orjson.dumps(full)
    assert RecommendRequest.model_validate(orjson.loads(text)) == (
        RecommendRequest.model_validate_json(text)
    )
