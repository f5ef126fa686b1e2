import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline.data import id_numbers
from offline.data.id_numbers import IdNumbers

ids = st.sampled_from(
    ["7", "07", "+7", "-7", " 7", "7.0", "0", "00", "", None, "a", "70", "\u0661"]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(ids, max_size=8), max_size=4), st.sampled_from([1, 5, 1000]))
def test_ids_are_numbered_by_first_appearance(batches, together):
    numbers = IdNumbers()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(id_numbers, "_NUMBERED_ROWS", together)
        for batch in batches:
            numbers.add(pl.Series(batch, dtype=pl.String))
        rows, known = numbers.rows, numbers.ids
    flat = [item_id or "" for batch in batches for item_id in batch]
    assert known == list(dict.fromkeys(flat))
    assert [known[number] for number in rows] == flat


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 5) | st.integers(2**64 - 5, 2**64 - 1), min_size=1, max_size=300))
def test_rows_with_one_hash_are_found_though_others_share_its_first_bits(hashes):
    first, firsts = id_numbers._first_rows(np.array(hashes, dtype=np.uint64))
    assert first.tolist() == [hashes.index(one) for one in hashes]
    assert firsts.tolist() == sorted(set(first.tolist()))


def test_integers_are_ids_as_their_digits_are():
    numbers = IdNumbers()
    numbers.add(pl.Series([7, 0, 7]))
    numbers.add(pl.Series(["07", "0"]))
    assert (numbers.ids, numbers.rows.tolist()) == (["7", "0", "07"], [0, 1, 0, 2, 1])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 40).map(str), min_size=1, max_size=40))
def test_plain_digits_are_numbered_alike(texts):
    numbers = IdNumbers()
    numbers.add(pl.Series(texts))
    assert [numbers.ids[number] for number in numbers.rows] == texts
    kept = np.arange(len(texts)) % 2 == 1
    rows, known, _ = numbers.of_rows(kept)
    assert [known[number] for number in rows] == texts[1::2]
    assert known == list(dict.fromkeys(texts[1::2]))
