"""Experiments: arms of users, answered by other versions or with other defaults."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from app.http.requests import RecommendRequest
from model_store.deployment import Deployment
from model_store.errors import RegistryError, UnknownExperiment
from model_store.experiment import RequestDefaults
from model_store.registry import Registry
from model_store.rollout import Rollout
from tests.app.conftest import AS_ADMIN, service_of
from tests.app.deployment.experiment_calls import (
    HALVES,
    USERS,
    admin,
    arms_of,
    ask,
    ask_all,
    experiment,
)


def test_users_stay_in_their_arms_at_every_worker(pair: list[TestClient], start: Any) -> None:
    arms = [{"name": name, "share": share} for name, share in (("a", 20), ("b", 30), ("c", 10))]
    start(arms)
    found = arms_of(pair[0], USERS)
    assert arms_of(pair[1], USERS) == found
    assert {user: ask(pair[1], user).json().get("arm") for user in USERS[:20]} == {
        user: found[user] for user in USERS[:20]
    }
    counted = Counter(found.values())
    for arm, share in (("a", 0.2), ("b", 0.3), ("c", 0.1), (None, 0.4)):
        deviation = 4 * (200 * share * (1 - share)) ** 0.5
        assert abs(counted[arm] - 200 * share) < deviation, counted


def test_a_salt_can_be_used_again_and_another_one_mixes_anew(pair: list[TestClient]) -> None:
    found = []
    for name, salt in (("first", None), ("second", "first"), ("third", None)):
        body = {"name": name, "salt": salt, "arms": HALVES}
        assert admin(pair[0], "POST", "", body).json()["salt"] == (salt or name)
        found.append(arms_of(pair[0], USERS))
        assert admin(pair[0], "DELETE", f"/{name}").status_code == 200
    assert found[0] == found[1]
    both = Counter(zip(found[0].values(), found[2].values(), strict=True))
    assert all(25 <= n <= 75 for n in both.values()), both
    assert len(both) == 4


def test_without_an_experiment_no_answer_names_an_arm(pair: list[TestClient]) -> None:
    answer = ask(pair[0], "user 1")
    assert "arm" not in answer.json()
    assert "X-Arm" not in answer.headers
    assert set(arms_of(pair[0], USERS[:3]).values()) == {None}


def test_defaults_hold_only_where_the_request_leaves_them_open(
    pair: list[TestClient], start: Any
) -> None:
    start()
    arms = arms_of(pair[0], USERS[:40])
    by_arm = {str(arm): user for user, arm in arms.items()}
    assert len(ask(pair[0], by_arm["control"]).json()["items"]) == 10
    assert len(ask(pair[0], by_arm["varied"]).json()["items"]) == 3
    # Also where what it sets is what would be the default otherwise.
    assert len(ask(pair[0], by_arm["varied"], k=10).json()["items"]) == 10
    body = {"requests": [{"user_id": by_arm["varied"]}, {"user_id": by_arm["varied"], "k": 5}]}
    answers = pair[0].post("/recommend/batch", json=body).json()["responses"]
    assert [len(answer["items"]) for answer in answers] == [3, 5]
    shown = f"/admin/users/{by_arm['varied']}/recommendations"
    for query, n_items in (("", 3), ("?k=5", 5), ("?version=made-1", 10)):
        found = pair[0].get(shown + query, headers=AS_ADMIN).json()
        assert len(found["items"]) == n_items


def test_limits_of_defaults_are_those_of_requests() -> None:
    asked = RecommendRequest.model_json_schema()["properties"]
    for name, default in RequestDefaults.model_json_schema()["properties"].items():
        [given] = [one for one in default["anyOf"] if one != {"type": "null"}]
        own = asked[name]
        own = next((one for one in own.get("anyOf", ()) if one != {"type": "null"}), own)
        limits = {"type", "enum", "minimum", "maximum"}
        assert {key: own[key] for key in limits & own.keys()} == given


def test_an_arm_with_a_version_is_answered_by_it(
    pair: list[TestClient], start: Any, server: redis.Redis
) -> None:
    name = start(
        [{"name": "control", "share": 50}, {"name": "new", "share": 50, "version": "made-2"}]
    )
    expected = {"control": "made-1", "new": "made-2"}
    for http in pair:
        answers = ask_all(http, USERS)
        assert {a["arm"] for a in answers.values()} == set(expected)
        assert all(expected[a["arm"]] == a["model_version"] for a in answers.values())
    for user in USERS[:10]:
        answer = ask(pair[0], user)
        assert answer.headers["X-Model-Version"] == expected[answer.headers["X-Arm"]]
    for user in USERS[:10]:
        shown = pair[0].get(f"/admin/users/{user}/recommendations", headers=AS_ADMIN).json()
        assert (shown["arm"], shown["model_version"]) == (
            answers[user]["arm"],
            answers[user]["model_version"],
        )
    workers = pair[0].get("/admin/deployment", headers=AS_ADMIN).json()["workers"]
    assert [set(worker["loaded"]) for worker in workers] == [{"made-1", "made-2"}] * 2
    models = pair[0].get("/admin/models", headers=AS_ADMIN).json()["models"]
    assert [one["state"] for one in models] == ["serving", f"in experiment {name}"]
    # It can be neither removed nor tried on other users meanwhile.
    with pytest.raises(RegistryError, match=f"'made-2' answers in experiment '{name}'"):
        Registry(server).retire("made-2")
    canary = pair[0].post("/admin/models/made-2/canary", headers=AS_ADMIN, json={"percent": 5})
    assert canary.status_code == 409
    assert "compares versions; stop it before" in canary.json()["detail"]

    assert admin(pair[0], "DELETE", f"/{name}").status_code == 200
    assert {a["model_version"] for a in ask_all(pair[1], USERS).values()} == {"made-1"}
    workers = pair[0].get("/admin/deployment", headers=AS_ADMIN).json()["workers"]
    assert [worker["loaded"] for worker in workers] == [["made-1"]] * 2


def test_a_canary_and_versions_exclude_each_other_but_defaults_do_not(
    pair: list[TestClient], start: Any
) -> None:
    def canary(percent: float) -> None:
        body = {"percent": percent}
        answer = pair[0].post("/admin/models/made-2/canary", headers=AS_ADMIN, json=body)
        assert answer.status_code == 200, answer.text

    canary(50)
    arms = [{"name": "a", "share": 50}, {"name": "b", "share": 50, "version": "made-2"}]
    answer = admin(pair[0], "POST", "/versions", {"arms": arms})
    assert answer.status_code == 409
    assert "'made-2' is the canary" in answer.json()["detail"]
    start()
    answers = ask_all(pair[0], USERS).values()
    assert len({(answer["arm"], answer["model_version"]) for answer in answers}) == 4
    canary(0)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"name": "x", "arms": HALVES[:1]}, 422, "arms: Tuple should have at least 2 items"),
        ({"name": "x", "arms": [HALVES[0]] * 2}, 422, "two arms are named 'control'"),
        ({"arms": HALVES}, 422, "name: Field required"),
        ({"name": "a b", "arms": HALVES}, 422, "name: String should match"),
        (
            {"name": "x", "arms": [HALVES[0], {"name": "b", "share": 51}]},
            422,
            "shares add up to 101 %",
        ),
        (
            {"name": "x", "arms": [HALVES[0], {"name": "b", "share": 5, "defaults": {"rernk": 1}}]},
            422,
            "unknown field 'rernk'; did you mean 'rerank'?",
        ),
        (
            {"name": "x", "arms": [HALVES[0], {"name": "b", "share": 5, "defaults": {"k": 0}}]},
            422,
            "arms[1].defaults.k: Input should be greater than or equal to 1",
        ),
        (
            {"name": "x", "arms": [HALVES[0], {"name": "b", "share": 5, "version": "no"}]},
            404,
            "'no' is not published",
        ),
    ],
)
def test_what_makes_no_sense_is_rejected(
    pair: list[TestClient], body: dict[str, Any], status: int, said: str
) -> None:
    answer = admin(pair[0], "POST", "", body)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["detail"]
    assert "X-Arm" not in ask(pair[0], "user 1").headers


def test_one_experiment_at_a_time_has_the_users(pair: list[TestClient], start: Any) -> None:
    name = start()
    answer = admin(pair[1], "POST", "/another", {"arms": HALVES})
    assert answer.status_code == 409
    assert answer.json()["detail"] == (
        f"experiment {name!r} is running, and one at a time answers a user; stop it first"
    )
    unknown = admin(pair[0], "GET", f"/{name}s")
    assert unknown.status_code == 404
    assert f"did you mean {name!r}?" in unknown.json()["detail"]


def test_a_version_in_an_arm_is_no_shadow(pair: list[TestClient], start: Any) -> None:
    def shadow(share: float) -> Any:
        path = "/admin/models/made-2/shadow"
        return pair[0].post(path, headers=AS_ADMIN, json={"share": share})

    assert shadow(10).status_code == 200
    start([{"name": "a", "share": 50}, {"name": "b", "share": 50, "version": "made-2"}])
    assert pair[0].get("/admin/deployment", headers=AS_ADMIN).json()["shadow"] is None
    answer = shadow(10)
    assert answer.status_code == 409
    assert "'made-2' is in an experiment and answers users itself" in answer.json()["detail"]


def test_an_experiment_that_ended_long_ago_leaves_its_name() -> None:
    record = Deployment().starting(experiment("old")).stopping("old")
    assert record.find_experiment("old").stopped is not None
    [ended] = record.experiments
    long_ago = ended.model_copy(update={"stopped": "2020-01-01T00:00:00+00:00"})
    record = record.model_copy(update={"experiments": (long_ago,)})
    with pytest.raises(UnknownExperiment, match=r"no experiment 'old' \(experiments: none\)"):
        record.find_experiment("old")
    assert [one.stopped for one in record.starting(experiment("old")).experiments] == [None]


def test_the_store_command_line_starts_it_too(pair: list[TestClient], server: redis.Redis) -> None:
    folder = service_of(pair[0]).settings.bundles_dir
    rollout = Rollout(server, folder, "a test")
    rollout.start_experiment(experiment("by-hand"))
    assert set(arms_of(pair[1], USERS).values()) == {"control", "varied"}
    assert rollout.stop_experiment("by-hand").stopped
    assert set(arms_of(pair[1], USERS).values()) == {None}
    audit = pair[0].get("/admin/deployment", headers=AS_ADMIN).json()["audit"]
    assert [one["what"] for one in audit[:2]] == [
        "stop the experiment by-hand",
        "start the experiment by-hand: control 50 %, varied 50 % (k 3)",
    ]
