import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline.data import hash_numbers
from offline.data.hash_numbers import HashNumbers

# Few bits at every place, so that many have others' place at several levels.
HASHES = st.integers(0, 5) | st.integers(2**64 - 5, 2**64 - 1) | st.integers(0, 2**64 - 1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(HASHES, max_size=100), max_size=4), st.sampled_from([1, 2, 17]))
def test_hashes_are_numbered_by_first_appearance_though_others_share_their_bits(batches, bits):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hash_numbers, "_PLACE_BITS", bits)
        table = hash_numbers._HashTable()
        known: dict[int, int] = {}
        for batch in batches:
            new = [h for h in dict.fromkeys(batch) if h not in known]
            numbers, first = table.add(np.array(batch, dtype=np.uint64))
            assert [batch[row] for row in first] == new
            known |= {h: len(known) + i for i, h in enumerate(new)}
            assert numbers.tolist() == [known[h] for h in batch]


def test_texts_with_one_hash_are_told_apart(monkeypatch):
    monkeypatch.setattr(pl.Series, "hash", lambda self: self.str.len_chars().cast(pl.UInt64))
    numbers = HashNumbers()
    assert numbers.add(pl.Series(["a", "bb", "a"])).tolist() == [0, 1, 0]
    assert numbers.add(pl.Series(["c", "bb", "d"])).tolist() == [2, 1, 3]
    assert numbers.add(pl.Series(["d", "a", "e"])).tolist() == [3, 0, 4]
    assert numbers.texts.to_list() == ["a", "bb", "c", "d", "e"]


def test_many_texts_in_many_parts():
    random = np.random.default_rng(0)
    texts = pl.Series(random.integers(0, 60_000, 200_000)).cast(pl.String)
    numbers = HashNumbers()
    parts = [numbers.add(texts.slice(start, 37_000)) for start in range(0, len(texts), 37_000)]
    assert numbers.texts.to_list() == texts.unique(maintain_order=True).to_list()
    assert (numbers.texts.gather(np.concatenate(parts)) == texts).all()
