"""A model that a baseline beats, and targets that nobody is recommended: said, not passed over."""

from __future__ import annotations

from typing import Any

import pytest

from offline.evaluate.verdict import warnings_about, weaknesses


def report(repeats: float = 0.0, **ndcg: float | None) -> dict[str, Any]:
    models = {name: {"test": {"all": {"ndcg_at_10": figure}}} for name, figure in ndcg.items()}
    return {"models": models, "data": {"repeats": {"test": repeats}}}


def test_a_sound_model_is_not_warned_of() -> None:
    assert warnings_about(report(sasrec=0.3, markov=0.2, popularity=0.1)) == []
    assert warnings_about(report(sasrec=0.2, markov=0.2)) == []


def test_each_baseline_that_is_not_reached_is_named_with_both_figures() -> None:
    document = report(sasrec=0.05, markov=0.2641, popularity=0.0512)
    gain = {"ndcg_at_10": -0.2141, "from": -0.25, "to": -0.18}
    document["paired_gains"] = {"markov": {"test": gain}}
    first, second = weaknesses(document)
    assert first.startswith(
        "sasrec is below markov on the test users: NDCG@10 0.0500 against 0.2641 "
        "(-0.2141, 95 % interval -0.2500 to -0.1800)"
    )
    assert "below popularity" in second
    assert "interval" not in second


@pytest.mark.parametrize(
    ("share", "said"), [(0.98, "98 %"), (0.025, "2.5 %"), (0.01, None), (0.0, None)]
)
def test_many_repeats_are_named(share: float, said: str | None) -> None:
    warnings = warnings_about(report(share, sasrec=0.3, markov=0.2))
    assert [said in warning for warning in warnings] == ([True] if said else [])


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"models": {}},
        {"models": {"sasrec": None, "markov": {"test": 3}}},
        {"models": {"sasrec": {"test": {"all": {"ndcg_at_10": "high"}}}, "markov": {}}},
        {"models": {"sasrec": {}}, "data": {"users": 3}},
        {"models": {"sasrec": {}}, "data": None},
    ],
)
def test_a_report_of_another_release_is_passed_over(document: dict[str, Any]) -> None:
    assert warnings_about(document) == []


def test_models_without_test_cases_are_not_compared() -> None:
    assert warnings_about(report(sasrec=None, markov=None)) == []
