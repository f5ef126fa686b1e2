from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from model_store.aggregation import Weighting
from offline.benchmark.document import write_document
from offline.benchmark.figures import Groups, paired_gain
from offline.benchmark.rerank_cells import ADAPTIVE, BASE, CONTROLS, RerankCell, RerankRun
from offline.benchmark.rerank_grid import WITHOUT_BOTH, RerankGrid
from offline.benchmark.rerank_results import describe_reranking
from offline.data.split import Split, draw_users
from offline.metrics import hit_rate_at_k, ndcg_at_k
from tests.offline.recommender.planted import cases_of

N_CASES = 50
GRID = {"kind": "reranking", "description": "small", "seeds": [0, 1], "data": [{"name": "made"}]}


def split_of(n_cases: int) -> Split:
    histories = [np.arange(1, 3 + case % 5, dtype=np.int32) for case in range(n_cases)]
    cases = cases_of(histories, [10 + case % 7 for case in range(n_cases)])
    offsets = np.concatenate(([0], np.cumsum([len(history) for history in histories])))
    return Split(offsets, np.concatenate(histories), cases, cases)


def cells_of(n_cases: int) -> list[RerankCell]:
    rng = np.random.default_rng(0)
    rows = (BASE, ADAPTIVE, *CONTROLS)
    facts = {"asked": {"validation": 3, "test": 4}, "augmentation": {"items": 5, "users": 6}}
    return [
        RerankCell(
            seed,
            {
                row: {p: rng.integers(1, 20, n_cases) for p in ("validation", "test")}
                for row in rows
            },
            {ADAPTIVE: Weighting.of_users([1, 2, 3], 0.7, 0.3)},
            facts,
        )
        for seed in (0, 1)
    ]


def described(
    n_cases: int, cells: list[RerankCell], n_measured: int | None = None
) -> dict[str, Any]:
    run = SimpleNamespace(
        data=SimpleNamespace(n_items=20),
        split=split_of(n_cases),
        baselines=dict,
        measured_users=draw_users(n_cases, n_measured),
    )
    return describe_reranking(cast(RerankRun, run), cells)


def test_figures_are_means_and_gains_are_paired() -> None:
    cells = cells_of(N_CASES)
    data = described(N_CASES, cells)
    cases = split_of(N_CASES).test
    tail = Groups.of_cases(cases, np.ones(21, np.int64)).of["tail"]
    ranks = {row: [cell.ranks[row]["test"] for cell in cells] for row in (BASE, ADAPTIVE)}
    figures = data["entries"][ADAPTIVE]["test"]
    for k in (3, 10):
        assert figures["all"][f"ndcg_at_{k}"] == pytest.approx(
            np.mean([ndcg_at_k(of_seed, k) for of_seed in ranks[ADAPTIVE]])
        )
        assert figures["tail"][f"hit_rate_at_{k}"] == pytest.approx(
            np.mean([hit_rate_at_k(of_seed[tail], k) for of_seed in ranks[ADAPTIVE]])
        )
    expected = paired_gain(ranks[ADAPTIVE], ranks[BASE], tail)
    gain = figures["gain"]["tail"]["ndcg_at_10"]
    assert gain["mean"] == pytest.approx(expected["ndcg_at_10"])
    assert (gain["from"], gain["to"]) == pytest.approx((expected["from"], expected["to"]))
    assert data["choices"][1]["weightings"][ADAPTIVE] == {"alpha_1": 0.7, "alpha_2": 0.3}
    assert set(data["against_controls"]["test"]) == set(CONTROLS)


def test_figures_are_those_of_the_drawn_users() -> None:
    cells = cells_of(N_CASES)
    data = described(N_CASES, cells, 20)
    is_drawn = draw_users(N_CASES, 20)
    tail = Groups.of_cases(split_of(N_CASES).test, np.ones(21, np.int64)).of["tail"]
    figures = data["entries"][ADAPTIVE]["test"]
    assert data["measured_users"] == figures["all"]["cases"] == 20
    assert figures["tail"]["cases"] == (tail & is_drawn).sum() > 0
    for group, chosen in (("all", is_drawn), ("tail", tail & is_drawn)):
        of_group = [hit_rate_at_k(cell.ranks[ADAPTIVE]["test"][chosen], 10) for cell in cells]
        assert figures[group]["hit_rate_at_10"] == pytest.approx(np.mean(of_group))


@pytest.mark.parametrize("n_cases", [N_CASES, 5])
def test_the_page_says_what_was_compared(n_cases: int, tmp_path: Path) -> None:
    grid = RerankGrid.model_validate(GRID)
    document = {
        "description": grid.description,
        "command": "longtail benchmark small",
        "date": "today",
        "hardware": {"cpu": "one", "cores": 2},
        "grid": grid.model_dump(mode="json"),
        "data": {"made": described(n_cases, cells_of(n_cases))},
    }
    write_document(document, tmp_path, "small")
    page = (tmp_path / "small.md").read_text()
    assert "tuned with\nwhole prompts, answers" in page
    assert "drawn at random" not in page
    assert "*Augmented* rows" in page
    assert "; 5 items inserted for 6 users." in page
    document["grid"] = grid.model_copy(update={"tuned_with_part_dropout": True}).model_dump()
    for choice in document["data"]["made"]["choices"]:
        del choice["augmentation"]
    document["data"]["made"] |= {"measured_users": 4}
    write_document(document, tmp_path, "small")
    page = (tmp_path / "small.md").read_text()
    assert "tuned with\nprompts of which parts were left out at random, answers" in page
    assert "Figures are of 4 users drawn at random" in page
    assert not re.search(r"augment|inserted", page, re.IGNORECASE)
    assert "### Test, tail users" in page
    assert f"| 0 | {ADAPTIVE} | 0.7 | 0.3 |" in page
    assert "nan" not in page.casefold()
    assert (tmp_path / "small.svg").is_file()


def test_a_layout_without_a_part_has_no_row_that_leaves_it_out() -> None:
    whole = RerankGrid.model_validate(GRID)
    assert len(whole.layouts) == 4
    assert whole.layouts[WITHOUT_BOTH].n_similar == 0
    assert not whole.layouts[WITHOUT_BOTH].shows_prediction
    bare = RerankGrid.model_validate(GRID | {"layout": {"n_similar": 0, "shows_prediction": False}})
    assert list(bare.layouts) == [""]
