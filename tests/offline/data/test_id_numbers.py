import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from offline.data.id_numbers import IdNumbers

ids = st.sampled_from(
    ["7", "07", "+7", "-7", " 7", "7.0", "0", "00", "", None, "a", "70", "\u0661"]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(ids, max_size=8), max_size=4))
def test_ids_are_numbered_by_first_appearance(batches):
    numbers = IdNumbers()
    for batch in batches:
        numbers.add(pl.Series(batch, dtype=pl.String))
    flat = [item_id or "" for batch in batches for item_id in batch]
    assert numbers.ids == list(dict.fromkeys(flat))
    assert [numbers.ids[number] for number in numbers.rows] == flat


def test_integers_are_ids_as_their_digits_are():
    numbers = IdNumbers()
    numbers.add(pl.Series([7, 0, 7]))
    numbers.add(pl.Series(["07", "0"]))
    assert (numbers.ids, numbers.rows.tolist()) == (["7", "0", "07"], [0, 1, 0, 2, 1])


def test_large_integers_are_ids_as_their_digits_are():
    numbers = IdNumbers()
    for batch in ([7, 2**40], [2**40 + 1, 7]):
        numbers.add(pl.Series(batch))
    assert numbers.ids == ["7", str(2**40), str(2**40 + 1)]
    assert numbers.rows.tolist() == [0, 1, 2, 0]


def test_few_integers_that_lie_far_apart_need_no_large_table():
    numbers = IdNumbers()
    numbers.add(pl.Series(["3000000000", "5", "3000000000"]))
    assert (numbers.ids, numbers.rows.tolist()) == (["3000000000", "5"], [0, 1, 0])


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
