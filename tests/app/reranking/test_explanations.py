"""What explanations say of a rerank, over HTTP."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient

from model_store.bundle import Bundle
from tests.app.conftest import (
    wait_for,
)
from tests.app.reranking.conftest import ask, ids_of, measure, metric
from tests.app.reranking.fake_reranker import scores_of
from tests.synthetic_bundle import Catalogue
from tests.synthetic_reranker import LAYOUT


def test_explanations_name_both_ranks(
    http: TestClient, rerank_bundle: Bundle, catalogue: Catalogue
) -> None:
    measure(http)
    request: dict[str, Any] = {"history": ["i1", "i2"], "k": 12, "rerank": "always"}
    base = ids_of(ask(http, **{**request, "rerank": "never"}))
    for outcome in ("fresh", "cached"):
        answer = ask(http, **request, explain=True)
        assert answer["rerank"] == outcome
        candidates = base[: LAYOUT.n_candidates]
        scores = scores_of(tuple(catalogue.ids.indices(candidates)[0].tolist()))
        by_llm = [candidates[place] for place in np.argsort(-scores, kind="stable")]
        assert rerank_info(rerank_bundle).weight(2) > 0
        for item in answer["items"]:
            item_id, explained = item["item_id"], item["explanation"]["rerank"]
            assert explained == {
                "outcome": outcome,
                "base_rank": base.index(item_id) + 1,
                "llm_rank": by_llm.index(item_id) + 1 if item_id in candidates else None,
                "weight": pytest.approx(rerank_info(rerank_bundle).weight(2)),
                "similar_user": "u3",
            }
        assert ids_of(answer) != base
    never = ask(http, **{**request, "rerank": "never"}, explain=True)
    assert all("rerank" not in item["explanation"] for item in never["items"])


def rerank_info(bundle: Bundle) -> Any:
    assert bundle.manifest.reranker is not None
    return bundle.manifest.reranker.weighting


def test_an_answer_that_is_not_there_yet_is_explained_by_the_base_ranks(http: TestClient) -> None:
    answer = ask(http, history=["i1", "i2"], rerank="always", explain=True)
    assert answer["rerank"] == "pending"
    for item in answer["items"]:
        explained = item["explanation"]["rerank"]
        assert (explained["outcome"], explained["llm_rank"]) == ("pending", None)
        assert explained["base_rank"] == item["rank"]


def test_reranked_answers_fit_the_document(http: TestClient) -> None:
    document = http.get("/openapi.json").json()
    schema = {"$ref": "#/components/schemas/RecommendResponse"}
    validator = Draft202012Validator({**schema, "components": document["components"]})
    for rerank in ("never", "always", "always"):
        answer = ask(http, history=["i1", "i2"], rerank=rerank, explain=True)
        assert list(validator.iter_errors(answer)) == []
        wait_for(lambda: metric(http, "longtail_rerank_in_flight") == 0)
    assert answer["rerank"] == "cached"
    described = document["components"]["schemas"]["Reranked"]["properties"]
    assert answer["items"][0]["explanation"]["rerank"].keys() == described.keys()
