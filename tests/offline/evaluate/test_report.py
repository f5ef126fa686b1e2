from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from offline.data.split import Cases, Split
from offline.evaluate.examples import Names
from offline.evaluate.figures import group_figures, ndcg_by_length, paired_gain, tail_cases
from offline.evaluate.plots import plot_training, scale_of
from offline.evaluate.report import write_report
from offline.metrics import Ranking, rank_cases
from offline.recommender.baselines import Markov, Popularity
from offline.recommender.recommender import TrainingData
from tests.offline.recommender.planted import N_ITEMS, cases_of, planted_cycle

PNG = b"\x89PNG\r\n"
FACTS = {"seed": 4, "training": {"learning_rate": 0.001}}
MADE_WITH = {"training.learning_rate": 0.001, "code_revision": "abc|def"}
SECONDS = {"train_s": 1.0, "validation_s": 0.1}
EPOCHS = [
    {"number": 1, "loss": 3.0, "figure": 0.1, "phase": "frozen", **SECONDS},
    {"number": 2, "loss": 2.0, "figure": 0.2, "phase": "all", **SECONDS},
]


@pytest.fixture(scope="module")
def split() -> Split:
    data = planted_cycle()
    lengths = [len(sequence) for sequence in data.sequences]
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    cases = data.validation
    return Split(offsets, np.concatenate(data.sequences), cases, cases)


@pytest.fixture(scope="module")
def written(split: Split, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    data = TrainingData.of_split(split, N_ITEMS)
    models = {"markov": Markov().fit(data), "popularity": Popularity().fit(data)}
    titles = [f"a *bold* | <b>title</b> {n}" for n in range(1, N_ITEMS + 1)]
    write_report(
        models,
        split,
        N_ITEMS,
        folder,
        split_name="leave_one_out",
        names=Names([f"somebody {n}" for n in range(len(split.test))], titles),
        made_with=MADE_WITH,
        facts=FACTS,
        training=EPOCHS,
    )
    return folder


def test_the_report_holds_every_model_by_the_same_protocol(written: Path, split: Split) -> None:
    report = json.loads((written / "report.json").read_bytes())
    assert list(report["models"]) == ["markov", "popularity"]
    for figures in report["models"].values():
        for part in ("validation", "test"):
            assert figures[part]["all"]["cases"] == len(split.test)
            assert figures[part]["tail"]["cases"] == round(len(split.test) / 5)
    assert report["models"]["markov"]["test"]["all"]["hit_rate_at_10"] == 1.0
    assert report["models"]["popularity"]["test"]["all"]["hit_rate_at_10"] < 0.8
    assert report["paired_gains"]["popularity"]["test"]["from"] > 0
    assert report["facts"] == FACTS
    assert report["hardware"]["cores"] >= 1
    assert ("gpu" in report["hardware"]) == torch.cuda.is_available()
    assert report["data"]["items"] == N_ITEMS


def test_ranks_are_kept_user_by_user(written: Path, split: Split) -> None:
    ranks = np.load(written / "ranks" / "markov.test.npy", allow_pickle=False)
    model = Markov().fit(TrainingData.of_split(split, N_ITEMS))
    np.testing.assert_array_equal(ranks, rank_cases(model.score, split.test).ranks)


def test_the_page_shows_the_same_figures_and_the_pictures(written: Path) -> None:
    page = (written / "report.md").read_text()
    report = json.loads((written / "report.json").read_bytes())
    ndcg = report["models"]["popularity"]["test"]["all"]["ndcg_at_10"]
    assert f"{ndcg:.4f} ±" in page
    assert "| training.learning\\_rate | 0.001 |" in page
    assert "| code\\_revision | abc\\|def |" in page
    for picture in ("ndcg_by_history_length.png", "training.png"):
        assert f"({picture})" in page
        assert (written / picture).read_bytes().startswith(PNG)


def test_ten_users_are_shown_with_what_they_would_be_recommended(written: Path) -> None:
    """Markov recommends the successor first, which is what everybody chose."""
    page = (written / "report.md").read_text()
    users = page.partition("## Some test users")[2].partition("## Made with")[0].split("### ")[1:]
    assert len(users) == 10
    assert all(user.startswith("User somebody ") for user in users)
    counts = [int(user.partition(": ")[2].partition(" ")[0]) for user in users]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]
    for user in users:
        row = user.strip().splitlines()[-1]
        history, recommended, chosen = row.strip("| ").split(" | ")
        assert recommended.startswith(f"{chosen}<br>a \\*bold\\*")
        assert chosen.startswith("**a \\*bold\\* \\| \\<b\\>title\\</b\\> ")
        assert history.startswith("…<br>") == (counts[users.index(user)] > 10)
        assert len(history.removeprefix("…<br>").split("<br>")) == min(
            counts[users.index(user)], 10
        )


def test_reports_name_nobody(written: Path) -> None:
    """report.json goes into bundles, and from there to whoever gets one."""
    assert "somebody" not in (written / "report.json").read_text()


def test_targets_in_the_history_are_counted_said_and_told_apart(tmp_path: Path) -> None:
    histories = [np.array([1, 2], np.int32)] * 3 + [np.array([3, 3], np.int32)] * 7
    cases = cases_of(histories, [2, 1, 3, *[3] * 7])
    split = Split(cases.history_offsets, cases.history_items, cases, cases)
    models = {"popularity": Popularity().fit(TrainingData.of_split(split, N_ITEMS))}
    report = write_report(models, split, N_ITEMS, tmp_path, split_name="leave_one_out")
    assert report["data"]["repeats"] == {"validation": 0.9, "test": 0.9}
    figures = report["models"]["popularity"]["test"]
    assert figures["all"]["hit_rate_at_10"] == 0.1
    assert figures["new"] == {**figures["new"], "cases": 1, "hit_rate_at_10": 1.0}
    page = (tmp_path / "report.md").read_text()
    assert "**Warning:** 90 % of the test targets stand in their user's history" in page
    assert "### new items" in page


def test_a_handful_of_cases_does_not_set_the_scale() -> None:
    def bar(length: str, cases: int, ndcg: float, error: float) -> dict[str, Any]:
        return {
            "length": length,
            "cases": cases,
            "ndcg_at_10": ndcg,
            "ndcg_at_10_standard_error": error,
        }

    many, few = bar("1–5", 400, 0.1, 0.01), bar("6–10", 2, 0.5, 0.5)
    alone = bar("11–20", 1, 0.9, float("nan"))
    assert scale_of({"m": [many, few, alone]}) == pytest.approx(0.121)
    assert scale_of({"m": [few]}) == pytest.approx(1.1)
    assert scale_of({"m": [alone]}) == pytest.approx(0.99)
    assert scale_of({"m": [bar("1–5", 400, 0.0, 0.0)]}) == 1.0
    assert scale_of({"m": []}) > 0


def test_the_trainings_picture_shows_where_a_phase_begins(written: Path, tmp_path: Path) -> None:
    plot_training([epoch | {"phase": "all"} for epoch in EPOCHS], tmp_path / "one.png")
    plot_training(EPOCHS, tmp_path / "two.png")
    one, two = ((tmp_path / name).read_bytes() for name in ("one.png", "two.png"))
    assert one != two
    assert two == (written / "training.png").read_bytes()


def test_one_case_and_no_cases_make_a_report_without_nan(split: Split, tmp_path: Path) -> None:
    single = cases_of([np.array([1], np.int32)], [2])
    empty = Cases(
        np.zeros(0, np.int32), np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int32)
    )
    bare = replace(split, validation=empty, test=single)
    models = {"popularity": Popularity().fit(TrainingData.of_split(bare, N_ITEMS))}
    write_report(models, bare, N_ITEMS, tmp_path, split_name="leave_one_out")
    report = json.loads((tmp_path / "report.json").read_bytes(), parse_constant=pytest.fail)
    figures = report["models"]["popularity"]
    assert figures["validation"]["all"]["ndcg_at_10"] is None
    assert figures["test"]["all"]["ndcg_at_10_standard_error"] is None
    assert not (tmp_path / "training.png").exists()


def test_tail_users_are_the_fifth_with_the_shortest_histories() -> None:
    histories = [np.ones(length, np.int32) for length in (9, 2, 5, 1, 7, 8, 6, 4, 3, 10)]
    tail = tail_cases(cases_of(histories, [2] * 10))
    assert np.flatnonzero(tail).tolist() == [1, 3]


def test_cold_items_are_a_group_only_where_there_are_any() -> None:
    cases = cases_of([np.array([1], np.int32)] * 4, [2, 3, 2, 2])
    ranking = Ranking(np.array([1, 4, 1, 20]), np.full((4, 10), 2, np.int32))
    groups = group_figures(ranking, cases, np.array([0, 5, 5, 0]))
    assert groups["cold"]["cases"] == 1
    assert groups["cold"]["mrr_at_10"] == 0.25
    assert groups["all"]["hit_rate_at_10"] == 0.75
    assert groups["all"]["coverage_at_10"] == pytest.approx(1 / 3)
    assert "cold" not in group_figures(ranking, cases, np.array([0, 5, 5, 1]))


def test_buckets_split_the_cases_by_length() -> None:
    histories = [np.ones(length, np.int32) for length in (1, 5, 6, 300)]
    ranking = Ranking(np.array([1, 99, 1, 1]), np.zeros((4, 10), np.int32))
    buckets = ndcg_by_length(ranking, cases_of(histories, [2] * 4))
    assert [(b["length"], b["cases"], b["ndcg_at_10"]) for b in buckets] == [
        ("1–5", 2, 0.5),
        ("6–10", 1, 1.0),
        ("201+", 1, 1.0),
    ]


def test_a_gain_is_paired_over_cases() -> None:
    top = np.zeros((3, 10), np.int32)
    better, worse = Ranking(np.array([1, 1, 3]), top), Ranking(np.array([3, 3, 99]), top)
    gain = paired_gain(better, worse)
    assert gain == pytest.approx({"ndcg_at_10": 0.5, "from": 0.5, "to": 0.5})
