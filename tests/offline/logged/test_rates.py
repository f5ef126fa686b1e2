"""Users are new, of the tail or of the head by what they did before their first answer."""

from __future__ import annotations

import polars as pl

from offline.logged.rates import segments_of


def test_users_fall_into_segments_by_what_was_known_of_them() -> None:
    users = [f"u{n}" for n in range(12)]
    answers = pl.DataFrame({"user_id": [*users, "u0", "u11"]})
    # u11 has nothing, u10 isn't there at all; a fifth of the other ten are the two with the fewest.
    known = pl.DataFrame({"user_id": [*users[:10], "u11"], "n": [1, 2, *range(3, 11), 0]})
    segments = segments_of(answers, known)
    expected = ["tail", "tail", *["head"] * 8, "new", "new", "tail", "new"]
    assert segments.to_list() == expected


def test_users_who_tie_with_the_last_of_the_tail_are_of_it() -> None:
    answers = pl.DataFrame({"user_id": [f"u{n}" for n in range(10)]})
    known = answers.with_columns(n=pl.Series([5, 5, 5, 5, 9, 9, 9, 9, 9, 9]))
    assert segments_of(answers, known).to_list() == ["tail"] * 4 + ["head"] * 6


def test_of_new_users_alone_nobody_is_of_the_tail() -> None:
    answers = pl.DataFrame({"user_id": ["a", "b"]})
    nothing = pl.DataFrame(schema={"user_id": pl.String, "n": pl.Int64})
    assert segments_of(answers, nothing).to_list() == ["new", "new"]
