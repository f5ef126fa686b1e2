from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import redis

from model_store import keys
from model_store.bundle import Bundle
from model_store.codecs import decode_vector
from model_store.errors import InputError
from model_store.fresh_items import FreshItem, find_new, publish_fresh
from model_store.publication import publish
from tests.synthetic_bundle import make_bundle, make_catalogue

VECTOR = np.full(6, 0.4, np.float32)


@pytest.fixture
def source(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "build" / "bundle", version="made-1")


def test_fresh_items_go_to_every_version_with_their_encoder(
    source: Bundle, bundles: Path, tmp_path: Path, client: redis.Redis
) -> None:
    publish(source, bundles, client)
    plain = make_bundle(tmp_path / "plain", version="plain-1", with_encoder=False)
    publish(plain, bundles, client)
    items = [FreshItem("new 1", VECTOR, {"title": "New"}), FreshItem("i1", VECTOR, {})]
    told: list[tuple[str, int, int]] = []
    added = publish_fresh(items, client, encoder="made", report=lambda *one: told.append(one))
    assert added == {"made-1": 1}
    assert told == [("fresh items", 1, 1)]
    assert publish_fresh(items, client, encoder="made") == {"made-1": 0}
    assert client.lrange(keys.fresh_key("made-1"), 0, -1) == [b"new 1"]
    assert client.exists(keys.fresh_key("plain-1")) == 0
    [blob] = client.hvals(keys.vectors_key("made-1"))
    np.testing.assert_allclose(decode_vector(blob, 6), VECTOR, rtol=2**-11)


def test_what_is_new_is_told_for_each_version(
    source: Bundle, bundles: Path, tmp_path: Path, client: redis.Redis
) -> None:
    publish(source, bundles, client)
    small = make_catalogue(n_items=40, seed=2)
    publish(make_bundle(tmp_path / "s", version="small-1", catalogue=small), bundles, client)
    publish_fresh([FreshItem("new", VECTOR, {})], client, encoder="made")
    ids = ["i1", "i50", "new", "newer", "newer"]
    assert find_new(ids, client, encoder="made") == {
        "made-1": {"newer"},
        "small-1": {"i50", "newer"},
    }


def test_items_in_a_store_of_an_earlier_release_are_known(
    source: Bundle, bundles: Path, client: redis.Redis
) -> None:
    """It wrote the vectors of all items, as float32."""
    publish(source, bundles, client)
    client.hset(keys.vectors_key("made-1"), "early", VECTOR.tobytes())
    client.rpush(keys.fresh_key("made-1"), "early")
    assert find_new(["early", "new"], client, encoder="made") == {"made-1": {"new"}}


def test_a_version_whose_bundle_is_elsewhere_gets_its_fresh_items(
    source: Bundle, bundles: Path, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    publish(source, bundles, client)
    shutil.rmtree(bundles / "made-1")
    with caplog.at_level(logging.WARNING):
        assert publish_fresh([FreshItem("new", VECTOR, {})], client, encoder="made") == {
            "made-1": 1
        }
    assert "version made-1: its items can't be looked up" in caplog.text


def test_fresh_items_need_a_version_and_vectors_that_can_be_stored(
    source: Bundle, bundles: Path, client: redis.Redis
) -> None:
    item = FreshItem("new", np.zeros(6, np.float32), {})
    with pytest.raises(InputError, match="'made'"):
        publish_fresh([item], client, encoder="made")
    publish(source, bundles, client)
    for value in (np.nan, 1e6):
        broken = FreshItem("new", np.full(6, value, np.float32), {})
        with pytest.raises(InputError, match=r"'new'.*NaN, infinity or a number beyond 65,504"):
            publish_fresh([item, broken], client, encoder="made")
    assert client.exists(keys.fresh_key("made-1")) == 0
