"""`report.json`: what an alignment did, with texts of a fixed list of items before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from offline.alignment.alignment import Outcome
from offline.alignment.config import AlignmentConfig
from offline.alignment.watch import Look

_PARTS = 10  # of the steps, whose figures are averaged


def write_report(
    config: AlignmentConfig,
    outcome: Outcome,
    looks: Sequence[Look],
    figures: Sequence[dict[str, float]],
    n_tuned: int,
) -> dict[str, Any]:
    """As JSON values.

    Args:
        config: settings.
        outcome: of the loop.
        looks: at the watched items' texts, in order.
        figures: of each step.
        n_tuned: numbers of the LLM that were tuned.
    """
    first, last = looks[0], looks[-1]
    return {
        "settings": config.model_dump(),
        **asdict(outcome),
        "tuned_parameters": n_tuned,
        "looks": [{**asdict(look), "texts": None} for look in looks],
        "figures": _averaged(figures),
        "texts": {
            item_id: {"before": first.texts[item_id], "after": last.texts[item_id]}
            for item_id in first.texts
        },
    }


def _averaged(figures: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """Means over tenths of the steps; `step` is the last one of each."""
    rows = np.array_split(np.arange(len(figures)), min(_PARTS, len(figures)))
    return [
        {
            name: float(np.mean([figures[row][name] for row in part]))
            if name != "step"
            else figures[part[-1]]["step"]
            for name in figures[part[0]]
        }
        for part in rows
        if len(part)
    ]
