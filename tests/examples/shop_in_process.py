"""The operator of a simulated shop without processes of its own: to start them costs the most."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import longtail
from examples.loop.shop import Shop
from longtail_client import Client
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from tests.app.conftest import publish_and_activate, settings_for
from tests.app.listening import listening


@dataclass(frozen=True)
class ShopInProcess(Shop):
    """The same commands and the same service, and a store that each of them starts or joins."""

    @contextmanager
    def service(self, bundle: Path) -> Iterator[Client]:
        self.folder.mkdir(parents=True, exist_ok=True)
        exposures = {"exposure_share": 1.0, "explore_share": self.explore}
        with EmbeddedStore(self.folder / "store", fsync="everysec") as store:
            publish_and_activate(Bundle.open(bundle), self.folder, store.url)
            settings = settings_for(store.url, self.folder, **exposures)
            with (
                listening(settings) as running,
                Client(f"http://127.0.0.1:{running.port}", timeout_s=60) as client,
            ):
                yield client

    def _command(self, *arguments: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LONGTAIL_BUNDLES_DIR", str(self.folder / "bundles"))
            patch.setenv("LONGTAIL_STORE_DIR", str(self.folder / "store"))
            patch.delenv("LONGTAIL_REDIS_URL", raising=False)
            assert longtail.main([*arguments]) == 0
