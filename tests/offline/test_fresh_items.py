"""What fresh items need of the active version; how they are recommended is tested end to end."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from model_store.errors import InputError
from model_store.publication import publish
from model_store.registry import Registry
from offline.fresh_items import add_fresh_items
from tests.synthetic_bundle import make_bundle


def test_a_version_without_a_text_encoder_is_named(
    tmp_path: Path, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGTAIL_BUNDLES_DIR", str(tmp_path / "bundles"))
    source = make_bundle(tmp_path / "made", version="plain-1", with_encoder=False)
    publish(source, tmp_path / "bundles", client)
    Registry(client).activate("plain-1")
    with pytest.raises(InputError, match="version 'plain-1' has no text encoder"):
        add_fresh_items(tmp_path / "new.csv", client)
