"""The examples of docs/rules.md do what the page says."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from model_store.attributes import Attribute, ItemAttributes
from model_store.embedded import EmbeddedStore
from model_store.id_map import IdMap
from model_store.store import connect
from tests.app.conftest import AS_ADMIN, publish_and_activate, serving, settings_for
from tests.contracts.tree import ROOT
from tests.synthetic_bundle import Catalogue, make_bundle, make_catalogue

PAGE = (ROOT / "docs" / "rules.md").read_text()
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
K = 12


def examples(section: str) -> list[dict[str, Any]]:
    found = re.findall(r"```json\n(.*?)```", SECTIONS[section], re.DOTALL)
    return [json.loads(one) for one in found]


def catalogue_of_films() -> Catalogue:
    """The tests' catalogue, with ids and genres as the page has them."""
    made = make_catalogue()
    n = len(made.ids)
    genres: Any = [
        [
            genre.title().replace("Western", "Documentary")
            for genre in made.attributes.row(i)["genres"]
        ]  # type: ignore[union-attr]
        for i in range(1, n + 1)
    ]
    years = made.attributes.get("year")
    assert years is not None
    attributes = ItemAttributes([years, Attribute("genres", "list", genres)], n)
    ids = IdMap([f"{number}" for number in range(1, n + 1)])
    histories = {"anna": made.histories["u1"], **made.histories}
    return Catalogue(
        **{**made.__dict__, "ids": ids, "attributes": attributes, "histories": histories}
    )


@pytest.fixture(scope="module")
def films(store: EmbeddedStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("films")
    with connect(store.url) as client:
        client.flushall()
    bundle = make_bundle(folder / "films", version="films-1", catalogue=catalogue_of_films())
    publish_and_activate(bundle, folder, store.url)
    with serving(settings_for(store.url, folder)) as http:
        yield http


def answer(http: TestClient, **body: Any) -> list[dict[str, Any]]:
    asked = {"user_id": "anna", "k": K, "fields": ["genres", "year"], **body}
    response = http.post("/recommend", json=asked)
    assert response.status_code == 200, response.text
    items: list[dict[str, Any]] = response.json()["items"]
    return items


def ids_of(items: list[dict[str, Any]]) -> list[str]:
    return [item["item_id"] for item in items]


def genres_of(items: list[dict[str, Any]]) -> Counter[str]:
    return Counter(genre for item in items for genre in item["fields"]["genres"])


def apply(http: TestClient, document: dict[str, Any]) -> dict[str, Any]:
    response = http.put("/admin/rules", json=document, headers=AS_ADMIN)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    assert found["warnings"] == []
    return found


def ruled(http: TestClient, section: str, **body: Any) -> list[dict[str, Any]]:
    """An answer under the first example of a section."""
    apply(http, examples(section)[0])
    try:
        return answer(http, **body)
    finally:
        apply(http, {"rules": []})


@pytest.mark.parametrize(
    "person", [{}, {"user_id": "nobody"}, {"user_id": None, "interests": "horror"}]
)
def test_hide(films: TestClient, person: dict[str, Any]) -> None:
    base = answer(films, **person, k=60)
    recent = {item["item_id"] for item in base if (item["fields"]["year"] or 0) >= 2003}
    assert recent
    assert {"7", "20"} <= set(ids_of(base))
    left = [item_id for item_id in ids_of(base) if item_id not in recent | {"7", "20"}]
    assert ids_of(ruled(films, "Hide", **person)) == left[:K]


def test_boost_and_bury(films: TestClient) -> None:
    base = genres_of(answer(films))
    found = ruled(films, "Boost and bury")
    assert genres_of(found)["Documentary"] > base["Documentary"]
    assert genres_of(found)["Horror"] < base["Horror"]
    assert len(found) == K


def test_pin(films: TestClient) -> None:
    base = ids_of(answer(films))
    assert not {"12", "33"} & set(base[:3])
    pinned = ids_of(ruled(films, "Pin"))
    assert (pinned[0], pinned[2]) == ("12", "33")
    assert "33" not in ids_of(ruled(films, "Pin", k=2))
    assert "12" not in ids_of(ruled(films, "Pin", exclude=["12"]))


def test_cap(films: TestClient) -> None:
    assert max(genres_of(answer(films, k=6)).values()) > 2
    capped = ruled(films, "Cap", k=6)
    assert len(capped) == 6
    assert max(genres_of(capped).values()) == 2


def test_context(films: TestClient) -> None:
    rules, request = examples("When a rule holds")
    base = ids_of(answer(films, k=60))
    apply(films, rules)
    assert "7" in base
    assert ids_of(answer(films, k=60)) == base
    assert set(base) - set(ids_of(answer(films, **request, k=60))) == {"7"}
    apply(films, {"rules": []})


def test_rules_of_a_request(films: TestClient) -> None:
    [request] = examples("In a request")
    base = answer(films, k=6)
    assert base[0]["item_id"] != "33"
    found = answer(films, **request, k=6)
    assert found[0]["item_id"] == "33"
    assert max(genres_of(found).values()) == 2 < max(genres_of(base).values())


def test_limits_are_those_of_the_code() -> None:
    from app.http.requests import MAX_RULES_ASKED
    from app.model.rule_effect import MAX_SHIFT
    from model_store.rule_registry import MAX_EARLIER_RULES
    from model_store.rules import MAX_LISTED_ITEMS, MAX_RULES

    revisions = " ".join(SECTIONS["Revisions"].split())
    assert f"{MAX_RULES} rules, which list {MAX_LISTED_ITEMS:,} items" in revisions
    assert f"the last {MAX_EARLIER_RULES} sets" in revisions
    assert f"up to {MAX_RULES_ASKED} boosts and {MAX_RULES_ASKED} caps" in revisions
    assert 1e13 <= float(2.718281828459045**MAX_SHIFT) < 2e13
