from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.comparison.measures import overlap, rank_biased_overlap, rank_correlation

Lists = st.lists(st.sampled_from("abcdefghijkl"), unique=True, max_size=10)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("abcd", "abcd", 1.0),
        ("abcd", "dcba", 1.0),
        ("abcd", "abxy", 0.5),
        ("abcd", "wxyz", 0.0),
        ("abcd", "ab", 0.5),
        ("abcd", "", 0.0),
        ("", "", 1.0),
    ],
)
def test_overlap(a: str, b: str, expected: float) -> None:
    assert overlap(a, b) == expected


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("abcd", "abcd", 1.0),
        ("abcd", "dcba", -1.0),
        # Ranks differ by 1, 1, 0, 0: 1 - 6 * 2 / (4 * 15).
        ("abcd", "bacd", 0.8),
        # Of a and c alone, in the same order, whatever stands between them.
        ("abcd", "axyc", 1.0),
        ("abcd", "cxya", -1.0),
        ("abcd", "axyz", None),
        ("abcd", "wxyz", None),
        ("", "", None),
    ],
)
def test_rank_correlation(a: str, b: str, expected: float | None) -> None:
    assert rank_correlation(a, b) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("abc", "abc", 1.0),
        ("abc", "xyz", 0.0),
        # In common up to each depth: 0 of 1, 2 of 2.
        ("ab", "ba", 0.5 / 1.5),
        # 1 of 1, 1 of 2, 1 of 3.
        ("abc", "axy", (1 + 0.5 / 2 + 0.25 / 3) / 1.75),
        # 1 of 1, 1 of 2: the second list has ended.
        ("ab", "a", (1 + 0.5 / 2) / 1.5),
        ("ab", "", 0.0),
        ("", "", 1.0),
    ],
)
def test_rank_biased_overlap(a: str, b: str, expected: float) -> None:
    assert rank_biased_overlap(a, b, persistence=0.5) == pytest.approx(expected)


def test_first_ranks_count_most() -> None:
    last, first = list("abcdefghix"), list("xbcdefghij")
    assert rank_biased_overlap("abcdefghij", last) > rank_biased_overlap("abcdefghij", first)


@given(Lists, Lists)
def test_measures_are_symmetric_and_bounded(a: list[str], b: list[str]) -> None:
    for measure in (overlap, rank_biased_overlap):
        assert measure(a, b) == measure(b, a)
        assert 0 <= measure(a, b) <= 1 + 1e-12
        assert (measure(a, b) == 0) == (not set(a) & set(b) and bool(a or b))
    correlation = rank_correlation(a, b)
    assert correlation == rank_correlation(b, a)
    assert correlation is None or -1 - 1e-12 <= correlation <= 1 + 1e-12


@given(Lists)
def test_a_list_is_like_itself(a: list[str]) -> None:
    assert overlap(a, a) == 1
    assert rank_biased_overlap(a, a) == pytest.approx(1)
    assert rank_correlation(a, a) == (1 if len(a) > 1 else None)
    assert rank_correlation(a, a[::-1]) == (pytest.approx(-1) if len(a) > 1 else None)
