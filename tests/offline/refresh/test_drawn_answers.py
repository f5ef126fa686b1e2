"""What drawn answers say of two models, on people whose tastes are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from offline.refresh.drawn_answers import DrawnAnswers, judge_drawn
from tests.offline.refresh.drawn_simulator import N_PLACES, World

N_ANSWERS, N_RUNS = 500, 150
WORSE, BETTER = World.of(0.55), World.of(0.7)


def judged(world: World, seed: int, margin: float = 0.05, n_answers: int = N_ANSWERS) -> str:
    found = judge_drawn(world.places(n_answers, seed), margin=margin, confidence=0.95)
    assert found.judgement is not None, found.why_not
    return found.judgement.word


def test_both_figures_are_the_clicks_that_a_model_would_get() -> None:
    """Over many answers: within three standard errors of the truth, and so is the difference."""
    found = [
        judge_drawn(BETTER.places(2_000, seed), margin=0.05, confidence=0.95) for seed in range(12)
    ]
    judgements = [one.judgement for one in found if one.judgement is not None]
    assert len(judgements) == len(found)
    figures = np.array([(one.candidate, one.running) for one in judgements])
    truth = np.array(BETTER.truth)
    errors = figures.std(axis=0, ddof=1) / np.sqrt(len(figures))
    assert (np.abs(figures.mean(axis=0) - truth) < 3 * errors).all()
    assert (errors < 0.02 * truth).all()
    gains = figures[:, 0] - figures[:, 1]
    error = gains.std(ddof=1) / np.sqrt(len(gains))
    assert abs(gains.mean() - (truth[0] - truth[1])) < 3 * error


def test_a_model_that_loses_the_margin_passes_as_rarely_as_the_confidence_says() -> None:
    candidate, running = WORSE.truth
    loss = 1 - candidate / running
    assert 0.02 < loss < 0.2
    passes = sum(
        judged(WORSE, seed, margin=loss) in {"better", "not worse"} for seed in range(N_RUNS)
    )
    # 5 % ± 2.3 standard errors of 150 runs.
    assert passes / N_RUNS < 0.05 + 2.3 * np.sqrt(0.05 * 0.95 / N_RUNS)


def test_a_better_model_is_found_where_a_test_on_clicks_calls_it_worse() -> None:
    candidate, running = BETTER.truth
    assert candidate > 1.05 * running
    n_runs = 40
    drawn = [judged(BETTER, seed) for seed in range(n_runs)]
    clicks = [BETTER.judge_clicks(N_ANSWERS, seed, 0.05).word for seed in range(n_runs)]
    passes = [
        sum(one in {"better", "not worse"} for one in words) / n_runs for words in (drawn, clicks)
    ]
    assert passes[0] > 0.3
    assert passes[0] > passes[1] + 0.25
    assert "worse" not in drawn
    assert clicks.count("worse") > 0.1 * n_runs


def told(world: World, n_answers: int) -> DrawnAnswers:
    return judge_drawn(world.places(n_answers, 0), margin=0.05, confidence=0.95)


def test_few_users_or_a_small_effective_sample_tell_nothing() -> None:
    found = told(BETTER, 20)
    assert (found.judgement, found.n_users) == (None, 20)
    assert found.why_not == "20 users with such answers, and 30 are needed"
    found = told(BETTER, 60)
    assert found.judgement is None
    assert found.n_effective < 100
    assert found.why_not == (
        f"effective sample size {found.n_effective:.1f} of {60 * N_PLACES} places, and 100 are "
        "needed"
    )
    nothing = told(BETTER, 0)
    assert (nothing.judgement, nothing.n_places) == (None, 0)


@pytest.mark.parametrize("n_clicked", [0, 19, 20])
def test_few_clicks_leave_it_to_events(n_clicked: int) -> None:
    places = BETTER.places(2_000, 0)
    clicks = np.zeros_like(places.clicks)
    clicks[:n_clicked] = places.is_drawn[:n_clicked]
    found = judge_drawn(replace(places, clicks=clicks), margin=0.05, confidence=0.95)
    assert (found.judgement is None) == (n_clicked < 20)
    if n_clicked < 20:
        assert found.why_not == f"{n_clicked} users clicked at a drawn place, and 20 are needed"


def test_a_model_that_would_show_what_was_never_drawn_is_not_judged() -> None:
    """Its best items are the running one's last ones: nothing is known of them."""
    strange = replace(BETTER, candidate=-BETTER.running)
    found = judge_drawn(strange.places(3_000, 0), margin=0.05, confidence=0.95)
    assert found.judgement is None
    assert found.support < 0.1


def test_propensities_that_are_not_those_of_the_answers_are_noticed() -> None:
    places = BETTER.places(N_ANSWERS, 0)
    wrong = replace(places, propensities=np.minimum(1, 1.3 * places.propensities))
    found = judge_drawn(wrong, margin=0.05, confidence=0.95)
    assert found.judgement is None
    assert "answers were not drawn as the log says" in str(found.why_not)


def test_the_same_model_twice_is_not_worse() -> None:
    same = replace(BETTER, candidate=BETTER.running)
    found = told(same, N_ANSWERS).judgement
    assert found is not None
    assert (found.word, found.low, found.high) == ("not worse", 0.0, 0.0)
    assert found.reason.startswith("clicks per drawn place 0.")
    assert f"on {N_ANSWERS * N_PLACES:,} places of {N_ANSWERS} users" in found.reason


@pytest.mark.parametrize("n_drawn", [1, 2])
def test_places_that_were_not_drawn_say_nothing(n_drawn: int) -> None:
    places = BETTER.places(N_ANSWERS, 0)
    drawn = np.arange(N_PLACES) < np.full((N_ANSWERS, 1), n_drawn)
    found = judge_drawn(replace(places, is_drawn=drawn), margin=0.05, confidence=0.95)
    changed = np.where(drawn, places.clicks, 1 - places.clicks)
    same = judge_drawn(
        replace(places, is_drawn=drawn, clicks=changed), margin=0.05, confidence=0.95
    )
    assert found == same
    assert found.n_places == n_drawn * N_ANSWERS
