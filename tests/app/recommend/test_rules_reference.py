"""Answers under random rules are, to the bit, those of a plain walk over all items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from app.http.requests import RecommendRequest
from app.model.model import Model, load_model
from app.model.rule_book import RuleBook
from app.model.rule_effect import MAX_SHIFT
from app.recommend.explanation import explain
from app.recommend.plan import make_plans
from app.recommend.scoring import score
from app.recommend.selection import choose
from model_store.bundle import Bundle
from model_store.rules import Rules
from tests.synthetic_bundle import GENRES

Random = np.random.Generator
Rule = dict[str, Any]
COUNTRIES = ("SE", "DK", "NO")


@pytest.fixture(scope="module")
def model(synthetic_bundle: Bundle) -> Model:
    return load_model(synthetic_bundle)


def random_rules(random: Random, ids: list[str]) -> list[Rule]:
    """Rules of all actions, some of them for a country, some not in force."""

    def some(n: int) -> list[str]:
        found: list[str] = random.choice(ids, n, replace=False).tolist()
        return found

    def one_rule() -> Rule:
        action = random.choice(["hide", "boost", "boost", "bury", "pin", "pin", "cap"])
        rule: Rule = {"action": str(action)}
        if action == "pin":
            return {**rule, "item_id": some(1)[0], "rank": int(random.integers(1, 15))}
        if action == "cap":
            attribute = str(random.choice(["genres", "year"]))
            return {**rule, "attribute": attribute, "at_most": int(random.integers(1, 4))}
        if action != "hide":
            rule["factor"] = float(random.choice([1.0, 1.7, 5.0, 1e4, 1e6]))
        if action != "hide" and random.random() < 0.5:
            return {**rule, "filters": {"genres": {"any": [str(random.choice(GENRES))]}}}
        return {**rule, "item_ids": some(int(random.integers(1, 6)))}

    rules = []
    for number in range(int(random.integers(1, 25))):
        rule = {"name": f"rule {number}", **one_rule()}
        if random.random() < 0.2:
            rule["context"] = {"country": str(random.choice(COUNTRIES))}
        if random.random() < 0.1:
            rule["until"] = "2020-01-01"
        rules.append(rule)
    return rules


def random_request(random: Random, ids: list[str]) -> dict[str, Any]:
    body: dict[str, Any] = {
        "history": random.choice(ids, random.integers(1, 6)).tolist(),
        "k": int(random.choice([1, 3, 10, 30, 60])),
        "exclude_seen": bool(random.random() < 0.7),
        "exclude": random.choice(ids, random.integers(0, 9), replace=False).tolist(),
        "context": {"country": str(random.choice(COUNTRIES))},
    }
    if random.random() < 0.3:
        body["candidates"] = random.choice(ids, random.integers(1, 40), replace=False).tolist()
    if random.random() < 0.2:
        del body["context"]
    return body


def in_force(rules: list[Rule], body: dict[str, Any], *actions: str) -> Iterator[Rule]:
    for rule in rules:
        fits = rule.get("context") in (None, body.get("context"))
        if rule["action"] in actions and fits and "until" not in rule:
            yield rule


def values_of(model: Model, item: int, rule: Rule) -> set[Any]:
    """The values that a cap counts, each with the cap's name."""
    value = model.attributes.row(item, (rule["attribute"],))[rule["attribute"]]
    values = value if isinstance(value, list) else [] if value is None else [value]
    return {(rule["name"], one) for one in values}


def expected(model: Model, rules: list[Rule], body: dict[str, Any]) -> tuple[list[int], Any]:
    """Items of the answer, and the scores of all items."""
    n, number = len(model.ids), {item: i for i, item in enumerate(model.ids.ids, 1)}
    history = [number[item] for item in body["history"]]
    [scores] = model.sequence.scores([np.array(history, dtype=np.int32)])
    shift = np.zeros(n + 1, dtype=np.float32)
    for rule in in_force(rules, body, "boost", "bury"):
        gain = np.float32(np.log(np.float64(rule["factor"])))
        met = {number[item] for item in rule.get("item_ids", ())}
        for name, wanted in rule.get("filters", {}).items():
            for item in range(1, n + 1):
                value: Any = model.attributes.row(item, (name,))[name]
                if set(value) & set(wanted["any"]):
                    met.add(item)
        shift[sorted(met)] += gain if rule["action"] == "boost" else -gain
    scores = scores + np.clip(shift, -MAX_SHIFT, MAX_SHIFT)

    permitted = {number[item] for item in body.get("candidates", model.ids.ids)}
    permitted -= {number[item] for item in body["exclude"]}
    permitted -= set(history) if body["exclude_seen"] else set()
    for rule in in_force(rules, body, "hide"):
        permitted -= {number[item] for item in rule["item_ids"]}

    places: dict[int, int] = {}
    rank = 0
    for rule in sorted(in_force(rules, body, "pin"), key=lambda rule: rule["rank"]):
        item = number[rule["item_id"]]
        if item in permitted and item not in places.values():
            rank = max(rank + 1, rule["rank"])
            if rank > body["k"]:
                break
            places[rank] = item

    caps = list(in_force(rules, body, "cap"))
    limits = {cap["name"]: cap["at_most"] for cap in caps}
    counts: Counter[Any] = Counter()
    for item in places.values():
        counts.update(value for cap in caps for value in values_of(model, item, cap))
    chosen: list[int] = []
    for item in sorted(permitted - {*places.values()}, key=lambda item: (-scores[item], item)):
        values = {value for cap in caps for value in values_of(model, item, cap)}
        if len(chosen) + len(places) < body["k"] and all(
            counts[value] < limits[value[0]] for value in values
        ):
            counts.update(values)
            chosen.append(item)
    for rank, item in sorted(places.items()):
        chosen.insert(rank - 1, item)
    return chosen, scores


@pytest.mark.parametrize("seed", range(4))
def test_answers_are_those_of_a_plain_walk(model: Model, seed: int) -> None:
    random = np.random.default_rng(seed)
    ids = list(model.ids.ids)
    n_capped = 0
    for _ in range(12):
        rules = random_rules(random, ids)
        ruled = model.with_rules(RuleBook(1, Rules.model_validate({"rules": rules}).rules, model))
        for _ in range(3):
            body = random_request(random, ids)
            items, scores = expected(model, rules, body)
            n_capped += any(in_force(rules, body, "cap"))
            for explains in (False, True):
                asked = RecommendRequest(**body, explain=explains)
                plans = make_plans([asked], ruled, 0.0)
                [choice] = explain(choose(score(plans, ruled), ruled), ruled)
                assert choice.items.tolist() == items, (rules, body, explains)
                assert choice.scores.tolist() == scores[items].tolist()
    assert n_capped > 5


def test_rules_hold_in_their_times_in_whatever_order_these_are_asked_for(model: Model) -> None:
    random = np.random.default_rng(3)
    begun_s = 1_800_000_000
    rules: list[Rule] = []
    for number in range(1, 31):
        rule: Rule = {"name": f"{number}", "action": "hide", "item_ids": [model.ids.id_of(number)]}
        begins, until = sorted(random.integers(0, 40, 2).tolist())
        if random.random() < 0.7:
            rule["from"] = _iso(begun_s + begins)
        if random.random() < 0.7:
            rule["until"] = _iso(begun_s + until + 1)
        if random.random() < 0.3:
            rule["context"] = {"country": str(random.choice(COUNTRIES))}
        if random.random() < 0.3:
            rule["arms"] = [str(random.choice(["a", "b"]))]
        rules.append(rule)
    book = RuleBook(1, Rules.model_validate({"rules": rules}).rules, model)
    for _ in range(200):
        now_s = begun_s + int(random.integers(-2, 44))
        country, arm = str(random.choice([*COUNTRIES, ""])), str(random.choice(["a", "b", ""]))
        effect = book.effect({"country": country} if country else None, arm or None, now_s)
        hidden = [
            number
            for number, rule in enumerate(rules, start=1)
            if rule.get("from", "") <= _iso(now_s) < rule.get("until", "9")
            and rule.get("context", {"country": country}) == {"country": country}
            and arm in rule.get("arms", [arm])
        ]
        assert ([] if effect is None else effect.hidden.tolist()) == hidden


def _iso(time_s: int) -> str:
    return str(np.datetime64(time_s, "s")) + "Z"
