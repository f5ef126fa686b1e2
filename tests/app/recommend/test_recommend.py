"""Laws of POST /recommend, over HTTP, on a real model and a real store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from model_store import id_map
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.id_table import IdTable
from tests.app.conftest import publish_and_activate, serving, settings_for
from tests.synthetic_bundle import GENRES, Catalogue, expected_scores

# The service is shared by all examples on purpose: nothing of a request may stay behind.
law = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
items = st.integers(1, 64).map(lambda n: f"i{n}")  # the catalogue ends at i60
item_lists = st.lists(items, max_size=15)
filters = st.fixed_dictionaries(
    {},
    optional={
        "genres": st.fixed_dictionaries(
            {"any": st.lists(st.sampled_from(GENRES), min_size=1, max_size=3)},
            optional={"none": st.lists(st.sampled_from(GENRES), min_size=1, max_size=2)},
        ),
        "year": st.fixed_dictionaries({"gte": st.integers(1975, 2010)}),
    },
)
whom = st.one_of(
    st.fixed_dictionaries({"history": item_lists}),
    st.fixed_dictionaries({"user_id": st.sampled_from(["u1", "u2", "u3", "nobody"])}),
    st.fixed_dictionaries({"interests": st.sampled_from(["comedy", "a western", "", "?"])}),
)
requests = st.builds(
    lambda who, rest: {**who, **rest},
    whom,
    st.fixed_dictionaries(
        {"k": st.integers(1, 80)},
        optional={
            "exclude": item_lists,
            "candidates": st.none() | st.lists(items, max_size=40),
            "filters": filters,
            "exclude_seen": st.booleans(),
            "diversity": st.sampled_from([0.0, 0.3, 1.0]),
            "explain": st.booleans(),
            "fields": st.just(["title", "genres"]),
        },
    ),
)


def ask(http: TestClient, **request: Any) -> dict[str, Any]:
    response = http.post("/recommend", json=request)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def ids_of(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def history_of(request: dict[str, Any], made: Catalogue) -> list[str]:
    if request.get("history") is not None:
        return [item_id for item_id in request["history"] if item_id in made.ids]
    stored = made.histories.get(request.get("user_id", ""), np.array([], dtype=np.int32))
    return [made.ids.id_of(int(index)) for index in stored]


def allowed(request: dict[str, Any], made: Catalogue) -> set[str]:
    left = set(made.ids.ids) - set(request.get("exclude") or ())
    if request.get("candidates") is not None:
        left &= set(request["candidates"])
    if request.get("exclude_seen", True):
        left -= set(history_of(request, made))
    rules = request.get("filters", {})
    for item_id in set(left):
        row = made.attributes.row(made.ids.index_of(item_id) or 0)
        genres = set(row["genres"])  # type: ignore[arg-type]
        if "genres" in rules and (
            not genres & set(rules["genres"]["any"])
            or genres & set(rules["genres"].get("none", ()))
        ):
            left.discard(item_id)
        if "year" in rules and not (row["year"] and row["year"] >= rules["year"]["gte"]):  # type: ignore[operator]
            left.discard(item_id)
    return left


@law
@given(request=requests)
def test_k_items_whenever_k_are_allowed_and_never_another(
    http: TestClient, catalogue: Catalogue, request: dict[str, Any]
) -> None:
    answer = ask(http, **request)
    may = allowed(request, catalogue)
    found = ids_of(answer)
    assert set(found) <= may
    assert len(found) == len(set(found)) == min(request["k"], len(may))
    assert [item["rank"] for item in answer["items"]] == list(range(1, len(found) + 1))
    assert all(np.isfinite(item["score"]) for item in answer["items"])


@law
@given(batch=st.lists(requests, min_size=1, max_size=12))
def test_a_batch_equals_single_requests(http: TestClient, batch: list[dict[str, Any]]) -> None:
    response = http.post("/recommend/batch", json={"requests": batch})
    assert response.status_code == 200, response.text
    together = response.json()["responses"]
    assert len(together) == len(batch)
    for request, found in zip(batch, together, strict=True):
        alone = ask(http, **request)
        for field in ("user_id", "served_by", "degraded", "model_version"):
            assert found[field] == alone[field]
        for one, other in zip(found["items"], alone["items"], strict=True):
            # Items alike in all change places by rounding: another number of rows, other kernels.
            may_differ = 1e-4 if one["item_id"] == other["item_id"] else 1e-6
            assert one["score"] == pytest.approx(other["score"], abs=may_differ)


@law
@given(history=st.lists(items.filter(lambda i: int(i[1:]) <= 60), min_size=1, max_size=70))
def test_plain_ranking_is_the_models_own(
    http: TestClient, catalogue: Catalogue, history: list[str]
) -> None:
    indices, _ = catalogue.ids.indices(history)
    scores = expected_scores(catalogue.table, indices)
    for diversity in ({}, {"diversity": 0}):
        answer = ask(http, history=history, k=60, exclude_seen=False, **diversity)
        got = [item["score"] for item in answer["items"]]
        wanted = [scores[catalogue.ids.index_of(item_id) or 0] for item_id in ids_of(answer)]
        assert got == pytest.approx(wanted, abs=1e-4)
        assert got == sorted(got, reverse=True)
        assert answer["served_by"] == "model"


def test_unknown_items_are_dropped_and_counted(http: TestClient) -> None:
    answer = ask(http, history=["i1", "x", "y", "i2"], candidates=["i3", "z"])
    assert answer["degraded"] == ["unknown_candidates:1", "unknown_items:2"]
    assert ids_of(answer) == ids_of(ask(http, history=["i1", "i2"], candidates=["i3"]))


def test_a_given_history_replaces_the_stored_one(http: TestClient) -> None:
    stored, given_one = ask(http, user_id="u1"), ask(http, user_id="u1", history=["i1"])
    assert given_one["user_id"] == "u1"
    assert ids_of(given_one) == ids_of(ask(http, history=["i1"])) != ids_of(stored)


def test_served_by_names_the_source(http: TestClient, catalogue: Catalogue) -> None:
    assert ask(http, user_id="u1", interests="comedy")["served_by"] == "model"
    assert ask(http, user_id="nobody", interests="comedy")["served_by"] == "cold_start"
    assert ask(http, history=[], interests="comedy")["served_by"] == "cold_start"
    assert ask(http, history=["unheard of"], interests="comedy")["served_by"] == "cold_start"
    assert ask(http, interests="")["served_by"] == "popular"
    popular = ask(http, user_id="nobody", k=60)
    assert popular["served_by"] == "popular"
    counts = [catalogue.popularity[catalogue.ids.index_of(i) or 0] for i in ids_of(popular)]
    assert counts == sorted(catalogue.popularity[1:], reverse=True)


def test_interests_find_items_of_their_kind(http: TestClient) -> None:
    answer = ask(http, interests="Horror!", k=3, fields=["genres"])
    assert all("horror" in item["fields"]["genres"] for item in answer["items"])


def test_seen_items_come_back_only_when_asked_for(http: TestClient, catalogue: Catalogue) -> None:
    seen = {catalogue.ids.id_of(int(index)) for index in catalogue.histories["u1"]}
    assert not seen & set(ids_of(ask(http, user_id="u1", k=60)))
    assert seen <= set(ids_of(ask(http, user_id="u1", k=60, exclude_seen=False)))


def test_cold_start_and_popular_explain_themselves(http: TestClient, catalogue: Catalogue) -> None:
    [near] = ask(http, interests="comedy", k=1, explain=True)["items"]
    assert near["explanation"]["similarity"] == near["score"]
    [liked] = ask(http, user_id="nobody", k=1, explain=True)["items"]
    share = catalogue.popularity.max() / catalogue.popularity.sum()
    assert liked["explanation"]["share"] == pytest.approx(share)
    assert ask(http, interests="comedy", k=1)["items"][0]["explanation"] is None


def test_fields_come_with_each_item_and_missing_values_are_null(
    http: TestClient, catalogue: Catalogue
) -> None:
    answer = ask(http, history=["i1"], k=60, exclude_seen=False, fields=["year", "title"])
    for item in answer["items"]:
        index = catalogue.ids.index_of(item["item_id"])
        assert index is not None
        assert item["fields"] == catalogue.attributes.row(index, ["year", "title"])


def test_headers_and_body_agree(http: TestClient) -> None:
    response = http.post(
        "/recommend", json={"user_id": "u1"}, headers={"X-Request-ID": "mine-1.2:3"}
    )
    answer = response.json()
    assert response.headers["X-Request-ID"] == answer["request_id"] == "mine-1.2:3"
    assert response.headers["X-Model-Version"] == answer["model_version"] == "made-1"
    stages = [part.partition(";dur=") for part in response.headers["Server-Timing"].split(", ")]
    assert [stage for stage, _, _ in stages] == list(answer["timings_ms"])
    for stage, _, milliseconds in stages:
        assert float(milliseconds) == pytest.approx(answer["timings_ms"][stage], abs=1e-3)
    assert answer["rerank"] == "skipped"


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, 'quote"', "new\tline"])
def test_a_request_id_that_is_not_sane_is_replaced(http: TestClient, sent: str) -> None:
    response = http.post("/recommend", json={"history": []}, headers={"X-Request-ID": sent})
    assert response.headers["X-Request-ID"] not in {sent, ""}


def test_similar_items(http: TestClient, catalogue: Catalogue) -> None:
    document = http.get("/items/i5/similar", params={"k": 60, "fields": "title,year"}).json()
    unit = catalogue.table[1:] / np.linalg.norm(catalogue.table[1:], axis=1, keepdims=True)
    cosines = unit @ unit[4]
    order = [i for i in np.argsort(-cosines, kind="stable").tolist() if i != 4]
    assert ids_of(document) == [f"i{index + 1}" for index in order]
    assert document["items"][0]["score"] == pytest.approx(cosines[order[0]], abs=1e-5)
    assert set(document["items"][0]["fields"]) == {"title", "year"}
    missing = http.get("/items/a%2Fb%20c/similar")
    assert missing.status_code == 404
    assert "'a/b c' is unknown" in missing.json()["detail"]


def test_many_exclusions_are_looked_up_together(
    http: TestClient,
    store: EmbeddedStore,
    synthetic_bundle: Bundle,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A service of few items with the table of a large one answers as before, from its table."""
    asked: list[int] = []

    def find(table: IdTable, ids: list[str]) -> Any:
        asked.append(len(ids))
        return found_by(table, ids)

    found_by = IdTable.find
    monkeypatch.setattr(IdTable, "find", find)
    monkeypatch.setattr(id_map, "FEWEST_IN_TABLE", 10)
    monkeypatch.setattr(id_map, "FEWEST_TOGETHER", 20)
    request = {"history": ["i1", "i2"], "k": 60, "exclude": [f"i{n}" for n in range(30, 90)]}
    expected = ids_of(ask(http, **request))
    publish_and_activate(synthetic_bundle, folder, store.url)
    with serving(settings_for(store.url, folder)) as quick:
        answer = ask(quick, **request)
    assert 60 in asked
    assert ids_of(answer) == expected
    assert len(expected) == 27


def test_numbers_have_six_significant_digits(http: TestClient) -> None:
    def numbers(part: object) -> Iterator[float]:
        if isinstance(part, float):
            yield part
        elif isinstance(part, dict | list):
            for one in part.values() if isinstance(part, dict) else part:
                yield from numbers(one)

    answers = [
        ask(http, history=["i1", "i2", "i3"], explain=True, diversity=0.3),
        ask(http, interests="a film about war", explain=True),
        ask(http, user_id="somebody new", explain=True),
        http.get("/items/i1/similar").json(),
    ]
    for answer in answers:
        timings = answer.pop("timings_ms", {})
        found = list(numbers(answer))
        assert len(found) >= 10
        assert [float(f"{number:.6g}") for number in found] == found
        assert all(round(number, 3) == number for number in timings.values())
