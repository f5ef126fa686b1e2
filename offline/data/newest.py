"""Holds out the newest events that a running model hasn't seen.

Interactions are old where the running model's data set has them, and new else. All old ones train,
and of the new ones those before two times: from the first on they choose the epoch, from the second
on they compare the new model with the running one. So neither of the two has seen these, and what
chooses the epoch the new model hasn't begun with either, whatever it begins with.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from model_store.codecs import UserHistory, second_of
from model_store.id_map import IdMap
from offline.data.interactions import Interactions
from offline.data.split import Bool, Cases, Int64, Split

MAX_CASES_PER_USER = 20
"""Of each part; the first ones. A user who did much says little more than one who did something."""
MAX_VALIDATION_USERS, MAX_TEST_USERS = 2_000, 20_000
"""Drawn at random where there are more: validation is ranked after each epoch, and with so many in
the test a mean NDCG@10 is known to about a hundredth of itself."""


@dataclass(frozen=True)
class Cuts:
    """Two times in unix seconds; see the module. NaN where nothing is new."""

    validation_from: float
    test_from: float


def find_new(
    interactions: Interactions, known: Iterable[tuple[str, UserHistory]], known_items: IdMap
) -> Bool:
    """Whether each interaction is missing from an earlier data set, bool [n].

    The same user, item and second are the same interaction.

    Args:
        interactions: to look for.
        known: users of the earlier data set with their interactions.
        known_items: what items these are.
    """
    numbers = {user_id: number for number, user_id in enumerate(interactions.user_ids)}
    found = [interactions.item_ids.index_of(one) or 0 for one in known_items.ids]
    translated = np.array(found, dtype=np.int64)
    users, items, times = [], [], []
    for user_id, history in known:
        if user_id in numbers:
            users.append(np.full(len(history.items), numbers[user_id]))
            items.append(translated[history.items - 1])
            times.append(history.timestamps)
    here = _identities(_users_of(interactions), interactions.items, interactions.timestamps)
    if not users:
        return np.ones(len(interactions), dtype=np.bool_)
    there = _identities(*map(np.concatenate, (users, items, times))).unique()
    new = here.with_row_index("row").join(there, on=here.columns, how="anti")["row"].to_numpy()
    flags = np.zeros(len(interactions), dtype=np.bool_)
    flags[new] = True
    return flags


def hold_newest_out(interactions: Interactions, is_new: Bool, holdout: float) -> tuple[Split, Cuts]:
    """Split off the newest of the new interactions for test, and those before for validation.

    A case is one of a user's first `MAX_CASES_PER_USER` new interactions of its part, and its
    history everything that the user did before. Interactions without a history make no case. Some
    users are drawn of very many. Either part may be empty (`Split.need_cases` tells).

    Args:
        interactions: of all users.
        is_new: bool [n]; see `find_new`.
        holdout: share of the new ones in each of the two parts, above 0 and below a half.
    """
    times = interactions.timestamps
    cuts = _cuts(np.sort(times[is_new]), holdout)
    is_test = is_new & (times >= cuts.test_from)
    is_validation = is_new & (times >= cuts.validation_from) & ~is_test
    trains = ~(is_test | is_validation)
    ends = np.concatenate(([0], np.cumsum(trains)))
    weights = interactions.weights
    split = Split(
        ends[interactions.offsets].astype(np.int64),
        interactions.items[trains],
        _cases(interactions, is_validation, MAX_VALIDATION_USERS),
        _cases(interactions, is_test, MAX_TEST_USERS),
        None if weights is None else weights[trains],
    )
    return split, cuts


def _cuts(times: npt.NDArray[np.float64], holdout: float) -> Cuts:
    n = len(times)
    if not n:
        return Cuts(float("nan"), float("nan"))
    validation_from, test_from = (times[int(n * (1 - parts * holdout))] for parts in (2, 1))
    return Cuts(float(validation_from), float(test_from))


def _cases(interactions: Interactions, is_target: Bool, max_users: int) -> Cases:
    """The first targets of each user, with all that comes before each."""
    users = _users_of(interactions)
    starts = np.repeat(interactions.offsets[:-1], np.diff(interactions.offsets))
    rows = np.arange(len(interactions))
    before: Int64 = np.cumsum(is_target) - is_target  # targets of all users before each row
    n_of_user: Int64 = before - before[starts] if len(rows) else before
    chosen = rows[is_target & (rows > starts) & (n_of_user < MAX_CASES_PER_USER)]
    chosen = chosen[_are_drawn(users[chosen], max_users)]
    spans = [interactions.items[starts[row] : row] for row in chosen.tolist()]
    offsets: Int64 = np.cumsum([0, *map(len, spans)], dtype=np.int64)
    return Cases(
        users[chosen].astype(np.int32),
        offsets,
        np.concatenate([interactions.items[:0], *spans]),
        interactions.items[chosen],
    )


def _are_drawn(users: Int64, max_users: int) -> Bool:
    """Whether each case's user is among those drawn, bool [C]; the same ones each time."""
    found = np.unique(users)
    if len(found) <= max_users:
        return np.ones(len(users), dtype=np.bool_)
    drawn = np.random.default_rng(0).choice(found, max_users, replace=False)
    flags: Bool = np.isin(users, drawn)
    return flags


def _users_of(interactions: Interactions) -> Int64:
    users: Int64 = np.repeat(np.arange(interactions.n_users), np.diff(interactions.offsets))
    return users


def _identities(
    users: npt.NDArray[np.integer],
    items: npt.NDArray[np.integer],
    times: npt.NDArray[np.float64],
) -> pl.DataFrame:
    """Columns of one type each, so that two of them can be joined."""
    columns = {"user": users, "item": items, "second": second_of(times)}
    return pl.DataFrame({name: values.astype(np.int64) for name, values in columns.items()})
