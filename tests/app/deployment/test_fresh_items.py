"""A model with more items, as it is made beside the requests."""

from __future__ import annotations

import asyncio

import numpy as np

from app.deployment.fresh_items import with_fresh_items
from app.model.background import BackgroundThread
from app.model.model import Model, load_model
from app.store.versions import StoredItem
from model_store.bundle import Bundle
from model_store.codecs import encode_vector


def stored(bundle: Bundle, *numbers: int) -> list[StoredItem]:
    assert bundle.knowledge_vectors is not None
    return [
        StoredItem(
            b"fresh %d" % number, encode_vector(bundle.knowledge_vectors[number]), None, None
        )
        for number in numbers
    ]


def test_what_was_computed_at_load_is_there_for_the_first_request(
    synthetic_bundle: Bundle,
) -> None:
    """Lengths of a large table take long, and requests about similar items need them."""

    async def grow() -> list[Model]:
        found = stored(synthetic_bundle, 3, 5)
        some = await with_fresh_items(model, found, 2, thread)
        more = await with_fresh_items(some, stored(synthetic_bundle, 7), 3, thread)
        again = await with_fresh_items(more, found, 5, thread)  # no new one among them
        return [some, more, again]

    model = load_model(synthetic_bundle)
    thread = BackgroundThread("a test", yields=False)
    try:
        grown = asyncio.run(grow())
    finally:
        thread.stop(1.0)
    n_items = len(model.ids)
    assert [len(one.ids) - n_items for one in grown] == [2, 3, 3]
    assert [(one.n_fresh_read, one.last_fresh_read) for one in grown] == [
        *((2, b"fresh 5"), (3, b"fresh 7"), (5, b"fresh 5"))
    ]
    for one in grown:
        assert "lengths" in vars(one)
        assert one.lengths.shape == (len(one.ids) + 1,)
        expected = np.linalg.norm(one.table[1:], axis=1)
        np.testing.assert_allclose(one.lengths[1:], expected, rtol=1e-6)
