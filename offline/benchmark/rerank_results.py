"""The results of a reranking grid as one JSON document, from which the page is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from offline.benchmark.figures import Groups
from offline.benchmark.rerank_cells import (
    ADAPTIVE,
    BASE,
    CONTROLS,
    RerankCell,
    RerankRun,
)
from offline.data.split import Cases
from offline.intervals import Float64, uncertainty_of
from offline.metrics import Ranks, gains, hits
from offline.recommender.recommender import TrainingData
from offline.stages.candidates import PARTS

GROUPS = ("all", "tail")
METRICS = {
    "hit_rate_at_3": (hits, 3),
    "ndcg_at_3": (gains, 3),
    "hit_rate_at_10": (hits, 10),
    "ndcg_at_10": (gains, 10),
}

Figures = dict[str, Any]
Bool = npt.NDArray[np.bool_]


def describe_reranking(run: RerankRun, cells: Sequence[RerankCell]) -> Figures:
    """Figures of one data set's rows over the finished seeds; at least one."""
    data, split = run.data, run.split
    counts = TrainingData.of_split(split, data.n_items).counts()
    rows: dict[str, list[dict[str, Ranks]]] = {
        name: [ranks] for name, ranks in run.baselines().items()
    }
    rows |= {name: [cell.ranks[name] for cell in cells] for name in cells[0].ranks}
    document: Figures = {
        "users": len(split.train_offsets) - 1,
        "items": data.n_items,
        "training_interactions": len(split.train_items),
        "measured_users": int(run.measured_users.sum()),
        "entries": {name: {} for name in rows},
        "against_controls": {part: {} for part in PARTS},
        "choices": [_describe_choices(cell) for cell in cells],
        "curves": {},
    }
    for part in PARTS:
        cases: Cases = getattr(split, part)
        is_measured = run.measured_users[cases.users]
        groups = {
            name: chosen & is_measured
            for name, chosen in Groups.of_cases(cases, counts).of.items()
            if name in GROUPS and (chosen & is_measured).any()
        }
        by_row = {name: [ranks[part] for ranks in found] for name, found in rows.items()}
        for name, ranks in by_row.items():
            figures: Figures = {"seeds": len(ranks)}
            figures |= {group: _means(ranks, chosen) for group, chosen in groups.items()}
            if name != BASE:
                figures["gain"] = _gains(ranks, by_row[BASE], groups)
            document["entries"][name][part] = figures
        document["against_controls"][part] = {
            control: _gains(by_row[ADAPTIVE], by_row[control], groups) for control in CONTROLS
        }
    return document


def _describe_choices(cell: RerankCell) -> Figures:
    return {
        "seed": cell.seed,
        **cell.facts,
        "weightings": {
            row: {"alpha_1": weighting.alpha_1, "alpha_2": weighting.alpha_2}
            for row, weighting in cell.weightings.items()
        },
    }


def _means(ranks: Sequence[Ranks], chosen: Bool) -> Figures:
    """Means over seeds and cases, with the standard error over both."""
    figures: Figures = {"cases": int(chosen.sum())}
    for name in METRICS:
        values = _values(ranks, chosen, name)
        figures[name] = float(values.mean())
        figures[f"{name}_standard_error"] = uncertainty_of(values).standard_error
    return figures


def _gains(
    ranks: Sequence[Ranks], others: Sequence[Ranks], groups: Mapping[str, Bool]
) -> dict[str, Figures]:
    """Differences paired by case and seed with their 95 % intervals, by group and metric."""
    return {
        group: {name: _gain(ranks, others, chosen, name) for name in METRICS}
        for group, chosen in groups.items()
    }


def _gain(ranks: Sequence[Ranks], others: Sequence[Ranks], chosen: Bool, name: str) -> Figures:
    of_others = _values(others, chosen, name)
    differences = _values(ranks, chosen, name) - of_others  # one row of a baseline stands for all
    mean, margin = float(differences.mean()), uncertainty_of(differences).margin
    against = float(of_others.mean())
    return {
        "mean": mean,
        "from": mean - margin,
        "to": mean + margin,
        "relative": mean / against if against else None,
    }


def _values(ranks: Sequence[Ranks], chosen: Bool, name: str) -> Float64:
    """A metric of each case, float64 [seeds, cases]."""
    metric, k = METRICS[name]
    return np.stack([metric(of_seed[chosen], k) for of_seed in ranks])
