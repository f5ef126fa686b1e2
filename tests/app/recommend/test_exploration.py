"""Some answers are drawn at random; their probabilities are exact, and go into the logs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from pydantic import ValidationError
from scipy import stats
from starlette.testclient import TestClient

import longtail
from app.recommend.exploration import Explorer
from model_store import keys
from model_store.answer_pairs import read_pair
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.exposure_log import Exploration, exposures_of
from offline.event_archive.archive import EventArchive
from offline.event_archive.archiver import events_into, exposures_into, move
from offline.event_archive.exposure_archive import ExposureArchive
from tests.app.conftest import AS_ADMIN, publish_and_activate, serving, settings_for, wait_for
from tests.exposures import logged
from tests.synthetic_bundle import Catalogue, expected_scores

TEMPERATURE, N_RANKS, N_CANDIDATES = 0.5, 2, 12
EXPLORES = {
    "explore_share": 1.0, "explore_temperature": TEMPERATURE, "explore_ranks": N_RANKS,
    "explore_candidates": N_CANDIDATES,
}  # fmt: skip


@pytest.fixture(scope="module")
def http(
    store: EmbeddedStore, synthetic_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    """A service that explores all requests that can be."""
    folder = tmp_path_factory.mktemp("service")
    publish_and_activate(synthetic_bundle, folder, store.url)
    with serving(settings_for(store.url, folder, **EXPLORES)) as http:
        yield http


@pytest.fixture
def own(
    client: redis.Redis, store: EmbeddedStore, synthetic_bundle: Bundle, folder: Path
) -> Iterator[TestClient]:
    """Another one, over a store that was empty, which keeps what it answers."""
    publish_and_activate(synthetic_bundle, folder, store.url)
    with serving(settings_for(store.url, folder, exposure_share=1.0, **EXPLORES)) as http:
        yield http


def ask(http: TestClient, request_id: str = "r1", **body: Any) -> dict[str, Any]:
    asked = {"user_id": "u1", "k": 5, **body}
    answer = http.post("/recommend", json=asked, headers={"X-Request-ID": request_id})
    assert answer.status_code == 200, answer.json()
    document: dict[str, Any] = answer.json()
    return document


def ids_of(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def best_of(catalogue: Catalogue, user_id: str) -> tuple[list[str], list[float]]:
    """The candidates of a user, best first, and their scores."""
    history = catalogue.histories[user_id]
    scores = expected_scores(catalogue.table, history)
    scores[[0, *history]] = -np.inf
    best = np.argsort(-scores, kind="stable")[:N_CANDIDATES]
    return [catalogue.ids.id_of(int(item)) for item in best], scores[best].tolist()


def exact(weights: list[float], ranking: tuple[int, ...]) -> list[float]:
    """The probability at each rank, given those above, item by item."""
    left, found = dict(enumerate(weights)), []
    for position in ranking:
        found.append(left[position] / sum(left.values()))
        del left[position]
    return found


def test_an_answer_is_drawn_and_tells_its_probabilities(
    http: TestClient, catalogue: Catalogue
) -> None:
    ids, scores = best_of(catalogue, "u1")
    firsts = set()
    for number in range(20):
        answer = ask(http, f"r{number}")
        shown = ids_of(answer)
        firsts.add(shown[0])
        drawn = tuple(ids.index(one) for one in shown[:N_RANKS])
        weights = [float(np.exp(score / TEMPERATURE)) for score in scores]
        expected = exact(weights, drawn)
        told = answer["exploration"]
        assert (told["temperature"], told["n_candidates"]) == (TEMPERATURE, N_CANDIDATES)
        np.testing.assert_allclose(np.exp(told["log_propensities"]), expected, rtol=1e-4)
        # The later ranks are the best of those that are left, and scores are the items' own.
        assert shown[N_RANKS:] == [one for one in ids if one not in shown[:N_RANKS]][:3]
        by_id = dict(zip(ids, scores, strict=True))
        for item in answer["items"]:
            assert item["score"] == pytest.approx(by_id[item["item_id"]], rel=1e-4)
    assert len(firsts) > 3


def test_a_request_is_drawn_alike_each_time(http: TestClient) -> None:
    first, again = ask(http, "same"), ask(http, "same")
    assert ids_of(first) == ids_of(again)
    assert first["exploration"] == again["exploration"]


@pytest.mark.parametrize(
    "body",
    [
        {"user_id": None, "history": ["i1", "i2"]},
        {"history": ["i1", "i2"]},
        {"user_id": "nobody"},
        {"user_id": None, "interests": "horror"},
        {"candidates": ["i1", "i2", "i3", "i4"]},
        {"exclude": ["i1"]},
        {"filters": {"genres": {"any": ["drama"]}}},
        {"exclude_seen": False},
        {"exclude_served": {"answers": 1}},
        {"diversity": 0.5},
        {"explain": True},
        {"boosts": [{"item_ids": ["i1"], "factor": 2}]},
        {"caps": [{"attribute": "genres", "at_most": 1}]},
    ],
    ids=lambda body: next(reversed(body)),
)
def test_what_the_logs_can_not_repeat_is_not_drawn(http: TestClient, body: dict[str, Any]) -> None:
    assert "exploration" not in ask(http, **body)


def test_batches_are_not_drawn(http: TestClient) -> None:
    answer = http.post("/recommend/batch", json={"requests": [{"user_id": "u1"}]}).json()
    assert "exploration" not in answer["responses"][0]


def test_hidden_items_are_no_candidates_and_pins_are_not_drawn(
    http: TestClient, catalogue: Catalogue
) -> None:
    ids, _ = best_of(catalogue, "u1")
    hide = {"name": "gone", "action": "hide", "item_ids": ids[:3]}
    pin = {"name": "first", "action": "pin", "item_id": ids[5], "rank": 1}
    try:
        http.put("/admin/rules", json={"rules": [hide]}, headers=AS_ADMIN).raise_for_status()
        answers = [ask(http, f"r{number}") for number in range(10)]
        assert all("exploration" in answer for answer in answers)
        assert not {one for answer in answers for one in ids_of(answer)} & set(ids[:3])
        http.put("/admin/rules", json={"rules": [pin]}, headers=AS_ADMIN).raise_for_status()
        answer = ask(http)
        assert "exploration" not in answer
        assert ids_of(answer) == [ids[5], *[one for one in ids if one != ids[5]][:4]]
    finally:
        http.put("/admin/rules", json={"rules": []}, headers=AS_ADMIN).raise_for_status()


def test_fewer_items_than_ranks_are_all_drawn(http: TestClient) -> None:
    answer = ask(http, k=1)
    assert len(answer["items"]) == len(answer["exploration"]["log_propensities"]) == 1


def test_the_exposure_has_what_the_answer_tells(own: TestClient, client: redis.Redis) -> None:
    answer, plain = ask(own, "drawn-1"), ask(own, "plain-1", explain=True)
    wait_for(lambda: len(list(exposures_of("u1", client))) == 2)
    by_id = {shown.request_id: shown for shown in exposures_of("u1", client)}
    told = answer["exploration"]
    propensities = tuple(told["log_propensities"])
    assert by_id["drawn-1"].exploration == Exploration(TEMPERATURE, N_CANDIDATES, propensities)
    assert list(by_id["plain-1"].item_ids) == ids_of(plain)
    assert by_id["plain-1"].exploration is None


def test_the_logs_repeat_what_the_service_drew(
    own: TestClient,
    client: redis.Redis,
    synthetic_bundle: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The weights of a policy in its own log are 1: both compute the same probabilities."""
    for number in range(24):
        user_id = f"u{number % 12 + 1}"
        shown = ids_of(ask(own, f"asked-{number}", user_id=user_id))
        happened = {"item_id": shown[number % 5], "request_id": f"asked-{number}"}
        kind = "dislike" if number % 4 == 3 else "purchase"
        event = {"user_id": user_id, **happened, "type": kind}
        own.post("/events", json=event).raise_for_status()
    wait_for(lambda: len(logged(client)) == 24)
    events, exposures = EventArchive(tmp_path / "events"), ExposureArchive(tmp_path / "shown")
    with events.locked(), exposures.locked():
        move(client, events_into(events))
        move(client, exposures_into(exposures))
    folders = ["--events", str(events.folder), "--exposures", str(exposures.folder)]
    policy = ["--bundle", str(synthetic_bundle.folder), "--temperature", str(TEMPERATURE)]
    capsys.readouterr()
    longtail.main(["evaluate", "--logged", *folders, *policy, "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["clicks_per_exposure"][0]["n_clicks"] == 18
    assert [one["n_exposures"] for one in document["estimates"]] == [24, 24]
    for one in document["estimates"]:
        assert one["mean_weight"]["value"] == pytest.approx(1.0, abs=1e-3)
        assert one["n_effective"] == pytest.approx(24, abs=1e-3)


def test_a_shadow_is_not_compared_by_what_was_drawn(
    own: TestClient, second: str, client: redis.Redis
) -> None:
    path, pairs = f"/admin/models/{second}/shadow", keys.answer_pairs_key("made-1", second)
    own.post(path, json={"share": 100}, headers=AS_ADMIN).raise_for_status()
    assert "exploration" in ask(own, "drawn")
    plain = ids_of(ask(own, "plain", exclude=["i1"]))
    wait_for(lambda: client.llen(pairs) == 1)
    found: Any = client.lrange(pairs, 0, -1)
    pair = read_pair(found[0])
    assert pair is not None
    assert list(pair.a) == plain


def test_without_the_setting_nothing_is_drawn(own_http: TestClient, catalogue: Catalogue) -> None:
    ids, _ = best_of(catalogue, "u1")
    answer = ask(own_http)
    assert "exploration" not in answer
    assert ids_of(answer) == ids[:5]


def test_rankings_come_as_often_as_their_probability() -> None:
    explorer = Explorer(1.0, 0.7, n_ranks=2, n_candidates=4)
    items = np.array([9, 4, 7, 2, 5], dtype=np.int32)
    scores = np.array([1.1, 0.6, 0.5, -0.2, -0.3], dtype=np.float32)
    n = 5_000
    rankings: Counter[tuple[int, ...]] = Counter()
    for number in range(n):
        draws = explorer.draws_for(f"request {number}")
        assert draws is not None
        drawn = draws.draw(items, scores, 3)
        rankings[tuple(drawn.items[:2].tolist())] += 1
    weights = np.exp(scores[:4].astype(float) / 0.7).tolist()
    pairs = [*permutations(range(4), 2)]
    expected = [n * float(np.prod(exact(weights, pair))) for pair in pairs]
    counts = [rankings[int(items[a]), int(items[b])] for a, b in pairs]
    assert sum(counts) == n  # the fifth item is no candidate
    assert stats.chisquare(counts, expected).pvalue > 0.01


def test_the_share_is_of_the_requests_by_their_ids() -> None:
    explorer = Explorer(0.25, 1.0, n_ranks=1, n_candidates=4)
    explored = [n for n in range(2_000) if explorer.draws_for(f"r{n}") is not None]
    assert 400 < len(explored) < 600
    assert explored == [n for n in range(2_000) if explorer.draws_for(f"r{n}") is not None]


@pytest.mark.parametrize(
    "wrong",
    [{"explore_share": 1.5}, {"explore_temperature": 0}, {"explore_ranks": 0},
     {"explore_candidates": 1}],
    ids=str,
)  # fmt: skip
def test_settings_that_make_no_sense_are_named(wrong: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        settings_for("redis://127.0.0.1:1", tmp_path, **wrong)
