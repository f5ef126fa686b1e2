"""Bundles for benchmarks that are over in seconds."""

from __future__ import annotations

from pathlib import Path

from loadtest.bench.bundles import SyntheticBundles
from tests.synthetic_bundle import make_bundle, make_catalogue

N_ITEMS = 300


class TinyBundles(SyntheticBundles):
    """Real bundles, created without torch."""

    def get(
        self,
        n_items: int,
        *,
        knowledge: bool = True,
        trained: bool = False,
        reranker_layers: int | None = None,
    ) -> Path:
        reranks = reranker_layers is not None
        folder = self.folder / f"tiny-{knowledge}-{trained}-{reranks}"
        if not folder.exists():
            # Histories of many lengths, so that there are tail users.
            length = 0 if reranks else 50
            catalogue = make_catalogue(min(n_items, N_ITEMS), n_users=60, history_length=length)
            make_bundle(
                folder,
                version=folder.name,
                catalogue=catalogue,
                with_encoder=knowledge,
                with_reranker=reranks,
            )
        return folder
