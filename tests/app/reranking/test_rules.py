"""Rules and reranking: what is hidden stays hidden, and jobs are those of the ruled ranking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from starlette.testclient import TestClient

from app.reranking.client import RerankClient
from tests.app.conftest import AS_ADMIN
from tests.app.reranking.conftest import ask, ids_of, measure, serving
from tests.app.reranking.test_precompute import numbers, precompute
from tests.synthetic_reranker import LAYOUT

REQUEST: dict[str, Any] = {"history": ["i1", "i2"], "k": 12, "rerank": "always"}


def put(http: TestClient, *rules: dict[str, Any]) -> None:
    answer = http.put("/admin/rules", json={"rules": list(rules)}, headers=AS_ADMIN)
    assert answer.status_code == 200, answer.text


def test_a_hidden_item_does_not_come_back_through_the_cache(http: TestClient) -> None:
    measure(http)
    ask(http, **REQUEST)
    answer = ask(http, **REQUEST)
    assert answer["rerank"] == "cached"
    hidden = ids_of(answer)[:2]
    put(http, {"name": "h", "action": "hide", "item_ids": hidden})
    for _ in range(2):
        answer = ask(http, **REQUEST)
        assert not set(ids_of(answer)) & set(hidden)
        assert len(answer["items"]) == 12
    assert answer["rerank"] == "cached"
    put(http)
    assert ids_of(ask(http, **REQUEST))[:2] == hidden


def test_pins_and_caps_act_on_the_reranked_order(http: TestClient) -> None:
    measure(http)
    ask(http, **REQUEST)
    reranked = ids_of(ask(http, **REQUEST))
    whole = ids_of(ask(http, **{**REQUEST, "k": 60, "rerank": "never"}))
    pinned = whole[-1]
    put(http, {"name": "p", "action": "pin", "item_id": pinned, "rank": 2})
    answer = ask(http, **REQUEST, explain=True)
    assert answer["rerank"] == "cached"
    assert ids_of(answer) == [reranked[0], pinned, *reranked[1:11]]
    explained = answer["items"][1]["explanation"]
    assert explained["rules"] == [{"name": "p", "action": "pin", "rank": 2}]
    assert (explained["rerank"]["base_rank"], explained["rerank"]["llm_rank"]) == (None, None)
    document = http.get("/openapi.json").json()
    schema = {"$ref": "#/components/schemas/RecommendResponse"}
    validator = Draft202012Validator({**schema, "components": document["components"]})
    assert list(validator.iter_errors(answer)) == []
    put(http, {"name": "c", "action": "cap", "attribute": "genres", "at_most": 1})
    shown = ask(http, **REQUEST)
    put(http)
    whole_answer = ask(http, **{**REQUEST, "k": 60}, fields=["genres"])
    expected: list[str] = []
    full: set[str] = set()
    for item in whole_answer["items"]:
        if not full & set(item["fields"]["genres"]):
            full.update(item["fields"]["genres"])
            expected.append(item["item_id"])
    assert shown["rerank"] == whole_answer["rerank"] == "cached"
    assert ids_of(shown) == expected


def test_candidates_are_those_after_boosts(http: TestClient) -> None:
    measure(http)
    whole = ids_of(ask(http, **{**REQUEST, "k": 60, "rerank": "never"}))
    last = whole[-1]
    put(http, {"name": "b", "action": "boost", "item_ids": [last], "factor": 1e6})
    ask(http, **REQUEST)
    answer = ask(http, **REQUEST, explain=True)
    assert answer["rerank"] == "cached"
    [item] = [item for item in answer["items"] if item["item_id"] == last]
    assert item["explanation"]["rerank"]["base_rank"] == 1
    assert 1 <= item["explanation"]["rerank"]["llm_rank"] <= LAYOUT.n_candidates


def test_answers_made_before_users_come_follow_the_rules(
    url: str, folder: Path, socket: Path
) -> None:
    with serving(RerankClient(socket), url, folder) as http:
        users = [f"u{n}" for n in range(1, 13)]
        first = ids_of(ask(http, user_id="u1", rerank="never"))[0]
        put(http, {"name": "h", "action": "hide", "item_ids": [first]})
        status, out, err = precompute(url, folder, "--users", "all")
        assert (status, numbers(out)[0]) == (0, 12), err
        outcomes = [ask(http, user_id=user, rerank="always")["rerank"] for user in users]
        assert outcomes == ["cached"] * 12
