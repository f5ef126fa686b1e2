"""The card beside a bundle on a hub."""

from __future__ import annotations

import yaml

from model_store.bundle import Bundle
from model_store.exchange.card import model_card
from model_store.signatures import SIGNATURE
from tests.model_store.exchange.conftest import HUB


def test_the_card_says_what_the_bundle_is(bundle: Bundle) -> None:
    card = model_card(bundle.manifest, HUB, is_signed=False)
    _, metadata, text = card.split("---\n", 2)
    document = yaml.safe_load(metadata)
    assert document["library_name"] == "longtail"
    assert document["longtail"]["version"] == bundle.version
    assert f"longtail bundle pull {HUB} --out bundles" in text
    assert f"{bundle.manifest.n_items:,}" in text
    assert all(f"| `{name}` |" in text for name in bundle.manifest.metrics)
    assert SIGNATURE not in text
    assert SIGNATURE in model_card(bundle.manifest, HUB, is_signed=True)


def test_no_text_of_a_manifest_ends_the_cards_metadata_or_a_table(bundle: Bundle) -> None:
    hostile = 'a"\n---\n# <script>`|\n'
    model = bundle.manifest.model.model_copy(update={"name": hostile})
    manifest = bundle.manifest.model_copy(update={"model": model, "code_revision": hostile})
    card = model_card(manifest, HUB, is_signed=False)
    _, metadata, text = card.split("---\n", 2)
    assert yaml.safe_load(metadata)["tags"][2] == hostile
    assert [line for line in text.splitlines() if "script" in line] == [
        "| Model | `a\" --- # <script>'/` |", "| Code | `a\" --- # <script>'/` |",
    ]  # fmt: skip
