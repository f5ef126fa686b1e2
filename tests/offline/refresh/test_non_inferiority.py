"""The test of a new model against the running one: better, not worse, worse, or not told."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from offline.refresh.non_inferiority import MIN_USERS, SQUARED_ERROR, Judgement, judge

N_USERS = 400


def judged(
    candidate: np.ndarray, running: np.ndarray, users: np.ndarray | None = None, **choices: float
) -> Judgement:
    numbers = np.arange(len(candidate)) if users is None else users
    margin, confidence = choices.get("margin", 0.05), choices.get("confidence", 0.95)
    return judge(numbers, candidate, running, margin=margin, confidence=confidence)


def figures(seed: int = 0, n_users: int = N_USERS) -> np.ndarray:
    """NDCG@10 of users: most are misses."""
    random = np.random.default_rng(seed)
    return np.where(random.random(n_users) < 0.3, random.random(n_users), 0.0)


def test_the_same_model_is_not_worse() -> None:
    running = figures()
    found = judged(running, running)
    assert (found.word, found.passes) == ("not worse", True)
    assert found.low == found.high == 0.0
    assert "a loss of 5 % or more is ruled out" in found.reason


def test_a_better_one_is_called_better() -> None:
    running = figures()
    found = judged(running + 0.02 * (running > 0) + 0.01 * figures(1), running)
    assert found.word == "better"
    assert found.low > 0


def test_one_that_loses_more_than_the_margin_is_worse() -> None:
    running = figures()
    found = judged(0.7 * running, running)
    assert (found.word, found.passes) == ("worse", False)
    # A loss of a tenth is beyond 5 % and within 20 %.
    assert judged(0.9 * running, running).word == "worse"
    assert judged(0.9 * running, running, margin=0.2).word == "not worse"


def test_what_cannot_be_told_is_undecided_and_does_not_pass() -> None:
    found = judged(figures(1), figures(2))
    assert (found.word, found.passes) == ("undecided", False)
    assert "is not ruled out" in found.reason
    nothing = judged(np.zeros(N_USERS), np.zeros(N_USERS))
    assert nothing.word == "undecided"


def test_few_users_decide_nothing() -> None:
    running = figures(n_users=MIN_USERS - 1)
    found = judged(running + 1, running)
    assert found.word == "undecided"
    assert found.reason == f"{MIN_USERS - 1} users in the newest slice, and 30 are needed to tell"


def test_the_bound_is_that_of_a_one_sided_t_test_of_the_contrast() -> None:
    candidate, running = figures(1), figures(2)
    found = judged(candidate, running, margin=0.1, confidence=0.9)
    expected = stats.ttest_1samp(candidate - 0.9 * running, 0.0, alternative="greater")
    assert found.contrast_low == pytest.approx(expected.confidence_interval(0.9).low)


def test_a_user_counts_once_however_many_events_there_are() -> None:
    running = figures()
    often = np.append(np.arange(N_USERS), np.zeros(5_000, dtype=int))
    lucky = np.append(running, np.ones(5_000))
    unlucky = np.append(running, np.zeros(5_000))
    found = judged(lucky, unlucky, users=often)
    assert (found.n_users, found.n_cases) == (N_USERS, N_USERS + 5_000)
    # One user gained: the mean over users rises by that user's share alone.
    assert 0 < found.candidate - found.running <= 1 / N_USERS
    assert found.word != "better"


def test_false_passes_are_as_rare_as_the_confidence_says() -> None:
    """A model that loses just the margin passes in 5 of 100 comparisons."""
    passes = 0
    for seed in range(400):
        random = np.random.default_rng(seed)
        users = np.where(random.random(200) < 0.5, random.random(200), 0.0)
        noise = random.normal(0, 0.1, 200)
        passes += judged(0.9 * users + noise, users, margin=0.1).passes
    assert 0.025 < passes / 400 < 0.08


# --- figures of which less is better -----------------------------------------------------------


def squared(candidate: np.ndarray, running: np.ndarray, margin: float = 0.05) -> Judgement:
    """Of errors [users, ratings]."""
    users = np.repeat(np.arange(len(running)), running.shape[1])
    return judge(
        *(users, candidate.ravel() ** 2, running.ravel() ** 2),
        margin=margin,
        confidence=0.95,
        measure=SQUARED_ERROR,
    )


def errors(seed: int, n_users: int = N_USERS) -> np.ndarray:
    """Of ten ratings of each user; some are harder to predict than others."""
    random = np.random.default_rng(seed)
    return random.normal(size=(n_users, 10)) * random.uniform(0.5, 1.5, (n_users, 1))


@pytest.mark.parametrize(
    ("factor", "word"), [(0.9, "better"), (1.0, "not worse"), (1.01, "not worse"), (1.1, "worse")]
)
def test_smaller_errors_are_better(factor: float, word: str) -> None:
    running = errors(0)
    found = squared(factor * running, running)
    assert found.word == word
    assert found.reason.startswith(f"squared error {found.candidate:.4f}, the running model ")
    assert (found.candidate < found.running) == (factor < 1)


def test_the_bound_of_errors_is_that_of_a_one_sided_t_test_of_the_contrast() -> None:
    candidate, running = errors(1), errors(2)
    found = squared(candidate, running, margin=0.1)
    c, r = ((one**2).mean(axis=1) for one in (candidate, running))
    expected = stats.ttest_1samp(1.1 * r - c, 0.0, alternative="greater")
    assert found.contrast_low == pytest.approx(expected.confidence_interval(0.95).low)
    assert found.passes == (expected.pvalue < 0.05)


def test_false_passes_by_errors_are_as_rare_as_the_confidence_says() -> None:
    passes = 0
    for seed in range(400):
        running = errors(seed, 60)
        own = np.random.default_rng(10_000 + seed).normal(size=running.shape)
        scale = np.sqrt((running**2).mean(axis=1, keepdims=True))
        # Half of the errors' variance is common; in all it is a tenth larger.
        candidate = np.sqrt(1.1 / 2) * (running + own * scale)
        passes += squared(candidate, running, margin=0.1).passes
    assert 0.025 < passes / 400 < 0.08
