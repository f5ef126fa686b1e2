from __future__ import annotations

import random

import numpy as np
import pytest

from app.comparison.items import Items, age_attribute
from app.comparison.page import render_page
from app.comparison.replay import sample_users
from app.comparison.report import MAX_CHANGED, Both, Compared, Comparison, make_report
from model_store.answer_pairs import AnswerPair
from model_store.attributes import Attribute, ItemAttributes
from model_store.forgotten import digest_of_user
from model_store.id_map import IdMap

IDS = ["a", "b", "c", "d", "e"]
YEARS = [1990, 2000, 2010, None, 2020]
TITLES = ["A", "<b>B</b>", "C", None, "E"]


def items(ids: list[str] = IDS, *attributes: Attribute) -> Items:
    """Items whose ranks of popularity are 1 for the first and so on."""
    return Items(IdMap(ids), ItemAttributes(attributes, len(ids)), np.arange(1, len(ids) + 1))


KNOWN = items(IDS, Attribute("title", "text", TITLES), Attribute("year", "number", YEARS))
# The other version has one item more, the best of all there.
MORE = Items(
    IdMap([*IDS, "new"]),
    ItemAttributes(
        [
            Attribute("title", "text", [*TITLES, "New"]),
            Attribute("year", "number", [*YEARS, 2026]),
        ],
        6,
    ),
    np.array([2, 3, 4, 5, 6, 1]),
)


def pair(user_id: str | None, n: int, a: str, b: str | tuple[str, ...]) -> AnswerPair:
    return AnswerPair(user_id=user_id, n_interactions=n, a=tuple(a), b=tuple(b), a_ms=1.0, b_ms=2.0)


PAIRS = [
    pair("same", 9, "ab", "ab"),
    pair("turned", 9, "ab", "ba"),
    pair("tail", 3, "ab", ("new", "b")),
    pair("new <user>", 0, "ab", "cd"),
    pair(None, 9, "ab", "cd"),
]


def report(pairs: list[AnswerPair] = PAIRS, a: Items = KNOWN, b: Items = MORE) -> Comparison:
    return make_report(Compared("v1", "v2", "shadowed", pairs, a, b, tail_interactions=3))


def test_figures_by_hand() -> None:
    found = report()
    assert {name: one.answers for name, one in found.segments.items()} == {
        "all": 5, "head": 3, "tail": 1, "new": 1,
    }  # fmt: skip
    head = found.segments["head"]
    assert head.identical == pytest.approx(1 / 3, abs=1e-6)
    assert head.overlap == pytest.approx(2 / 3, abs=1e-6)
    assert head.rank_correlation == 0.0  # of 1 and -1; nothing in common says nothing
    # The same; the first ranks differ and the first two are the same; nothing in common.
    assert head.rank_biased_overlap == pytest.approx((1 + 0.9 / 1.9) / 3, abs=1e-6)
    assert head.popularity_rank == Both(a=1.5, b=2.166667, shift=0.666667)
    # The year of d is unknown.
    assert head.age == Both(a=1995.0, b=1998.0, shift=3.0)
    assert head.coverage == Both(a=0.4, b=0.666667, shift=0.266667)

    tail = found.segments["tail"]
    # What version a doesn't know has no rank by its interactions.
    assert tail.popularity_rank == Both(a=1.5, b=2.0, shift=0.5)
    assert tail.age == Both(a=1995.0, b=2013.0, shift=18.0)
    assert tail.rank_correlation is None
    assert found.latency_ms is not None
    assert (found.latency_ms["a"].p50, found.latency_ms["b"].p99) == (1.0, 2.0)


def test_the_by_change_are_there_once_with_titles() -> None:
    again = pair("turned", 9, "ab", "ab")
    found = report([*PAIRS, again, pair("turned", 9, "ab", "cd")])
    assert [one.user_id for one in found.changed] == ["new <user>", "turned", "tail"]
    assert found.changed[1].b == ["c", "d"]
    assert found.titles == {"a": "A", "b": "<b>B</b>", "c": "C", "new": "New"}
    many = [pair(f"u{number:03d}", 1, "ab", "cd") for number in range(50)]
    assert [one.user_id for one in report(many).changed] == [
        f"u{number:03d}" for number in range(MAX_CHANGED)
    ]


def test_the_order_of_the_answers_makes_no_difference() -> None:
    generator = random.Random(3)
    pairs = [
        pair(f"u{number}", number, "".join(generator.sample("abcde", 4)), "abcd")
        for number in range(30)
    ]
    expected = report(pairs)
    for _ in range(5):
        generator.shuffle(pairs)
        assert report(pairs) == expected


def test_without_answers_there_are_no_figures() -> None:
    found = report([])
    assert (found.answers, found.latency_ms, found.changed) == (0, None, [])
    assert found.segments["all"].overlap is None
    assert found.segments["all"].popularity_rank == Both(a=None, b=None, shift=None)
    assert "0 answers of each" in render_page(found)


def test_the_age_is_told_by_what_both_have() -> None:
    text = items(IDS, Attribute("release_date", "text", ["1999-01-02", "2001", "soon", None, ""]))
    assert age_attribute(KNOWN, text) is None
    assert age_attribute(KNOWN, KNOWN) == "year"
    assert age_attribute(text, text) == "release_date"
    assert text.ages_of(IDS, "release_date") == [1999.0, 2001.0]
    listed = items(IDS, Attribute("year", "list", [["1990"]] * 5))
    assert age_attribute(listed, listed) is None
    assert report(a=text).age_attribute is None
    assert report(a=text).segments["all"].age is None


def test_the_page_shows_all_and_nothing_in_it_is_markup() -> None:
    page = render_page(report())
    assert "&lt;b&gt;B&lt;/b&gt;" in page
    assert "new &lt;user&gt;" in page
    assert "<b>B" not in page
    assert "http" not in page  # it needs nothing from elsewhere
    assert "tail: 1 to 3" in page
    assert 'class="new">New <small>new</small>' in page
    assert 'class="gone">A <small>a</small>' in page
    # As a shadow's request without a user, only in the figures.
    assert "None" not in page


def test_a_sample_is_stable_and_holds_smaller_ones() -> None:
    users = [f"user {number}" for number in range(300)]
    others = [*users[50:], "somebody else"]
    few = sample_users(users, others, 20)
    assert sample_users(users[::-1], set(others), 20) == few
    assert sample_users(users, others, 60)[:20] == few
    assert len(set(few)) == 20
    assert set(few) <= set(others)
    assert few != sorted(few)
    assert len(sample_users(users, others, 1_000)) == 250
    assert sample_users(users, [], 5) == []
    gone = {digest_of_user(user_id) for user_id in [few[3], users[0], "no user"]}
    without = [user_id for user_id in sample_users(users, others, 21) if user_id != few[3]]
    assert sample_users(users, others, 20, gone) == without
