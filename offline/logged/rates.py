"""Clicks per exposure by name of a model, version, arm, rank and segment of users."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from offline.logged.answers import CLICKED
from offline.logged.ratio import Ratio, ratio_of

TAIL_SHARE = 0.2
MAX_RANKS = 10
"""Ranks that are told one by one."""


@dataclass(frozen=True)
class Rate:
    """Clicks per exposure of a group of exposures.

    Attributes:
        kind: what it is grouped by: all, model, version, arm, rank or segment.
        name: of the group.
        n_exposures: answers; of a rank, answers that have it.
        n_clicks: clicked items in these; of a rank, those that stood there.
        ratio: clicks per exposure, between users; the lower end is at least 0, as in the console.
    """

    kind: str
    name: str
    n_exposures: int
    n_clicks: int
    ratio: Ratio


def click_rates(answers: pl.DataFrame, segments: pl.Series) -> list[Rate]:
    """The rate of all answers, and of each group.

    Args:
        answers: of `read_answers`.
        segments: of each answer's user, as `segments_of` gives them.
    """
    shown = answers.select(
        "model",
        "version",
        "arm",
        segment=segments,
        user=pl.col("user_id").rank("dense").cast(pl.Int64) - 1,
        clicks=pl.col(CLICKED).list.sum(),
    )
    rates = [_rate("all", "", shown)]
    # Where all answers were given under one name, they are the first line already.
    names = ("model",) if shown["model"].n_unique() > 1 else ()
    for kind in (*names, "version", "arm", "segment"):
        for (name,), rows in sorted(shown.group_by(kind)):
            if kind != "arm" or name:  # answers outside of experiments are in no arm
                rates.append(_rate(kind, str(name), rows))
    for place in range(min(MAX_RANKS, int(answers[CLICKED].list.len().max() or 0))):  # type: ignore[arg-type]
        at_rank = shown.with_columns(clicks=answers[CLICKED].list.get(place, null_on_oob=True))
        rates.append(_rate("rank", str(place + 1), at_rank.drop_nulls("clicks")))
    return rates


def segments_of(answers: pl.DataFrame, n_known: pl.DataFrame) -> pl.Series:
    """The segment of each answer's user: new, tail or head.

    New users had no positive event before their first answer of the log. Of all others the fifth
    with the fewest is the tail, with those who have as many as the last of that fifth.

    Args:
        answers: of `read_answers`.
        n_known: `user_id` and `n`, how many positive events a user had before that answer; those
            with none may be missing.
    """
    users = answers.select("user_id").unique().join(n_known, on="user_id", how="left")
    users = users.with_columns(pl.col("n").fill_null(0))
    counts = np.sort(users.filter(pl.col("n") > 0)["n"].to_numpy())
    last = counts[max(0, round(len(counts) * TAIL_SHARE) - 1)] if len(counts) else 0
    named = users.select(
        "user_id",
        segment=pl.when(pl.col("n") == 0)
        .then(pl.lit("new"))
        .when(pl.col("n") <= last)
        .then(pl.lit("tail"))
        .otherwise(pl.lit("head")),
    )
    return answers.join(named, on="user_id", how="left", maintain_order="left")["segment"]


def _rate(kind: str, name: str, rows: pl.DataFrame) -> Rate:
    clicks = rows["clicks"].to_numpy().astype(np.float64)
    ratio = ratio_of(clicks, np.ones(len(clicks)), rows["user"].to_numpy())
    ratio = replace(ratio, low=max(ratio.low, 0.0))
    return Rate(kind, name, len(rows), int(clicks.sum()), ratio)
