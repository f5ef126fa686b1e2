"""Rules in the deployment record: at all workers, in arms, and with versions that lack things."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import time
from typing import Any

import numpy as np
import pytest
import redis
from starlette.testclient import TestClient

from app.model.model import Model
from model_store import keys
from model_store.errors import RegistryError, StoreError
from model_store.fresh_items import FreshItem, publish_fresh
from model_store.publication import publish
from model_store.rollout import Rollout
from model_store.rule_registry import MAX_EARLIER_RULES, RuleRegistry
from model_store.rules import Rules, RuleSet
from tests.app.conftest import AS_ADMIN, service_of, wait_for
from tests.app.deployment.experiment_calls import USERS, arms_of
from tests.synthetic_bundle import Catalogue, make_bundle, make_catalogue


def hide(*item_ids: str, name: str = "h", **more: Any) -> dict[str, Any]:
    return {"name": name, "action": "hide", "item_ids": list(item_ids), **more}


def put(http: TestClient, *rules: dict[str, Any]) -> dict[str, Any]:
    answer = http.put("/admin/rules", json={"rules": list(rules)}, headers=AS_ADMIN)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def ids_of(http: TestClient, user: str = "u1", **body: Any) -> list[str]:
    answer = http.post("/recommend", json={"user_id": user, **body}).json()
    return [item["item_id"] for item in answer["items"]]


@pytest.fixture(autouse=True)
def no_rules(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "pair" in request.fixturenames:
        put(request.getfixturevalue("pair")[0])


def test_rules_are_in_force_at_all_workers_when_they_are_acknowledged(
    pair: list[TestClient],
) -> None:
    base = ids_of(pair[0])
    answer = put(pair[0], hide(base[0]))
    assert (answer["workers"], answer["warnings"]) == (2, [])
    assert [base[0] in ids_of(http) for http in pair] == [False, False]
    put(pair[1])
    assert [ids_of(http) for http in pair] == [base, base]


def test_rules_are_read_back_as_they_were_written(pair: list[TestClient]) -> None:
    rules = [
        hide("i3", context={"country": "SE"}, arms=["b"]),
        {"name": "b", "action": "boost", "filters": {"year": {"gte": 1990.0}}, "factor": 2.5,
         "from": "2026-12-01T00:00:00Z", "until": "2027-01-01T00:00:00+01:00"},
        {"name": "p", "action": "pin", "item_id": "i9", "rank": 3},
        {"name": "c", "action": "cap", "attribute": "year", "at_most": 1},
    ]  # fmt: skip
    written = put(pair[0], *rules)
    read = pair[1].get("/admin/rules", headers=AS_ADMIN).json()
    assert read == written
    assert read["rules"] == rules
    assert read["revision"] == read["generation"]
    assert read["who"].startswith("token environment")
    # The same once more is no change.
    assert put(pair[1], *rules)["generation"] == read["generation"]
    audit = pair[0].get("/admin/deployment", headers=AS_ADMIN).json()["audit"]
    assert audit[0]["what"] == "apply 4 rules: h, b, p, c"


def test_rules_are_rolled_back_one_by_one(pair: list[TestClient], server: redis.Redis) -> None:
    server.delete(keys.RULES)
    base = ids_of(pair[0])
    first = put(pair[0], hide(base[0], name="first"))
    put(pair[0], hide(base[1], name="second"))

    def roll_back() -> Any:
        return pair[0].post("/admin/rules/rollback", headers=AS_ADMIN)

    answer = roll_back().json()
    assert (answer["revision"], answer["rules"]) == (first["revision"], first["rules"])
    assert ids_of(pair[1])[:1] == base[1:2]
    assert roll_back().json()["rules"] == []
    assert ids_of(pair[1]) == base
    answer = roll_back()
    assert answer.status_code == 409
    assert answer.json()["detail"] == "there are no earlier rules to roll back to"


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (hide("i1", "nothing"), "rules[1].item_ids[1]: rule 'h': unknown item (got \"nothing\")"),
        ({"name": "c", "action": "cap", "attribute": "color", "at_most": 2},
         "rules[1].attribute: rule 'c': unknown attribute; known are title (text), year (number)"),
        ({"name": "p", "action": "pin", "item_id": "i99", "rank": 1},
         "rules[1].item_id: rule 'p': unknown item (got \"i99\")"),
        ({"name": "b", "action": "boost", "factor": 2, "filters": {"colour": {"any": ["red"]}}},
         "rules[1].filters.colour: rule 'b': unknown attribute; known are"),
        ({"name": "b", "action": "boost", "factor": 2, "filters": {"year": {"any": ["red"]}}},
         "rules[1].filters.year.any: rule 'b': attribute 'year' is a number"),
        (hide("i1", name="kept"), "body: two rules are named 'kept'"),
        ({"name": "x", "action": "drop", "item_ids": ["i1"]}, "rules[1]: Input tag 'drop' found"),
        ({"name": "x", "action": "bury", "item_ids": ["i1"], "factor": 0.5},
         "rules[1].bury.factor: Input should be greater than or equal to 1 (got 0.5)"),
        (hide("i1", until="tomorrow"), "rules[1].hide.until: not an ISO 8601 time"),
        (hide("i1", until="2026-01-01", **{"from": "2026-01-02"}),
         "rules[1].hide: until (2026-01-01) is no later than from (2026-01-02)"),
        ({"name": "h", "action": "hide"}, "rules[1].hide: filters or item_ids is needed"),
    ],
)  # fmt: skip
def test_a_rule_that_can_not_be_is_named_and_nothing_changes(
    pair: list[TestClient], rule: dict[str, Any], said: str
) -> None:
    before = put(pair[0], hide("i1", name="kept"))
    body = {"rules": [hide("i2", name="kept" if rule["name"] == "kept" else "new"), rule]}
    answer = pair[0].put("/admin/rules", json=body, headers=AS_ADMIN)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(said)
    after = pair[0].get("/admin/rules", headers=AS_ADMIN).json()
    assert after == before


def test_rules_need_an_operator(pair: list[TestClient]) -> None:
    assert pair[0].get("/admin/rules").status_code == 401
    assert pair[0].put("/admin/rules", json={"rules": []}).status_code == 401
    wrong = {"Authorization": "Bearer wrong"}
    assert pair[0].put("/admin/rules", json={"rules": []}, headers=wrong).status_code == 401


def test_filters_that_no_item_meets_are_told(pair: list[TestClient]) -> None:
    rule = {"name": "b", "action": "boost", "factor": 2, "filters": {"genres": {"any": ["drma"]}}}
    assert put(pair[0], rule)["warnings"] == [
        'version \'made-1\': rule \'b\': no item meets its filters {"genres": {"any": ["drma"]}}'
    ]


def test_rules_of_an_arm_hold_for_its_users_alone(pair: list[TestClient], start: Any) -> None:
    start()
    base = ids_of(pair[0], "nobody", k=20)
    put(pair[0], hide(base[0], arms=["varied", "another"]), hide(base[1], name="all"))
    arms = arms_of(pair[0], USERS[:20])
    assert set(arms.values()) == {"control", "varied"}
    for http in pair:
        for user, arm in arms.items():
            assert (base[0] in ids_of(http, user, k=5)) == (arm == "control")
            assert base[1] not in ids_of(http, user, k=5)
        body = {"requests": [{"user_id": user, "k": 5} for user in arms]}
        answers = http.post("/recommend/batch", json=body).json()["responses"]
        for answer in answers:
            shown = [item["item_id"] for item in answer["items"]]
            assert (base[0] in shown) == (answer["arm"] == "control")


def lacking(folder: Path) -> Path:
    """A bundle that lacks `i60` and the attribute `year`."""
    whole = make_catalogue(n_items=59, seed=8)
    kept = [whole.attributes.get(name) for name in ("title", "genres")]
    attributes = type(whole.attributes)([one for one in kept if one], 59)
    catalogue = Catalogue(**{**whole.__dict__, "attributes": attributes})
    return make_bundle(folder, version="made-3", catalogue=catalogue).folder


def test_a_version_that_lacks_what_rules_name_ignores_them_and_says_so(
    own_http: TestClient, client: redis.Redis, folder: Path, tmp_path: Path
) -> None:
    from model_store.bundle import Bundle

    publish(Bundle.open(lacking(tmp_path / "3")), folder / "bundles", client)
    put(
        own_http,
        {"name": "pin", "action": "pin", "item_id": "i60", "rank": 1},
        {"name": "years", "action": "cap", "attribute": "year", "at_most": 1},
        {"name": "old", "action": "bury", "filters": {"year": {"lte": 1990}}, "factor": 3},
        hide("i60", "i59", name="some"),
    )
    activated = own_http.post("/admin/models/made-3/activate?force=true", headers=AS_ADMIN).json()
    known = "known are title (text), genres (list)"
    warnings = [
        "rules[0].item_id: rule 'pin': unknown item",
        f"rules[1].attribute: rule 'years': unknown attribute; {known}",
        f"rules[2].filters.year: rule 'old': unknown attribute; {known}",
        "rules[3].item_ids[0]: rule 'some': unknown item",
    ]
    assert activated["rule_warnings"] == warnings
    found = own_http.get("/admin/rules", headers=AS_ADMIN).json()
    assert found["warnings"] == [f"version 'made-3': {warning}" for warning in warnings]
    # What is known of it still holds.
    left = ids_of(own_http, "nobody", k=59)
    assert len(left) == 58
    assert "i59" not in left
    # The version before takes all of them again.
    own_http.post("/admin/models/rollback", headers=AS_ADMIN)
    assert own_http.get("/admin/rules", headers=AS_ADMIN).json()["warnings"] == []


def test_the_activation_command_prints_what_rules_can_not_do(
    own_http: TestClient,
    client: redis.Redis,
    store: Any,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import longtail
    from model_store.bundle import Bundle

    publish(Bundle.open(lacking(tmp_path / "3")), folder / "bundles", client)
    put(own_http, {"name": "pin", "action": "pin", "item_id": "i60", "rank": 1})
    monkeypatch.setenv("LONGTAIL_REDIS_URL", store.url)
    monkeypatch.setenv("LONGTAIL_BUNDLES_DIR", str(folder / "bundles"))
    assert longtail.main(["models", "activate", "made-3", "--force"]) == 0
    assert "rules: rules[0].item_id: rule 'pin': unknown item" in capsys.readouterr().out


def test_fresh_items_come_under_the_rules(own_http: TestClient, client: redis.Redis) -> None:
    put(own_http, {"name": "h", "action": "hide", "filters": {"genres": {"any": ["drama"]}}})
    vector = np.eye(6, dtype=np.float32)[2]
    fresh = [
        FreshItem("fresh-1", vector, {"genres": ["drama"]}),
        FreshItem("fresh-2", vector, {"genres": ["comedy"]}),
    ]
    publish_fresh(fresh, client, encoder="made")
    wait_for(lambda: own_http.get("/health/ready").json()["fresh_items"] == 2)
    shown = ids_of(own_http, "u1", k=60, exclude_seen=False)
    assert "fresh-2" in shown
    assert "fresh-1" not in shown
    # A fresh item can be named by a rule, too.
    put(own_http, {"name": "p", "action": "pin", "item_id": "fresh-1", "rank": 2})
    assert ids_of(own_http)[1] == "fresh-1"


def test_rules_follow_changes_of_the_catalogue(own_http: TestClient) -> None:
    base = ids_of(own_http, "nobody", k=60)

    def change(item_id: str, **changes: Any) -> None:
        body = {"items": [{"item_id": item_id, **changes}]}
        assert own_http.put("/admin/items", json=body, headers=AS_ADMIN).status_code == 200

    def genres_of(item_id: str) -> list[str]:
        body = {"user_id": "nobody", "candidates": [item_id], "fields": ["genres"]}
        [item] = own_http.post("/recommend", json=body).json()["items"]
        found: list[str] = item["fields"]["genres"]
        return found

    shown = next(item for item in base if "drama" not in genres_of(item))
    cap = {"name": "c", "action": "cap", "attribute": "genres", "at_most": 1}
    put(own_http, {"name": "h", "action": "hide", "filters": {"genres": {"any": ["drama"]}}})
    assert shown in ids_of(own_http, "nobody", k=60)
    change(shown, attributes={"genres": ["drama"]})
    wait_for(lambda: shown not in ids_of(own_http, "nobody", k=60))
    change(shown, attributes={"genres": ["a genre of its own"]})
    wait_for(lambda: shown in ids_of(own_http, "nobody", k=60))
    put(own_http, cap)
    wait_for(lambda: shown in ids_of(own_http, "nobody", k=60))
    first = ids_of(own_http, "nobody", k=60)[0]
    change(shown, attributes={"genres": genres_of(first)})
    if first != shown:
        wait_for(lambda: shown not in ids_of(own_http, "nobody", k=60))
    # A withdrawn item is in no answer, whatever rules say.
    put(own_http, {"name": "p", "action": "pin", "item_id": base[9], "rank": 1})
    assert ids_of(own_http, "nobody")[0] == ids_of(own_http)[0] == base[9]
    change(base[9], available=False)
    wait_for(lambda: base[9] not in ids_of(own_http, "nobody", k=60) + ids_of(own_http, k=60))
    boost = {"name": "b", "action": "boost", "factor": 10, "item_ids": [base[9], base[8]]}
    put(own_http, boost, hide(*base[20:50]))
    assert base[9] not in ids_of(own_http, "nobody", k=60) + ids_of(own_http, k=60)


def test_a_canary_has_the_rules_from_its_first_answer(own_http: TestClient, second: str) -> None:
    base = ids_of(own_http, "nobody", k=60)
    put(own_http, hide(*base[:5]))
    body = {"percent": 100}
    answer = own_http.post(f"/admin/models/{second}/canary", json=body, headers=AS_ADMIN)
    assert answer.status_code == 200, answer.text
    answer = own_http.post("/recommend", json={"user_id": "nobody", "k": 60})
    assert answer.headers["X-Model-Version"] == second
    assert not set(base[:5]) & {item["item_id"] for item in answer.json()["items"]}


def test_versions_are_compared_without_rules(own_http: TestClient, second: str) -> None:
    query = f"/admin/compare?a=made-1&b={second}&users=10"
    before = own_http.get(query, headers=AS_ADMIN).json()
    put(
        own_http, hide("i1", "i2", "i3"), {"name": "p", "action": "pin", "item_id": "i9", "rank": 1}
    )
    after = own_http.get(query, headers=AS_ADMIN).json()
    assert after["segments"] == before["segments"]


def test_rules_are_kept_for_some_rollbacks_and_damage_is_one_line(client: redis.Redis) -> None:
    registry = RuleRegistry(client, "a test")
    for number in range(MAX_EARLIER_RULES + 5):
        registry.set_rules(Rules.model_validate({"rules": [hide("a", name=f"{number}")]}).rules)
    earlier = registry.earlier_rules()
    assert len(earlier) == MAX_EARLIER_RULES
    assert earlier[0].describe() == f"1 rule: {MAX_EARLIER_RULES + 3}"
    client.lpush(keys.RULES, b"{")
    with pytest.raises(StoreError, match="lt:rules: holds no rules"):
        registry.roll_back_rules()
    client.delete(keys.RULES)
    with pytest.raises(RegistryError, match="no earlier rules"):
        registry.roll_back_rules()
    assert RuleSet().describe() == "no rules"


def test_a_change_meanwhile_ends_a_rollback(
    client: redis.Redis, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = RuleRegistry(client, "a test")
    rules = [Rules.model_validate({"rules": [hide("a", name=name)]}).rules for name in "abc"]
    registry.set_rules(rules[0])
    registry.set_rules(rules[1])
    earlier = registry.earlier_rules()

    def set_meanwhile() -> list[RuleSet]:
        RuleRegistry(client, "another").set_rules(rules[2])
        return earlier

    monkeypatch.setattr(registry, "earlier_rules", set_meanwhile)
    with pytest.raises(RegistryError, match="changed meanwhile"):
        registry.roll_back_rules()
    assert Rollout(client, folder, "a test").rules().rules == tuple(rules[2])


def test_a_worker_compiles_rules_once(own_http: TestClient) -> None:
    put(own_http, hide("i1"))
    models = service_of(own_http).models
    book = models.current.rules
    for user in USERS[:5]:
        ids_of(own_http, user)
    service = service_of(own_http)
    assert own_http.portal is not None
    followed = own_http.portal.call(service.store.versions.followed)
    own_http.portal.call(models.route, followed)
    assert models.current.rules is book
    put(own_http)
    assert models.current.rules is None


def test_the_rules_of_every_version_follow_changes_of_the_catalogue(
    own_http: TestClient, second: str
) -> None:
    body = {"percent": 50}
    canary = own_http.post(f"/admin/models/{second}/canary", json=body, headers=AS_ADMIN)
    assert canary.status_code == 200, canary.text
    put(own_http, {"name": "h", "action": "hide", "filters": {"genres": {"any": ["drama"]}}})
    models = service_of(own_http).models.routing.all_models
    assert len(models) == 2

    def hidden(model: Model) -> set[str]:
        effect = model.rules.effect(None, None, time())
        return {model.ids.id_of(item) for item in effect.hidden.tolist()}

    shown = next(f"i{n}" for n in range(1, 60) if not any(f"i{n}" in hidden(one) for one in models))
    change = {"items": [{"item_id": shown, "attributes": {"genres": ["drama"]}}]}
    assert own_http.put("/admin/items", json=change, headers=AS_ADMIN).status_code == 200
    wait_for(lambda: all(shown in hidden(one) for one in models))
