"""The judge of answers with and without reranking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadtest.bench.bundles import BundleFiles
from loadtest.bench.plan import K
from loadtest.bench.tail_load import Answers, Crowd, Verdict, Visit
from loadtest.errors import WorkloadError
from loadtest.rerank_endpoint import relevance
from tests.loadtest.tiny_bundles import N_ITEMS, TinyBundles

BASE = [f"i{n}" for n in range(K)]
MOVED = BASE[::-1]


def answer(label: str, *degraded: str, ids: list[str] = BASE, user_id: str = "u") -> dict[str, Any]:
    return {
        "request_id": "r",
        "user_id": user_id,
        "model_version": "v",
        "served_by": "model",
        "rerank": label,
        "degraded": list(degraded),
        "items": [
            {"item_id": item_id, "rank": n, "score": 9.0 - BASE.index(item_id)}
            for n, item_id in enumerate(ids, 1)
        ],
        "timings_ms": {"features": 1, "inference": 1, "rerank": 1, "total": 3},
    }


def of(document: dict[str, Any] | None, status: int = 200) -> Answers:
    return Answers(np.ones(1), [status], [document])


def judged(
    given: Answers, base: Answers | None = None, *, is_tail: bool = True, may_rerank: bool = True
) -> Verdict:
    verdict = Verdict()
    visit = Visit(is_tail, {"user_id": "u"})
    base = of(answer("skipped")) if base is None else base
    verdict.judge([visit], given, base, may_rerank=may_rerank)
    return verdict


@pytest.mark.parametrize(
    ("document", "is_tail"),
    [
        (answer("fresh", ids=MOVED), True),
        (answer("cached", ids=MOVED), True),
        (answer("pending"), True),
        (answer("timed_out"), True),
        (answer("skipped", "rerank"), True),
        (answer("skipped"), False),
        # Made without a history: its items are others.
        (answer("pending", "history", ids=MOVED), True),
    ],
)
def test_truthful_labels(document: dict[str, Any], is_tail: bool) -> None:
    verdict = judged(of(document), is_tail=is_tail)
    assert verdict.faults == {}
    assert verdict.outcomes == ({document["rerank"]: 1} if is_tail else {})
    assert verdict.unmoved == 0


@pytest.mark.parametrize(
    ("document", "is_tail", "fault"),
    [
        (answer("pending", ids=MOVED), True, "labelled pending, and not in the base order"),
        (answer("skipped"), True, "skipped with degraded []"),
        (answer("fresh", "rerank", ids=MOVED), True, "fresh with degraded ['rerank']"),
        (answer("cached", ids=MOVED), False, "a head user's answer is labelled cached"),
        (answer("skipped", "rerank"), False, "skipped with degraded ['rerank']"),
        (answer("pending", ids=BASE[:9]), True, "9 items instead of 10"),
        (answer("perhaps"), True, "rerank is 'perhaps'"),
        (answer("pending", user_id="w"), True, "user_id is 'w', asked for 'u'"),
    ],
)
def test_each_wrong_answer_is_a_fault(document: dict[str, Any], is_tail: bool, fault: str) -> None:
    assert judged(of(document), is_tail=is_tail).faults == {fault: 1}


def test_answers_without_a_document_are_faults_and_a_rejection_is_none() -> None:
    assert judged(of(None, 503)).faults == {"status 503": 1}
    assert judged(of(None, 0)).faults == {"no answer": 1}
    assert judged(of(None)).faults == {"the answer is not a JSON object": 1}
    rejected = judged(of(None, 429))
    assert (rejected.faults, rejected.rejected) == ({}, 1)


def test_items_that_rounding_alone_tells_apart_may_swap_ranks() -> None:
    def swapped(difference: float) -> dict[str, Any]:
        document = answer("skipped", "rerank", ids=[BASE[1], BASE[0], *BASE[2:]])
        for item, score in zip(document["items"], (9.0, 9.0 - difference), strict=False):
            item["score"] = score
        return document

    base = answer("skipped")
    base["items"][1]["score"] = 9.0 - 1e-6
    assert judged(of(swapped(1e-6)), of(base)).faults == {}
    wrong = "labelled skipped, and not in the base order"
    assert judged(of(swapped(1e-2)), of(base)).faults == {wrong: 1}


def test_where_nothing_ranks_no_answer_is_reranked() -> None:
    verdict = judged(of(answer("fresh", ids=MOVED)), may_rerank=False)
    assert verdict.faults == {"labelled fresh, where nothing ranks": 1}
    assert judged(of(answer("cached"))).unmoved == 1


def test_a_request_with_never_is_never_reranked() -> None:
    verdict = judged(of(answer("pending")), of(answer("pending")))
    assert verdict.faults == {"never is labelled pending, degraded []": 1}


def test_a_third_of_the_visits_are_of_tail_users_half_of_them_new(tmp_path: Path) -> None:
    files = BundleFiles(TinyBundles(tmp_path).get(N_ITEMS, reranker_layers=1))
    limit = files.tail_interactions
    offsets = np.load(files.folder / "user_offsets.npy")
    lengths = {f"u{n}": length for n, length in enumerate(np.diff(offsets).tolist(), start=1)}
    crowd = Crowd(files, "seed")
    visits = crowd.visits(2_000)
    tail = [visit.body for visit in visits if visit.is_tail]
    new = [body for body in tail if "history" in body]
    assert 0.27 < len(tail) / len(visits) < 0.33
    assert 0.4 < len(new) / len(tail) < 0.6
    assert {len(body["history"]) for body in new if isinstance(body["history"], list)} == {limit}
    ids = [body["user_id"] for body in new]
    assert len(set(ids)) == len(ids)
    assert {visit.body["user_id"] for visit in crowd.visits(100)}.isdisjoint(ids)
    for visit in visits:
        if "history" not in visit.body:
            assert (lengths[str(visit.body["user_id"])] <= limit) == visit.is_tail


def test_a_bundle_without_a_reranker_has_no_tail_users(tmp_path: Path) -> None:
    folder = TinyBundles(tmp_path).get(N_ITEMS)
    with pytest.raises(WorkloadError, match="has no reranker"):
        Crowd(BundleFiles(folder), "seed")


def test_an_endpoint_scores_a_document_always_alike() -> None:
    scores = [relevance(f"Item {n}") for n in range(20)]
    assert scores == [relevance(f"Item {n}") for n in range(20)]
    assert len(set(scores)) == 20
    assert all(0 <= score < 1 for score in scores)
