"""Operators' rules and those of requests, through HTTP."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.app.conftest import AS_ADMIN
from tests.synthetic_bundle import Catalogue

Item = dict[str, Any]
# The same items by each source.
PEOPLE: dict[str, dict[str, Any]] = {
    "model": {"user_id": "u1"},
    "cold_start": {"interests": "horror"},
    "popular": {"user_id": "nobody"},
}
DRAMA = {"genres": {"any": ["drama"]}}


def put(http: TestClient, *rules: dict[str, Any]) -> Any:
    return http.put("/admin/rules", json={"rules": list(rules)}, headers=AS_ADMIN)


def apply(http: TestClient, *rules: dict[str, Any]) -> dict[str, Any]:
    answer = put(http, *rules)
    assert answer.status_code == 200, answer.json()
    document: dict[str, Any] = answer.json()
    return document


@pytest.fixture(autouse=True)
def no_rules(http: TestClient) -> Iterator[None]:
    yield
    apply(http)


def items_of(http: TestClient, served_by: str = "model", **body: Any) -> list[Item]:
    asked = {**PEOPLE[served_by], "k": 10, "fields": ["genres"], **body}
    answer = http.post("/recommend", json=asked)
    assert answer.status_code == 200, answer.json()
    assert answer.json()["served_by"] == served_by
    items: list[Item] = answer.json()["items"]
    assert [item["rank"] for item in items] == list(range(1, len(items) + 1))
    return items


def ids_of(http: TestClient, served_by: str = "model", **body: Any) -> list[str]:
    return [item["item_id"] for item in items_of(http, served_by, **body)]


def genres_of(items: list[Item]) -> Counter[str]:
    return Counter(genre for item in items for genre in item["fields"]["genres"])


@pytest.mark.parametrize("served_by", PEOPLE)
@pytest.mark.parametrize("further", [{}, {"diversity": 0.7}, {"explain": True}], ids=str)
def test_hidden_items_are_in_no_answer_and_others_take_their_places(
    http: TestClient, served_by: str, further: dict[str, Any]
) -> None:
    base = ids_of(http, served_by, k=30)
    apply(http, {"name": "h", "action": "hide", "item_ids": base[:3]})
    assert ids_of(http, served_by, k=27) == base[3:]
    left = ids_of(http, served_by, **further)
    assert len(left) == 10
    assert not set(left) & set(base[:3])


def test_most_of_the_catalogue_may_be_hidden(http: TestClient, catalogue: Catalogue) -> None:
    apply(http, {"name": "h", "action": "hide", "filters": {"year": {"gte": 0}}})
    shown = items_of(http, "popular", k=60, fields=["year"])
    assert [item["fields"]["year"] for item in shown] == [None] * 7
    apply(http, {"name": "h", "action": "hide", "item_ids": list(catalogue.ids.ids)})
    assert ids_of(http, "model") == []


def test_hidden_items_are_similar_to_none(http: TestClient) -> None:
    def similar() -> list[str]:
        return [item["item_id"] for item in http.get("/items/i1/similar?k=59").json()["items"]]

    base = similar()
    apply(
        http,
        {"name": "h", "action": "hide", "item_ids": base[:3]},
        {"name": "later", "action": "hide", "item_ids": base[:8], "from": "2999-01-01"},
    )
    assert similar() == base[3:]


def test_a_boost_of_two_doubles_an_items_softmax_weight(http: TestClient) -> None:
    base = {item["item_id"]: item["score"] for item in items_of(http, k=60)}
    apply(http, {"name": "b", "action": "boost", "filters": DRAMA, "factor": 2})
    boosted = items_of(http, k=60)
    assert boosted == sorted(boosted, key=lambda item: -item["score"])
    for item in boosted:
        gain = math.log(2) if "drama" in item["fields"]["genres"] else 0
        assert item["score"] == pytest.approx(base[item["item_id"]] + gain, abs=1e-4)


@pytest.mark.parametrize("served_by", PEOPLE)
def test_boosts_and_buries_are_monotone_by_every_source(http: TestClient, served_by: str) -> None:
    base = ids_of(http, served_by, k=60)
    middle = base[len(base) // 2]
    ranks = []
    for factor in (1e6, 8, 2, 1):
        apply(http, {"name": "x", "action": "boost", "item_ids": [middle], "factor": factor})
        ranks.append(ids_of(http, served_by, k=60).index(middle))
    assert ranks[-1] == base.index(middle)
    for factor in (2, 8, 1e6):
        apply(http, {"name": "x", "action": "bury", "item_ids": [middle], "factor": factor})
        ranks.append(ids_of(http, served_by, k=60).index(middle))
    assert ranks == sorted(ranks)
    assert (ranks[0], ranks[-1]) == (0, len(base) - 1)


def test_factors_of_several_rules_multiply(http: TestClient) -> None:
    base = items_of(http, k=60)
    some = base[20]["item_id"]
    apply(
        http,
        {"name": "a", "action": "boost", "item_ids": [some], "factor": 6},
        {"name": "b", "action": "bury", "item_ids": [some], "factor": 3},
    )
    [found] = [item for item in items_of(http, k=60) if item["item_id"] == some]
    assert found["score"] == pytest.approx(base[20]["score"] + math.log(2), abs=1e-4)


@pytest.mark.parametrize("served_by", PEOPLE)
@pytest.mark.parametrize("rank", [1, 4, 10])
def test_a_pinned_item_has_its_rank(http: TestClient, served_by: str, rank: int) -> None:
    base = ids_of(http, served_by, k=20)
    apply(http, {"name": "p", "action": "pin", "item_id": base[15], "rank": rank})
    assert ids_of(http, served_by) == [*base[: rank - 1], base[15], *base[rank - 1 : 9]]
    assert ids_of(http, served_by, diversity=0.5)[rank - 1] == base[15]


def test_pins_at_one_rank_follow_each_other_and_those_beyond_k_are_left_out(
    http: TestClient,
) -> None:
    base = ids_of(http, k=20)
    pins = [(base[15], 2), (base[16], 2), (base[17], 3), (base[18], 50)]
    apply(
        http,
        *({"name": item, "action": "pin", "item_id": item, "rank": rank} for item, rank in pins),
    )
    assert ids_of(http, k=5) == [base[0], base[15], base[16], base[17], base[1]]
    assert ids_of(http, k=3) == [base[0], base[15], base[16]]


def test_a_pin_shows_nothing_that_the_answer_may_not_hold(http: TestClient) -> None:
    base = ids_of(http, k=20)
    pin = {"name": "p", "action": "pin", "item_id": base[7], "rank": 1}
    apply(http, pin)
    assert ids_of(http)[0] == base[7]
    assert base[7] not in ids_of(http, exclude=[base[7]])
    assert ids_of(http, candidates=base[:5]) == base[:5]
    assert ids_of(http, history=[base[7], "i3"], user_id=None)[0] != base[7]
    apply(http, pin, {"name": "h", "action": "hide", "item_ids": [base[7]]})
    assert base[7] not in ids_of(http)


@pytest.mark.parametrize("served_by", PEOPLE)
@pytest.mark.parametrize("diversity", [0.0, 0.6])
def test_a_cap_bounds_each_value_and_the_answer_is_full(
    http: TestClient, served_by: str, diversity: float
) -> None:
    apply(http, {"name": "c", "action": "cap", "attribute": "genres", "at_most": 2})
    capped = items_of(http, served_by, k=6, diversity=diversity)
    assert len(capped) == 6
    assert max(genres_of(capped).values()) <= 2


def test_a_cap_takes_the_best_item_that_fits_each_time(http: TestClient) -> None:
    base = items_of(http, k=60)
    apply(http, {"name": "c", "action": "cap", "attribute": "genres", "at_most": 1})
    expected, full = [], set[str]()
    for item in base:
        if not full & set(item["fields"]["genres"]):
            expected.append(item["item_id"])
            full.update(item["fields"]["genres"])
    # Longer than the answer can be: it ends where the cap permits nothing more.
    assert ids_of(http, k=50) == expected


def test_caps_on_numbers_leave_items_without_a_value_alone(http: TestClient) -> None:
    apply(http, {"name": "c", "action": "cap", "attribute": "year", "at_most": 1})
    years = Counter(item["fields"]["year"] for item in items_of(http, k=40, fields=["year"]))
    assert years.pop(None) > 1
    assert set(years.values()) == {1}


def test_pins_win_over_caps_and_count_in_them(http: TestClient) -> None:
    dramas = [i["item_id"] for i in items_of(http, k=60) if i["fields"]["genres"] == ["drama"]]
    cap = {"name": "c", "action": "cap", "attribute": "genres", "at_most": 1}
    pins = [
        {"name": item, "action": "pin", "item_id": item, "rank": rank}
        for rank, item in enumerate(dramas[:2], start=3)
    ]
    apply(http, cap, *pins)
    items = items_of(http, k=5)
    assert [items[2]["item_id"], items[3]["item_id"]] == dramas[:2]
    assert genres_of(items)["drama"] == 2
    assert max(n for genre, n in genres_of(items).items() if genre != "drama") == 1


def test_rules_hold_for_their_context_and_time(http: TestClient) -> None:
    base = ids_of(http)
    now = datetime.now(UTC)
    soon, past = (now + timedelta(hours=1)).isoformat(), (now - timedelta(hours=1)).isoformat()

    def hide(number: int, **when: Any) -> dict[str, Any]:
        return {"name": f"{number}", "action": "hide", "item_ids": [base[number]], **when}

    apply(
        http,
        hide(0, context={"country": "SE", "page": 7}),
        hide(1, **{"from": soon}),
        hide(2, until=past),
        hide(3, **{"from": past, "until": soon}),
        hide(4, context={"member": True}),
    )
    without = [base[0], base[1], base[2], *base[4:]]
    assert ids_of(http)[:9] == without
    assert ids_of(http, context={"country": "SE"})[:9] == without
    assert ids_of(http, context={"country": "SE", "page": "7", "x": 1})[:8] == without[1:]
    assert base[4] not in ids_of(http, context={"member": True})
    assert base[4] in ids_of(http, context={"member": False})


@pytest.mark.parametrize("served_by", PEOPLE)
def test_requests_have_boosts_and_caps_of_their_own(http: TestClient, served_by: str) -> None:
    base = items_of(http, served_by, k=30)
    last = base[-1]["item_id"]
    own = {"boosts": [{"item_ids": [last], "factor": 1e6}]}
    assert ids_of(http, served_by, **own)[0] == last
    buried = {"boosts": [{"action": "bury", "item_ids": [base[0]["item_id"]], "factor": 1e6}]}
    assert base[0]["item_id"] not in ids_of(http, served_by, **buried)
    capped = items_of(http, served_by, k=6, caps=[{"attribute": "genres", "at_most": 2}])
    assert len(capped) == 6
    assert max(genres_of(capped).values()) <= 2
    apply(http, {"name": "h", "action": "hide", "item_ids": [last]})
    assert last not in ids_of(http, served_by, **own)
    assert items_of(http, served_by, k=29) == base[:-1]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"boosts": [{"filters": {"colour": {"any": ["x"]}}, "factor": 2}]},
         "boosts[0].filters.colour: unknown attribute; known are title (text)"),
        ({"boosts": [{"filters": {"genres": {"gte": 3}}, "factor": 2}]},
         "boosts[0].filters.genres.gte: attribute 'genres' is a list"),
        ({"caps": [{"attribute": "colour", "at_most": 2}]},
         "caps[0].attribute: unknown attribute; known are title (text)"),
        ({"caps": [{"attribute": "genres", "at_most": 0}]}, "caps[0].at_most: Input should be"),
        ({"boosts": [{"factor": 2}]}, "boosts[0]: filters or item_ids is needed"),
        ({"boosts": [{"item_ids": ["i1"], "factor": 0.5}]}, "boosts[0].factor: Input should be"),
        ({"context": {"a": [1]}}, "context.a: Input should be a text"),
        ({"arm": "x"}, "arm: unknown field"),
        ({"_arm": "x"}, "_arm: unknown field"),
    ],
)  # fmt: skip
def test_wrong_rules_of_requests_are_named(
    http: TestClient, body: dict[str, Any], said: str
) -> None:
    answer = http.post("/recommend", json={"user_id": "u1", **body})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(said)


def test_unknown_items_that_a_request_boosts_are_counted(http: TestClient) -> None:
    body = {"user_id": "u1", "boosts": [{"item_ids": ["i1", "nothing"], "factor": 2}]}
    answer = http.post("/recommend", json=body).json()
    assert answer["degraded"] == ["unknown_boosted:1"]


def test_batches_have_rules_too(http: TestClient) -> None:
    base = ids_of(http)
    apply(http, {"name": "h", "action": "hide", "item_ids": base[:1]})
    own = {"item_ids": [base[5]], "factor": 1e6}
    requests = [{"user_id": "u1"}, {"user_id": "u1", "boosts": [own]}, {"user_id": "nobody"}]
    answers = http.post("/recommend/batch", json={"requests": requests}).json()["responses"]
    assert [answer["items"][0]["item_id"] for answer in answers[:2]] == [base[1], base[5]]
    assert base[0] not in [item["item_id"] for item in answers[2]["items"]]


@pytest.mark.parametrize("served_by", PEOPLE)
def test_explanations_name_the_rules_that_moved_an_item(http: TestClient, served_by: str) -> None:
    plain = {i["item_id"]: i for i in items_of(http, served_by, k=30, explain=True)}
    dramas = [i for i, item in plain.items() if "drama" in item["fields"]["genres"]]
    last = next(i for i in reversed(plain) if i not in dramas)
    apply(
        http,
        {"name": "more drama", "action": "boost", "filters": DRAMA, "factor": 50},
        {"name": "the last", "action": "pin", "item_id": last, "rank": 2},
        {"name": "three of each", "action": "cap", "attribute": "genres", "at_most": 3},
    )
    own = {"item_ids": dramas, "factor": 2, "action": "bury"}
    items = items_of(http, served_by, k=5, explain=True, boosts=[own])
    assert items[1]["item_id"] == last
    assert items[1]["explanation"]["rules"] == [{"name": "the last", "action": "pin", "rank": 2}]
    for item in items:
        rules = {rule["name"]: rule for rule in item["explanation"].get("rules", [])}
        is_drama = "drama" in item["fields"]["genres"]
        assert ("more drama" in rules) == is_drama
        assert ("boosts[0]" in rules) == (item["item_id"] in dramas)
        if is_drama:
            assert rules["more drama"] == {"name": "more drama", "action": "boost", "factor": 50}
        if "three of each" in rules:
            assert rules["three of each"]["skipped"] > 0
        # What the source says is as without rules.
        before = plain.get(item["item_id"], item)["explanation"]
        for key in ("share", "similarity"):
            assert item["explanation"].get(key) == pytest.approx(before.get(key), abs=1e-5)
    assert any("more drama" in str(item["explanation"]) for item in items)


def test_contributions_add_up_to_the_score_without_rules(http: TestClient) -> None:
    apply(http, {"name": "b", "action": "boost", "filters": DRAMA, "factor": 3})
    for item in items_of(http, explain=True):
        explanation = item["explanation"]
        parts = sum(reason["contribution"] for reason in explanation["because"])
        gain = math.log(3) if "rules" in explanation else 0
        assert parts + explanation["remainder"] + gain == pytest.approx(item["score"], abs=1e-4)
