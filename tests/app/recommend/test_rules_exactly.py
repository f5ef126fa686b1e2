"""What rules do against a plain computation over all items, with a retriever and without."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from app.http.requests import RecommendRequest
from app.model.model import Model, load_model
from app.model.rule_book import RuleBook
from app.recommend.explanation import explain
from app.recommend.plan import make_plans
from app.recommend.scoring import score
from app.recommend.selection import choose
from model_store.bundle import Bundle
from model_store.rules import Rules
from tests.app.model.retrieved import N_ITEMS, bundle_with_retriever

GENRES = ("action", "comedy", "drama", "horror", "romance", "western")
K = 15


@pytest.fixture(scope="module")
def retrieved(tmp_path_factory: pytest.TempPathFactory) -> Model:
    model = load_model(bundle_with_retriever(tmp_path_factory.mktemp("retrieved")))
    assert model.retriever is not None
    return model


@pytest.fixture(scope="module")
def scored(synthetic_bundle: Bundle) -> Model:
    return load_model(synthetic_bundle)


@pytest.fixture(params=["scored", "retrieved"])
def model(request: pytest.FixtureRequest) -> Model:
    found: Model = request.getfixturevalue(request.param)
    return found


def ruled(model: Model, *rules: dict[str, Any]) -> Model:
    book = RuleBook(1, Rules.model_validate({"rules": list(rules)}).rules, model)
    assert book.warnings == []
    return model.with_rules(book)


def answer(model: Model, **body: Any) -> tuple[list[int], list[float]]:
    query = RecommendRequest(**{"k": K, "exclude_seen": False, **body})
    plans = make_plans([query], model, 0.0)
    [choice] = explain(choose(score(plans, model), model), model)
    return choice.items.tolist(), choice.scores.tolist()


def plain_scores(model: Model, history: Sequence[int]) -> np.ndarray[Any, np.dtype[np.float32]]:
    [user] = model.sequence.user_vectors([np.array(history, dtype=np.int32)])
    scores: np.ndarray[Any, np.dtype[np.float32]] = model.table @ user
    scores[0] = -np.inf
    return scores


def genres_of(model: Model, item: int) -> list[str]:
    found: Any = model.attributes.row(item, ("genres",))["genres"]
    return list(found)


@pytest.mark.parametrize("seed", range(6))
def test_the_best_by_weighted_scores_are_found(model: Model, seed: int) -> None:
    random = np.random.default_rng(seed)
    n = len(model.ids)
    history = random.integers(1, n + 1, 4).tolist()
    scores = plain_scores(model, history)
    order = np.argsort(-scores, kind="stable")
    listed = [order[:5], order[40:50], random.integers(1, n + 1, 8)]
    rules: list[dict[str, Any]] = [
        {"name": "few", "action": "boost", "factor": 3.0},
        {"name": "others", "action": "bury", "factor": 40.0},
        {"name": "more", "action": "boost", "factor": 1.5},
    ]
    expected = scores.astype(np.float64)
    for rule, items in zip(rules, listed, strict=True):
        chosen = np.unique(items)
        rule["item_ids"] = [model.ids.id_of(int(item)) for item in chosen]
        sign = 1 if rule["action"] == "boost" else -1
        expected[chosen] += sign * np.log(rule["factor"])
    liked, disliked = random.choice(GENRES, 2, replace=False).tolist()
    for genre, action, factor in ((liked, "boost", 20.0), (disliked, "bury", 1e4)):
        filters = {"genres": {"any": [genre]}}
        rules.append({"name": genre, "action": action, "factor": factor, "filters": filters})
        has = [item for item in range(1, n + 1) if genre in genres_of(model, item)]
        expected[has] += np.log(factor) * (1 if action == "boost" else -1)
    hidden = np.argsort(-expected, kind="stable")[:7]
    listed_ids = [model.ids.id_of(int(item)) for item in hidden]
    rules.append({"name": "hidden", "action": "hide", "item_ids": listed_ids})
    expected[hidden] = -np.inf
    given = [model.ids.id_of(item) for item in history]

    items, found = answer(ruled(model, *rules), history=given)
    best = np.argsort(-expected, kind="stable")[:K]
    assert found == pytest.approx(expected[best], abs=1e-4)
    assert expected[items] == pytest.approx(expected[best], abs=1e-4)
    # The same where only some of the items are asked for.
    some = np.unique(random.integers(1, n + 1, n // 3))
    candidates = [model.ids.id_of(int(item)) for item in some]
    _, found = answer(ruled(model, *rules), history=given, candidates=candidates)
    best = some[np.argsort(-expected[some], kind="stable")]
    wanted = [score for score in expected[best].tolist() if score > -np.inf][:K]
    assert found == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_caps_take_the_best_that_fit_from_the_whole_catalogue(model: Model, seed: int) -> None:
    random = np.random.default_rng(seed)
    history = random.integers(1, len(model.ids) + 1, 4).tolist()
    scores = plain_scores(model, history)
    most = int(random.integers(1, 5))
    expected: list[int] = []
    counts = Counter[str]()
    for item in np.argsort(-scores, kind="stable")[:-1].tolist():
        genres = genres_of(model, item)
        if len(expected) < 40 and all(counts[genre] < most for genre in genres):
            counts.update(genres)
            expected.append(item)
    cap = {"name": "c", "action": "cap", "attribute": "genres", "at_most": most}
    given = [model.ids.id_of(item) for item in history]
    assert answer(ruled(model, cap), history=given, k=40)[0] == expected


def test_k_items_are_answered_while_so_many_are_not_hidden(model: Model) -> None:
    n = len(model.ids)
    scores = plain_scores(model, [1, 2])
    order = np.argsort(-scores, kind="stable")[:-1]
    kept = order[-K:]
    numbers = sorted(set(range(1, n + 1)) - set(kept.tolist()))
    given = [model.ids.id_of(1), model.ids.id_of(2)]
    hide = {"name": "h", "action": "hide", "item_ids": [model.ids.id_of(item) for item in numbers]}
    assert answer(ruled(model, hide), history=given)[0] == kept.tolist()
    # Half of the catalogue, by a filter: with a retriever, most of what a search finds is hidden.
    half = {"name": "h", "action": "hide", "filters": {"genres": {"any": list(GENRES[:3])}}}
    items, _ = answer(ruled(model, half), history=given)
    left = [item for item in order.tolist() if not set(genres_of(model, item)) & set(GENRES[:3])]
    assert items == left[:K]


def test_a_book_keeps_no_model(scored: Model) -> None:
    """Else each change of rules would keep all models before."""
    models = [ruled(scored, {"name": "h", "action": "hide", "item_ids": ["i1"]})]
    for _ in range(3):
        models.append(models[-1].with_rules(RuleBook(2, [], models[-1])))
    first = weakref.ref(models[0])
    last = models[-1]
    del models
    gc.collect()
    assert first() is None
    assert last.rules is not None


def test_withdrawn_items_are_in_no_answer(model: Model) -> None:
    order = np.argsort(-plain_scores(model, [1, 2]), kind="stable")[:-1]
    withdrawn = [*order[:4].tolist(), *order[10:12].tolist()]
    given = [model.ids.id_of(1), model.ids.id_of(2)]
    factor = {"factor": 1.0001}
    rules: list[dict[str, Any]] = [
        {"name": "b", "action": "boost", "item_ids": [model.ids.id_of(withdrawn[0])], **factor},
        {"name": "g", "action": "boost", "filters": {"genres": {"any": ["drama"]}}, **factor},
        {"name": "p", "action": "pin", "item_id": model.ids.id_of(withdrawn[1]), "rank": 1},
        {"name": "c", "action": "cap", "attribute": "genres", "at_most": 1000},
    ]
    model.availability.set(dict.fromkeys(withdrawn, False))
    try:
        items, _ = answer(ruled(model, *rules), history=given)
        hidden = {"name": "h", "action": "hide", "filters": {"year": {"gte": 0}}}
        few, _ = answer(ruled(model, hidden), history=given, k=1000)
    finally:
        model.availability.set(dict.fromkeys(withdrawn, True))
    assert sorted(items) == sorted([item for item in order if item not in withdrawn][:K])
    assert few
    assert not set(few) & set(withdrawn)


def test_pinned_items_far_down_are_found_by_a_retriever(retrieved: Model) -> None:
    scores = plain_scores(retrieved, [5])
    order = np.argsort(-scores, kind="stable")
    last = int(order[N_ITEMS - 1])
    pin = {"name": "p", "action": "pin", "item_id": retrieved.ids.id_of(last), "rank": 3}
    items, found = answer(ruled(retrieved, pin), history=[retrieved.ids.id_of(5)])
    assert items == [*order[:2].tolist(), last, *order[2 : K - 1].tolist()]
    assert found[2] == pytest.approx(scores[last], abs=1e-4)
