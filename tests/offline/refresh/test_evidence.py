"""Which evidence decides, and what follows from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from offline.inputs import Source
from offline.refresh.choices import Choices
from offline.refresh.drawn_answers import DrawnAnswers
from offline.refresh.evidence import Evidence, of_any_release, weigh
from offline.refresh.non_inferiority import Judgement, judge
from offline.refresh.report import _comparison
from offline.stages.comparison import Pairs

N_USERS = 400
CHOICES = Choices(Source(Path("a"), None, "item"), Path("r"), Path("b"))


def figures(seed: int, n: int = N_USERS) -> np.ndarray:
    """NDCG@10 of events: most are misses."""
    random = np.random.default_rng(seed)
    return np.where(random.random(n) < 0.3, random.random(n), 0.0)


RUNNING = figures(0)
BETTER, WORSE = RUNNING + 0.1, 0.7 * RUNNING
UNDECIDED = RUNNING + np.random.default_rng(1).permutation(np.linspace(-1, 1, N_USERS))


def pairs(
    candidate: np.ndarray, *, unknown: np.ndarray | None = None, prompted: np.ndarray | None = None
) -> Pairs:
    nobody = np.zeros(N_USERS, dtype=bool)
    is_unknown = nobody if unknown is None else unknown
    is_prompted = nobody if prompted is None else prompted
    users = np.arange(N_USERS, dtype=np.int32)
    return Pairs(users, candidate, RUNNING, ~is_unknown, is_prompted)


def drawn(judgement: Judgement | None) -> DrawnAnswers:
    why_not = None if judgement else "20 users with such answers, and 30 are needed"
    return DrawnAnswers(100, 300, 100, 250.0, 1.0, judgement, why_not)


def judged(candidate: np.ndarray) -> Judgement:
    return judge(np.arange(N_USERS), candidate, RUNNING, margin=0.05, confidence=0.95)


def weighed(found: Pairs, answers: DrawnAnswers | None = None) -> Evidence:
    return weigh(found, answers, CHOICES)


HALF = np.arange(N_USERS) % 2 == 0


@pytest.mark.parametrize(("told", "publish"), [(BETTER, True), (WORSE, False), (UNDECIDED, False)])
def test_drawn_answers_decide_whatever_was_clicked_elsewhere(
    told: np.ndarray, publish: bool
) -> None:
    for clicked in (BETTER, WORSE):
        found = weighed(pairs(clicked, prompted=HALF), drawn(judged(told)))
        assert (found.name, found.publish) == ("drawn", publish)
        assert found.reason == f"{judged(told).word}: {judged(told).reason}"


def test_without_enough_of_them_events_that_follow_no_answer_count() -> None:
    """People clicked what the running version chose; what they found themselves says otherwise."""
    candidate = np.where(HALF, WORSE, BETTER)
    found = weighed(pairs(candidate, prompted=HALF), drawn(None))
    assert (found.name, found.publish) == ("unprompted", True)
    assert found.judgements["unprompted"].word == "better"
    assert found.judgements["unprompted"].n_users == N_USERS / 2
    assert "20 users with such answers" in found.why
    assert "200 of 400 events follow answers" in found.why
    assert found.reason.endswith("events that follow no answer")
    assert not weighed(pairs(np.where(HALF, WORSE, UNDECIDED), prompted=HALF)).publish


def test_all_events_suffice_where_they_pass_as_they_favour_the_running_version() -> None:
    found = weighed(pairs(np.where(HALF, BETTER, UNDECIDED), prompted=HALF))
    assert found.judgements["unprompted"].word == "undecided"
    assert (found.name, found.publish) == ("unprompted", True)
    assert found.reason.endswith("events of all kinds")


def test_two_tests_share_the_error_that_one_has() -> None:
    one, two = weighed(pairs(BETTER)), weighed(pairs(BETTER, prompted=HALF))
    assert one.judgements["all"].confidence == 0.95
    assert {each.confidence for each in two.judgements.values()} == {0.975}


def test_where_no_event_names_its_answer_all_count() -> None:
    found = weighed(pairs(BETTER))
    assert (found.name, found.publish) == ("all", True)
    assert set(found.judgements) == {"all", "known"}
    assert found.why == (
        "no answers were drawn; no event names an answer that it follows: all events count, which "
        "favours the running version if it chose them"
    )
    few = np.arange(N_USERS) >= 29
    found = weighed(pairs(BETTER, prompted=few))
    assert found.name == "all"
    assert "29 users have events that follow no answer, and 30 are needed" in found.why


def test_false_passes_of_two_tests_are_no_more_than_of_one() -> None:
    passes, n_runs = 0, 300
    for seed in range(n_runs):
        random = np.random.default_rng(seed)
        users = np.where(random.random(N_USERS) < 0.5, random.random(N_USERS), 0.0)
        candidate = 0.95 * users + random.normal(0, 0.1, N_USERS)
        flags = np.zeros(N_USERS, dtype=bool)
        some = Pairs(np.arange(N_USERS, dtype=np.int32), candidate, users, ~flags, HALF)
        passes += weighed(some).publish
    assert 0.01 < passes / n_runs < 0.08


def test_a_refresh_that_an_earlier_release_began_can_be_told_of() -> None:
    """It has no evidence, as all events decided then."""
    now = weighed(pairs(BETTER)).to_document()
    before = {"all": now["all"], "known": now["known"], "unknown_targets": 3}
    found = of_any_release(before)
    assert (found["evidence"], found["reason"]) == ("all", now["reason"])
    assert "\n".join(_comparison(found)).startswith("Decided by **all events**: an earlier release")
    assert of_any_release(found) is found


def test_new_items_do_not_hide_that_others_are_ranked_worse() -> None:
    new = np.arange(N_USERS) < 100
    hidden = np.where(new, RUNNING + 1, WORSE)
    found = weighed(pairs(hidden, unknown=new))
    assert found.judgements["all"].passes
    assert not found.publish
    assert found.reason.startswith("worse on items that the running model knows: NDCG@10")
    assert weighed(pairs(np.where(new, RUNNING + 1, UNDECIDED), unknown=new)).publish
    assert not weighed(pairs(np.where(new, UNDECIDED - 1, BETTER), unknown=new)).publish
