"""`degraded` names the missing parts: interests, the reranker, filters that match nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from starlette.testclient import TestClient

from model_store.embedded import EmbeddedStore
from tests.app.conftest import publish_and_activate, serving, settings_for
from tests.synthetic_bundle import Catalogue, make_bundle, make_catalogue, sequence_graph

law = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def ask(http: TestClient, **request: Any) -> dict[str, Any]:
    response = http.post("/recommend", json=request)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def ids_of(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


# --- interests ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "interests", ["", "   ", "\t\n ", "?!", "…", "— - –", "\u200b", " \u200b  ", "zxqv", "🦄🦄"]
)
def test_uninformative_interests_are_answered_by_popularity_and_named(
    http: TestClient, interests: str
) -> None:
    popular = ask(http, user_id="nobody", k=20)
    assert popular["degraded"] == []
    for whom in ({}, {"user_id": "nobody"}, {"history": []}):
        answer = ask(http, interests=interests, k=20, **whom)
        assert answer["served_by"] == "popular"
        assert answer["degraded"] == ["interests"]
        assert ids_of(answer) == ids_of(popular)


def test_interests_with_punctuation_are_still_informative(http: TestClient) -> None:
    answer = ask(http, interests=" ...comedy?! ", k=5)
    assert (answer["served_by"], answer["degraded"]) == ("cold_start", [])


def test_interests_that_are_not_needed_are_not_missed(http: TestClient) -> None:
    answer = ask(http, user_id="u1", interests="  ")
    assert (answer["served_by"], answer["degraded"]) == ("model", [])


def test_one_blank_text_in_a_batch_leaves_the_others_alone(http: TestClient) -> None:
    requests = [{"interests": text, "k": 5} for text in ("comedy", " ", "a western", "?")]
    answers = http.post("/recommend/batch", json={"requests": requests}).json()["responses"]
    assert [answer["served_by"] for answer in answers] == ["cold_start", "popular"] * 2
    assert [answer["degraded"] for answer in answers] == [[], ["interests"]] * 2
    for request, answer in zip(requests, answers, strict=True):
        assert ids_of(answer) == ids_of(ask(http, **request))


def test_interests_without_a_text_encoder_are_named(folder: Path) -> None:
    bundle = make_bundle(folder / "plain", version="plain-1", with_encoder=False)
    # A store of its own: the other tests' service follows what is active in theirs.
    with EmbeddedStore(folder / "store") as store:
        publish_and_activate(bundle, folder, store.url)
        with serving(settings_for(store.url, folder)) as http:
            answer = ask(http, interests="comedy")
    assert (answer["served_by"], answer["degraded"]) == ("popular", ["interests"])


# --- the reranker ---------------------------------------------------------------------------


@pytest.mark.parametrize("whom", [{"user_id": "u1"}, {"history": []}, {"interests": "comedy"}])
def test_asking_always_for_a_reranker_is_reported_as_degraded(
    http: TestClient, whom: dict[str, Any]
) -> None:
    always = ask(http, **whom, rerank="always")
    assert (always["rerank"], always["degraded"]) == ("skipped", ["rerank"])
    for rerank in ("auto", "never"):
        other = ask(http, **whom, rerank=rerank)
        assert (other["rerank"], other["degraded"]) == ("skipped", [])
        # Of equal items, the order can change by rounding.
        scores = [item["score"] for item in always["items"]]
        assert [item["score"] for item in other["items"]] == pytest.approx(scores, abs=1e-6)


# --- filters --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filters", "labels"),
    [
        ({"genres": {"any": ["Comedy"]}}, ['no_match: genres "Comedy"']),
        ({"genres": {"any": ["comedy", "Comedy"]}}, ['no_match: genres "Comedy"']),
        ({"genres": {"all": ["comedy", "Drama"]}}, ['no_match: genres "Drama"']),
        ({"genres": {"none": ["Horror"]}}, ['no_match: genres "Horror"']),
        ({"title": {"any": [""]}}, ['no_match: title ""']),
        ({"title": {"any": ['say "hi"\n']}}, [r'no_match: title "say \"hi\"\n"']),
        ({"year": {"gte": 3000}}, ["no_match: year gte 3000"]),
        ({"year": {"gte": 1990.5, "lte": 1990.25}}, ["no_match: year gte 1990.5",
                                                     "no_match: year lte 1990.25"]),
        ({"genres": {"all": ["comedy"], "none": ["comedy"]}}, ["no_match: filters"]),
        ({"genres": {"any": ["comedy"]}, "year": {"gte": 1980}}, []),
    ],
)  # fmt: skip
def test_conditions_that_no_item_meets_are_named(
    http: TestClient, filters: dict[str, Any], labels: list[str]
) -> None:
    assert ask(http, user_id="u1", filters=filters)["degraded"] == labels


@law
@given(
    values=st.lists(st.text(st.characters(codec="utf-8"), max_size=512), min_size=1, max_size=50)
)
def test_labels_are_few_and_short(http: TestClient, values: list[str]) -> None:
    answer = ask(http, user_id="u1", filters={"title": {"any": values}})
    assert 1 <= len(answer["degraded"]) <= 6
    assert all(label.startswith("no_match: ") for label in answer["degraded"])
    assert all(len(label) <= 400 for label in answer["degraded"])
    n_more = len(set(values)) - 5
    if n_more > 0:
        assert answer["degraded"][-1] == f"no_match: {n_more} more"


def test_labels_are_counted_by_kind(http: TestClient) -> None:
    ask(http, user_id="u1", filters={"genres": {"any": ["Comedy"]}}, rerank="always")
    metrics = http.get("/metrics").text
    for kind in ("no_match", "rerank"):
        counted = f'longtail_degraded_total{{arm="",version="made-1",what="{kind}"}}'
        assert counted in metrics


def test_a_batch_names_the_missing_parts_of_each_request(http: TestClient) -> None:
    requests = [
        {"user_id": "u1"},
        {"user_id": "u1", "filters": {"genres": {"any": ["Comedy"]}}},
        {"user_id": "u1", "rerank": "always"},
    ]
    answers = http.post("/recommend/batch", json={"requests": requests}).json()["responses"]
    labels = [answer["degraded"] for answer in answers]
    assert labels == [[], ['no_match: genres "Comedy"'], ["rerank"]]


def test_each_label_of_a_batch_is_counted(http: TestClient) -> None:
    filters = {"genres": {"any": ["Comedy", "Wstern"]}}
    plain = [{"user_id": "u1"}] * 3
    missing = [{"user_id": f"u{n}", "filters": filters, "rerank": "always"} for n in range(7)]

    def counts() -> list[float]:
        lines = dict(line.rsplit(" ", 1) for line in http.get("/metrics").text.splitlines())
        degraded = 'longtail_degraded_total{{arm="",version="made-1",what="{}"}}'.format
        outcome = 'longtail_rerank_outcomes_total{arm="",outcome="skipped",version="made-1"}'
        series = (degraded("no_match"), degraded("rerank"), outcome)
        return [float(lines.get(one, 0)) for one in series]

    before = counts()
    body = {"requests": [*plain, *missing]}
    http.post("/recommend/batch", json=body).raise_for_status()
    assert [after - earlier for after, earlier in zip(counts(), before, strict=True)] == [14, 7, 7]


# --- numbers --------------------------------------------------------------------------------


def overflowing_graph(plain: onnx.ModelProto, size: int) -> onnx.ModelProto:
    """The graph with its user vectors' last number multiplied by as much as 32 bits hold."""
    factors = numpy_helper.from_array(np.array([1] * (size - 1) + [3e38], np.float32), "factors")
    plain.graph.initializer.append(factors)
    [divide] = [node for node in plain.graph.node if node.output == ["user"]]
    divide.output[:] = ["plain_user"]
    multiply = helper.make_node("Mul", ["plain_user", "factors"], ["user"])
    plain.graph.node.insert(list(plain.graph.node).index(divide) + 1, multiply)
    return plain


@pytest.fixture(scope="module")
def overflowing(
    store: EmbeddedStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    """A graph that overflows for whoever had i99 or i100, as no probe and no golden request did."""
    catalogue, folder = make_catalogue(n_items=200), tmp_path_factory.mktemp("overflowing")
    table = np.hstack([catalogue.table, np.zeros((201, 1), np.float32)])
    table[99:101] = 0
    table[99, -1], table[100, -1] = 0.5, 1_000
    histories = {
        user: items[(items != 99) & (items != 100)] for user, items in catalogue.histories.items()
    }
    catalogue = Catalogue(**{**catalogue.__dict__, "table": table, "histories": histories})
    (folder / "bundles").mkdir()
    bundle = make_bundle(
        folder / "bundle",
        version="long-1",
        catalogue=catalogue,
        with_encoder=False,
        graph=overflowing_graph(sequence_graph(), table.shape[1]),
    )
    publish_and_activate(bundle, folder, store.url)
    with serving(settings_for(store.url, folder)) as http:
        yield http


@pytest.mark.parametrize("more", [{}, {"explain": True}, {"diversity": 0.5}])
@pytest.mark.parametrize(
    ("request_", "served_by"),
    [
        ({"history": ["i1", "i2"]}, "model"),
        ({"history": ["i99"], "exclude": ["i100"]}, "model"),  # the others score 0
        ({"history": ["i99"]}, "popular"),  # i100 scores infinity
        ({"history": ["i100", "i1"]}, "popular"),  # none scores a number
        ({"history": ["i100"], "candidates": ["i1", "i2", "i3"]}, "popular"),
    ],
)
def test_a_model_that_overflows_for_a_history_is_replaced_by_popularity(
    overflowing: TestClient, request_: dict[str, Any], served_by: str, more: dict[str, Any]
) -> None:
    answer = ask(overflowing, k=20, **request_, **more)
    assert answer["served_by"] == served_by
    assert answer["degraded"] == (["model"] if served_by == "popular" else [])
    assert len(answer["items"]) == len(request_.get("candidates", range(20)))
    assert all(math.isfinite(item["score"]) for item in answer["items"])
    for item in answer["items"]:
        assert (item["explanation"] is not None) == ("explain" in more)
