"""The weight of dislikes is the one that ranks what users chose next best."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from model_store.codecs import kind_numbers
from model_store.dislikes import away_from
from model_store.id_map import IdMap
from offline.data.event_meaning import TypedInteractions
from offline.data.interactions import Interactions
from offline.data.split import Cases
from offline.evaluate.dislikes import MIN_CASES, WEIGHTS, choose_weight, disliked_before

N_ITEMS, SIZE, N_CASES = 60, 8, 300


class Tasters:
    """Items of two kinds in one direction; users like a mix, and their vectors don't tell which."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.item_table = random.normal(size=(N_ITEMS + 1, SIZE)).astype(np.float32)
        self.item_table[1::2, 0] += 2.0
        self.item_table[2::2, 0] -= 2.0

    def user_vectors(self, histories: Any) -> np.ndarray:
        vectors = np.stack([self.item_table[history].mean(axis=0) for history in histories])
        vectors[:, 0] *= 0.1
        return vectors


def cases_of(*, tells: bool) -> tuple[Cases, list[np.ndarray]]:
    """A case chooses an item of one kind; it dislikes one of the other, or any if nothing tells."""
    random = np.random.default_rng(1)
    targets, disliked, histories = [], [], []
    for _ in range(N_CASES):
        kind = int(random.integers(2))
        of_kind, of_other = np.arange(1, 61, 2) + kind, np.arange(1, 61, 2) + 1 - kind
        target = int(random.choice(of_kind))
        others = of_other if tells else np.setdiff1d(np.arange(1, 61), [target])
        disliked.append(random.choice(others, 1).astype(np.int32))
        histories.append(np.array([target % 60 + 1, (target + 20) % 60 + 1], np.int32))
        targets.append(target)
    offsets = np.arange(0, 2 * N_CASES + 1, 2)
    users = np.arange(N_CASES, dtype=np.int32)
    return Cases(users, offsets, np.concatenate(histories), np.array(targets, np.int32)), disliked


def test_dislikes_that_tell_what_is_chosen_get_a_weight() -> None:
    cases, disliked = cases_of(tells=True)
    choice = choose_weight(cast(Any, Tasters()), cases, disliked)
    assert choice.n_cases == N_CASES
    assert choice.weight > 0
    assert choice.ndcg[choice.weight] == max(choice.ndcg.values()) > choice.ndcg[0.0] + 0.02
    assert tuple(choice.ndcg) == WEIGHTS


def test_few_dislikes_choose_nothing() -> None:
    cases, disliked = cases_of(tells=True)
    few = [items if case < MIN_CASES - 1 else items[:0] for case, items in enumerate(disliked)]
    choice = choose_weight(cast(Any, Tasters()), cases, few)
    assert (choice.weight, choice.n_cases, choice.ndcg) == (0.0, MIN_CASES - 1, {})


def test_items_like_the_disliked_lose_and_opposite_ones_gain() -> None:
    table = Tasters().item_table
    centre = table[1:].mean(axis=0)
    user = table[5]
    shift = away_from(user, table[[7]], centre, 0.3)
    assert np.linalg.norm(shift) == pytest.approx(0.3 * np.linalg.norm(user), rel=1e-5)
    assert (table[7] - centre) @ shift < 0
    assert centre @ away_from(user, centre[None], centre, 0.3) == 0
    assert not away_from(user, table[[7]], centre, 0.0).any()


def test_only_what_was_disliked_before_counts() -> None:
    ids = IdMap(["a", "b", "c", "d"])
    everything = Interactions.from_rows(
        ["v", "u"],
        ids,
        np.array([0, 1, 1, 1, 1, 1, 1]),
        np.array([1, 1, 2, 3, 1, 4, 3]),
        np.array([1.0, 1, 2, 3, 4, 5, 6]),
    )
    weights = np.array([-1, 1, -1, -1, 1, -1, 1], np.float32)
    typed = TypedInteractions(everything, kind_numbers(np.zeros(7, np.int64), weights), ("x",))
    positive = Interactions(
        ["u"],
        ids,
        np.array([0, 3]),
        np.array([1, 1, 3], np.int32),
        np.array([1.0, 4, 6]),
        None,
    )
    users, two = np.zeros(2, np.int32), np.array([0, 1, 3])
    cases = Cases(users, two, np.array([1, 1, 1], np.int32), np.array([1, 3], np.int32))
    # By the second case's time c was disliked, and is its target: it was taken back.
    found = [items.tolist() for items in disliked_before(typed, positive, cases)]
    assert found == [[2, 3], [2, 4]]
