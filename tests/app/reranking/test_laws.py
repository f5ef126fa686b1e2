"""Laws of reranked answers: nothing is lost, repeated or let in that the base would not have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from model_store.aggregation import aggregate
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.store import connect
from tests.app.conftest import publish_and_activate
from tests.app.reranking.conftest import ask, ids_of, measure, serving
from tests.app.reranking.fake_reranker import FakeReranker, scores_of
from tests.synthetic_bundle import GENRES, Catalogue
from tests.synthetic_reranker import LAYOUT

law = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
item_ids = st.integers(1, 60).map(lambda n: f"i{n}")
requests = st.fixed_dictionaries(
    {
        "history": st.lists(item_ids, min_size=1, max_size=30),
        "k": st.integers(1, 70),
        "exclude": st.lists(item_ids, max_size=55),
        "exclude_seen": st.booleans(),
        "candidates": st.none() | st.lists(item_ids, max_size=40),
        "filters": st.none()
        | st.lists(st.sampled_from(GENRES), min_size=1, max_size=3).map(
            lambda genres: {"genres": {"any": genres}}
        ),
    }
)


@pytest.fixture(scope="module")
def http(
    store: EmbeddedStore, rerank_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    """A service whose reranker answers at once."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "bundles").mkdir()
    with connect(store.url) as client:
        client.flushall()
    publish_and_activate(rerank_bundle, folder, store.url)
    with serving(FakeReranker(), store.url, folder) as http:
        measure(http)
        yield http


@law
@given(request=requests)
def test_the_answer_is_the_base_ranking_with_its_head_in_another_order(
    http: TestClient, rerank_bundle: Bundle, catalogue: Catalogue, request: dict[str, Any]
) -> None:
    whole = ask(http, **{**request, "k": 60}, rerank="never")
    base = ids_of(whole)
    scores = {item["item_id"]: item["score"] for item in whole["items"]}
    answer = ask(http, **request, rerank="always")
    head = base[: LAYOUT.n_candidates]
    expected = base
    if len(head) >= 2:
        assert answer["rerank"] in ("fresh", "cached")
        assert rerank_bundle.manifest.reranker is not None
        weight = rerank_bundle.manifest.reranker.weighting.weight(len(request["history"]))
        order = aggregate(scores_of(tuple(catalogue.ids.indices(head)[0].tolist())), weight)
        expected = [*(head[place] for place in order), *base[len(head) :]]
    assert ids_of(answer) == expected[: request["k"]]
    for rank, item in enumerate(answer["items"], start=1):
        assert item["rank"] == rank
        assert item["score"] == pytest.approx(scores[item["item_id"]], abs=1e-6)


@law
@given(request=requests, diversity=st.floats(0.01, 1))
def test_diversity_chooses_from_the_same_items_by_their_new_ranks(
    http: TestClient, request: dict[str, Any], diversity: float
) -> None:
    allowed = ids_of(ask(http, **{**request, "k": 60}, rerank="never"))
    answer = ids_of(ask(http, **request, rerank="always", diversity=diversity))
    assert len(set(answer)) == len(answer) == min(request["k"], len(allowed))
    assert set(answer) <= set(allowed)
    if diversity < 1 and answer:
        # The most relevant item is the first of the new order.
        assert answer[0] == ids_of(ask(http, **{**request, "k": 1}, rerank="always"))[0]
        base = ids_of(ask(http, **request, rerank="never", diversity=diversity))
        assert len(base) == len(answer)


def test_little_diversity_keeps_the_new_order(http: TestClient) -> None:
    request = {"history": ["i1", "i2", "i3"], "k": 10, "rerank": "always"}
    plain = ids_of(ask(http, **request))
    assert ids_of(ask(http, **request, diversity=1e-6)) == plain
    assert plain != ids_of(ask(http, **{**request, "rerank": "never"}))


def test_the_law_sees_orders_that_differ(http: TestClient) -> None:
    """The reranker of these tests does change orders, or they would show nothing."""
    changed = 0
    for n in range(1, 11):
        request = {"history": [f"i{n}"], "k": 6}
        base, answer = (ask(http, **request, rerank=rerank) for rerank in ("never", "always"))
        changed += ids_of(base) != ids_of(answer)
        assert np.array_equal(sorted(ids_of(base)), sorted(ids_of(answer)))
    assert changed >= 8
