"""Bundles for benchmarks that are over in seconds."""

from __future__ import annotations

from pathlib import Path

from loadtest.bench.bundles import SyntheticBundles
from tests.synthetic_bundle import make_bundle, make_catalogue

N_ITEMS = 300


class TinyBundles(SyntheticBundles):
    """Real bundles, created without torch."""

    def get(self, n_items: int, *, knowledge: bool = True, trained: bool = False) -> Path:
        folder = self.folder / f"tiny-{knowledge}-{trained}"
        if not folder.exists():
            catalogue = make_catalogue(n_items=min(n_items, N_ITEMS), n_users=60, history_length=50)
            make_bundle(folder, version=folder.name, catalogue=catalogue, with_encoder=knowledge)
        return folder
