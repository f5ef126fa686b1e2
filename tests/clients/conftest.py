"""A service on a port of its own, for the clients' tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.settings import Settings
from model_store.embedded import EmbeddedStore
from model_store.id_map import IdMap
from model_store.publication import publish
from model_store.store import connect
from tests.app.conftest import (
    AS_ADMIN,
    loads_without_pauses,  # noqa: F401 - a fixture
    publish_and_activate,
    settings_for,
)
from tests.app.listening import listening
from tests.synthetic_bundle import make_bundle, make_catalogue
from tests.synthetic_ratings import make_rating_bundle

ODD_ID = "../ä b%2F?"
"""An item's id that is nothing but trouble in a URL."""
# Ids of the pages' examples, in the place of some of the catalogue's.
RENAMED_ITEMS = {"i50": "50", "i18": "181", "i42": "242", "i30": "302", "i60": ODD_ID}
RENAMED_USERS = {"u7": "196", "u8": "22"}


@dataclass(frozen=True)
class RunningService:
    """A service, and what another one on its store needs."""

    url: str
    settings: Settings
    folder: Path

    @property
    def document(self) -> dict[str, Any]:
        """Its OpenAPI document."""
        found: dict[str, Any] = httpx.get(f"{self.url}/openapi.json").json()
        return found


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A sequential model by default, and one that predicts ratings under the name `ratings`."""
    folder = tmp_path_factory.mktemp("service")
    made = make_catalogue()
    ids = IdMap([RENAMED_ITEMS.get(one, one) for one in made.ids.ids])
    users = {RENAMED_USERS.get(one, one): history for one, history in made.histories.items()}
    made = replace(made, ids=ids, histories=users)
    with EmbeddedStore(folder / "store", fsync="everysec") as store:
        publish_and_activate(make_bundle(folder / "made", catalogue=made), folder, store.url)
        rated = make_rating_bundle(folder / "rated", catalogue=made)
        with connect(store.url) as client:
            publish(rated, folder / "bundles", client)
        settings = settings_for(store.url, folder)
        with listening(settings) as running:
            url = f"http://127.0.0.1:{running.port}"
            activated = httpx.post(
                f"{url}/admin/models/rated-1/activate?model=ratings", headers=AS_ADMIN, timeout=60
            )
            assert activated.status_code == 200, activated.text
            yield RunningService(url, settings, folder)
