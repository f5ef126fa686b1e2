from __future__ import annotations

from itertools import pairwise

import pytest

from loadtest.pacing import Arrivals


def starts_of_all(arrivals: Arrivals) -> list[float]:
    return sorted(start for user in range(arrivals.n_users) for start in arrivals.of_user(user))


@pytest.mark.parametrize("n_users", [1, 3, 40])
def test_constant_arrivals_of_all_users_are_evenly_spaced(n_users: int) -> None:
    starts = starts_of_all(Arrivals(20, 2.0, n_users, "constant"))
    assert starts == pytest.approx([number / 20 for number in range(40)])


@pytest.mark.parametrize("n_users", [1, 10, 200])
def test_poisson_arrivals_come_at_the_rate_asked_for(n_users: int) -> None:
    starts = starts_of_all(Arrivals(500, 20.0, n_users, "poisson", seed=3))
    # 10,000 expected, standard deviation 100
    assert 9_500 < len(starts) < 10_500
    gaps = [after - before for before, after in pairwise(starts)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    # The gaps of a Poisson stream deviate by as much as they are long.
    assert deviation == pytest.approx(mean, rel=0.1)


def test_starts_of_a_user_rise_and_end_in_time() -> None:
    for user in range(5):
        starts = list(Arrivals(50, 4.0, 5, "poisson").of_user(user))
        assert starts == sorted(starts)
        assert all(0 <= start < 4.0 for start in starts)


def test_the_same_seed_gives_the_same_starts_and_another_one_others() -> None:
    first = list(Arrivals(50, 4.0, 2, seed=1).of_user(1))
    assert first == list(Arrivals(50, 4.0, 2, seed=1).of_user(1))
    assert first != list(Arrivals(50, 4.0, 2, seed=2).of_user(1))
    assert first != list(Arrivals(50, 4.0, 2, seed=1).of_user(0))


@pytest.mark.parametrize("wrong", [{"rate_rps": 0}, {"duration_s": 0}, {"n_users": 0}])
def test_arrivals_without_rate_duration_or_users_are_rejected(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        Arrivals(**{"rate_rps": 1.0, "duration_s": 1.0, **wrong})
