"""Users are new, of the tail or of the head by what they did before their first answer."""

from __future__ import annotations

import polars as pl

from offline.logged.rates import click_rates, segments_of


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


def test_there_are_no_fewer_clicks_than_none() -> None:
    n = 50
    answers = pl.DataFrame({
        "model": ["m"] * n, "version": ["v"] * n, "arm": [""] * n,
        "user_id": [f"u{number}" for number in range(n)],
        "clicked": [[number == 0] for number in range(n)],
    })  # fmt: skip
    everything, *_ = click_rates(answers, pl.Series(["head"] * n))
    assert everything.ratio.low == 0
    assert 0.02 < everything.ratio.high < 0.1


def test_names_are_told_apart_where_there_are_several() -> None:
    answers = pl.DataFrame(
        {
            "model": ["default", "films", "films"],
            "version": ["v1", "v2", "v2"],
            "arm": ["", "", ""],
            "user_id": ["a", "a", "b"],
            "clicked": [[True], [False], [True]],
        }
    )
    segments = pl.Series(["head"] * 3)
    found = {(one.kind, one.name): one.n_exposures for one in click_rates(answers, segments)}
    assert {name: n for (kind, name), n in found.items() if kind == "model"} == {
        "default": 1,
        "films": 2,
    }
    one_name = click_rates(answers.with_columns(model=pl.lit("films")), segments)
    assert "model" not in {one.kind for one in one_name}
