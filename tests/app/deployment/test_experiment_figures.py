"""What an experiment counts: exposures and clicks by arm, and the split of users."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from app.experiments.moments import Moments, UserSums
from model_store import keys
from model_store.experiment_counts import (
    EXPIRY_S,
    LOAD,
    N_SHARDS,
    Scope,
    Seen,
    ShownBy,
    count_command,
    shard_of,
    user_key,
)
from tests.app.conftest import AS_ADMIN, service_of
from tests.app.deployment.experiment_calls import (
    HALVES,
    USERS,
    admin,
    arms_of,
    ask,
    ask_all,
    report,
)


def test_exposures_and_clicks_are_those_that_happened(pair: list[TestClient], start: Any) -> None:
    name = start()
    shown: dict[str, int] = defaultdict(int)
    clicked: dict[str, int] = defaultdict(int)
    arms: dict[str, str] = {}
    events = []
    for number, user in enumerate(USERS[:40]):
        for turn in range(1 + number % 3):
            answer = ask(pair[turn % 2], user).json()
            arms[user] = answer["arm"]
            shown[user] += 1
            for item in answer["items"][: number % 2 + turn]:
                clicked[user] += 1
                one = {"user_id": user, "item_id": item["item_id"], "rank": item["rank"]}
                events.append({**one, "request_id": answer["request_id"]})
    ask_all(pair[1], USERS[:40])
    for user in USERS[:40]:
        shown[user] += 1
    events.append({"user_id": USERS[0], "item_id": "i1"})  # it follows no answer
    events.append({**one, "item_id": "i60", "request_id": "r", "type": "dislike"})  # no click
    # Whichever worker they come to, and however often.
    for http in (pair[0], pair[1], pair[0]):
        assert http.post("/events", json={"events": events}).status_code == 200
    # Nobody in particular.
    pair[0].post("/recommend", json={"history": ["i1"]})

    found = report(pair[0], name, *pair)
    users = {arm: [user for user in arms if arms[user] == arm] for arm in ("control", "varied")}
    for arm in found["arms"]:
        own = users[arm["name"]]
        exposures, clicks = (sum(counts[user] for user in own) for counts in (shown, clicked))
        assert (arm["users"], arm["exposures"], arm["clicks"]) == (len(own), exposures, clicks)
        assert arm["rate"] == clicks / exposures
    counted = pair[0].portal.call(  # type: ignore[union-attr]
        service_of(pair[0]).store.experiments.read, name, list(users)
    )
    assert counted == {
        arm: Moments.of(UserSums(shown[user], clicked[user]) for user in own)
        for arm, own in users.items()
    }
    effect = found["arms"][1]["effect"]
    assert found["arms"][0]["effect"] is None
    assert effect["difference"] == found["arms"][1]["rate"] - found["arms"][0]["rate"]
    assert effect["low"] < effect["difference"] < effect["high"]
    assert 0 < effect["p"] < 1
    assert found["sample_ratio"]["noticed"] is False


def test_figures_stay_after_the_end(
    pair: list[TestClient], start: Any, server: redis.Redis
) -> None:
    name = start()
    ask_all(pair[0], USERS)
    before = report(pair[0], name)
    stopped = admin(pair[1], "DELETE", f"/{name}").json()
    assert stopped["stopped"] is not None
    assert set(arms_of(pair[0], USERS).values()) == {None}
    after = report(pair[0], name, *pair)
    assert after == {**before, "stopped": stopped["stopped"]}
    assert sum(arm["exposures"] for arm in after["arms"]) == 200
    shards = server.keys(keys.experiment_key(name, 0)[:-1] + "*")
    assert len(shards) == N_SHARDS
    assert all(EXPIRY_S - 60 < server.ttl(shard) <= EXPIRY_S for shard in shards)
    listed = admin(pair[0], "GET", "").json()["experiments"]
    assert listed[0]["name"] == name
    record = pair[0].get("/admin/deployment", headers=AS_ADMIN).json()
    assert record["experiments"] == listed
    again = admin(pair[0], "DELETE", f"/{name}")
    assert (again.status_code, "has ended already" in again.json()["detail"]) == (409, True)
    again = admin(pair[0], "POST", "", {"name": name, "arms": HALVES})
    assert (again.status_code, "choose another name" in again.json()["detail"]) == (409, True)


def test_a_split_that_is_off_is_noticed(
    pair: list[TestClient], start: Any, server: redis.Redis
) -> None:
    name = start()
    assert report(pair[0], name)["sample_ratio"]["reason"].startswith("too few users to tell")
    server.execute_command(*LOAD)
    shard_0 = [user for user in map(str, range(20_000)) if not shard_of(user_key(user))]
    for arm, some in (("control", shard_0[:600]), ("varied", shard_0[600:1_000])):
        seen = [(arm, user, Seen({"made-1": ShownBy(1)})) for user in some]
        command = count_command(Scope(name), 0, (f"worker of {arm}", 1), seen, 0)
        assert server.execute_command(*command) == 1
    ratio = report(pair[0], name)["sample_ratio"]
    assert ratio["noticed"] is True
    assert ratio["reason"] == (
        "split not as wanted: control 600 of 500, varied 400 of 500; p < 0.001"
    )


def test_a_foreign_value_loses_its_own_counts_only(
    pair: list[TestClient], start: Any, server: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    name = start()
    server.set(keys.experiment_key(name, 0), "foreign")
    ask_all(pair[0], USERS)
    pair[0].portal.call(service_of(pair[0]).write_counts)  # type: ignore[union-attr]
    assert any("counts of exposures or clicks are lost" in one.message for one in caplog.records)
    n_lost = sum(shard_of(user_key(user)) == 0 for user in USERS)
    assert f"longtail_experiment_lost_total {n_lost:.1f}" in pair[0].get("/metrics").text
    assert admin(pair[0], "GET", f"/{name}").status_code == 503
    server.delete(keys.experiment_key(name, 0))
    assert sum(arm["users"] for arm in report(pair[0], name)["arms"]) == 200 - n_lost


def test_a_wrong_request_id_of_an_event_is_named(pair: list[TestClient]) -> None:
    event = {"user_id": "u", "item_id": "i1", "request_id": "not one", "rank": 0}
    answer = pair[0].post("/events", json={"events": [event]})
    assert [error["field"] for error in answer.json()["errors"]] == [
        "events[0].request_id",
        "events[0].rank",
    ]


def test_metrics_tell_the_arms_apart(pair: list[TestClient], start: Any) -> None:
    start([{"name": "a", "share": 50}, {"name": "b", "share": 50, "version": "made-2"}])
    users = [f"without events {number}" for number in range(20)]
    arms = arms_of(pair[0], users)
    for user in users:
        history = {"history": ["i1", "never heard of"]}
        ask(pair[0], user, rerank="always", **history)  # there is no reranker
    shown = pair[0].get("/metrics").text
    for arm, version in (("a", "made-1"), ("b", "made-2")):
        n_users = Counter(arms.values())[arm]
        labels = f'arm="{arm}",model="default",route="/recommend",served_by="model",status="200"'
        for series in (
            f'longtail_batch_entries_total{{arm="{arm}",model="default",served_by="popular",status="200"',
            f"longtail_requests_total{{{labels}",
            f'longtail_degraded_total{{arm="{arm}"',
            f'longtail_rerank_outcomes_total{{arm="{arm}",outcome="skipped"',
        ):
            what = ',what="unknown_items"' if "degraded" in series else ""
            assert f'{series},version="{version}"{what}}} {n_users}.0' in shown
        seconds = f'longtail_request_seconds_count{{arm="{arm}",model="default",route="/recommend"'
        assert f'{seconds},version="{version}"}} {n_users}.0' in shown
    assert 'outcome="pending",version="made-2"} 0.0' in shown
