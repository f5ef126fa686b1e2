import polars as pl
import pytest

from offline.data.kinds.ids import are_no_value, are_shortened, as_ids, as_meant


def test_ids_stay_as_they_stand():
    odd = ["007", " 7 ", "été", "映画", "x" * 200, "1e5", "7.0", ""]
    assert as_ids(pl.Series(odd)).to_list() == odd
    assert as_ids(pl.Series([7, -7, None])).to_list() == ["7", "-7", None]
    assert as_ids(pl.Series([2**64 - 1], dtype=pl.UInt64)).to_list() == [str(2**64 - 1)]
    assert as_ids(pl.Series(["b", "a"], dtype=pl.Categorical)).to_list() == ["b", "a"]
    assert as_ids(pl.Series([7.0, None, 7.5])).to_list() == ["7", None, "7.5"]


def test_whole_numbers_with_a_fraction_of_zero_lose_it_where_all_have_one():
    assert as_meant(["7.0", "101.0", "0.00"])[0] == ["7", "101", "0"]
    assert "'7.0' is read as 7" in as_meant(["7.0"])[1]
    for kept in (["7.0", "7.5"], ["7.0", "b"], ["07.0"], ["7"], ["1e5"], [], ["7.0", ""]):
        assert as_meant(kept) == (kept, "as they stand")


@pytest.mark.parametrize(
    ("ids", "meant"),
    [
        (["'a'", "'b'"], ["a", "b"]),
        (['="007"', '="008"'], ["007", "008"]),
        (["'007", "'008"], ["007", "008"]),
        (['"7.0"', '"8.0"'], ["7", "8"]),
        (["7,0", "8,0"], ["7", "8"]),
    ],
)
def test_what_all_ids_have_around_them_is_no_part_of_them(ids, meant):
    read, detail = as_meant(ids)
    assert read == meant
    assert f"{ids[0]!r} is read as " in detail


@pytest.mark.parametrize(
    "ids", [[" a", " b"], ["'a'", "b"], ["7.0", "7.00"], ["x y", "y x"], ["o'neil", "'a"], [""]]
)
def test_what_some_ids_have_stays(ids):
    assert as_meant(ids) == (ids, "as they stand")


def test_not_a_number_is_no_id():
    assert as_ids(pl.Series([7.0, float("nan"), None])).to_list() == ["7", None, None]


@pytest.mark.parametrize("last", ["x", "7"])
def test_one_id_far_behind_the_first_ones_tells_that_the_others_are_no_wrapping(last):
    quoted, decimals = [f"'{n}'" for n in range(300)], [f"{n}.0" for n in range(300)]
    for alike in (quoted, decimals):
        assert as_meant(alike)[0] == [str(n) for n in range(300)]
        assert as_meant([*alike, last]) == ([*alike, last], "as they stand")


def test_a_word_for_no_value_is_one_among_numbers_only_wherever_it_stands():
    numbers = [str(n) for n in range(300)]
    assert are_no_value(pl.Series([*numbers, "null"])).sum() == 1
    assert not are_no_value(pl.Series([*numbers, "null", "code"])).any()
    assert not are_no_value(pl.Series(["code", *numbers, "null"])).any()


def test_lost_digits_are_seen_in_numbers_only():
    found = are_shortened(pl.Series(["1.23457E+12", "c++", None, "1e+5x", "4e+07"]))
    assert found.to_list() == [True, False, False, False, True]
