"""Ids that nearly meet: the differences that files of one shop have in practice."""

from __future__ import annotations

import pytest

from offline.inspect.near_misses import find_near_misses


@pytest.mark.parametrize(
    ("ours", "theirs", "difference"),
    [
        ("101.0", "101", "a decimal part of zeros"),
        ("101,00", "101", "a decimal part of zeros"),
        ("101 ", "101", "blanks or invisible characters"),
        ("10\u00a01", "101", "blanks or invisible characters"),
        ("\u200b101", "101", "blanks or invisible characters"),
        ("b7", "B7", "upper and lower case"),
        ("STRASSE", "straße", "upper and lower case"),
        ("cafe\u0301", "caf\u00e9", "the way letters are composed"),
        ("１０１", "101", "the way letters are composed"),
        ("0101", "101", "leading zeros"),
        ('"101"', "101", "quotes"),
        ("AB-101", "AB101", "punctuation"),
        ("sku_101", "101", "the beginning 'sku_'"),
        ("101", "item:101", "the beginning 'item:'"),
        (" 0B7.0", "b7", "several of these at once"),
    ],
)
def test_a_difference_is_named(ours: str, theirs: str, difference: str) -> None:
    [miss] = find_near_misses([ours], [theirs])
    assert miss.difference == difference
    assert miss.examples == ((ours, theirs),)
    assert str(miss).startswith("1 differ by ")


def test_a_beginning_and_another_difference_are_seen_through_together() -> None:
    ours, theirs = [f"sku-{n}.0" for n in range(90, 110)], [f"{n:04}" for n in range(90, 110)]
    [miss] = find_near_misses(ours, theirs)
    assert (miss.difference, miss.count) == ("several of these at once", 20)
    assert miss.examples[0] == ("sku-90.0", "0090")


def test_ids_that_have_nothing_in_common_are_no_near_misses() -> None:
    assert find_near_misses(["a1", "a2"], ["b3", "b4"]) == []
    assert find_near_misses([], ["a"]) == []
    assert find_near_misses(["a"], []) == []
    assert find_near_misses(["-", "."], ["_", "/"]) == []


def test_each_id_counts_once_and_few_are_shown() -> None:
    ours = [f"{n}.0" for n in range(100, 120)] + ["x7"]
    misses = find_near_misses(ours, [*(str(n) for n in range(100, 120)), "X7"])
    assert [(miss.difference, miss.count, len(miss.examples)) for miss in misses] == [
        ("a decimal part of zeros", 20, 3),
        ("upper and lower case", 1, 1),
    ]
