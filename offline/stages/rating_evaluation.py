"""RMSE and MAE of a rating network and of the baselines on held-out ratings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_store.files import write_atomically
from offline.artifact import Artifact, Facts
from offline.stages.data import DataArtifact
from offline.stages.rating import RatingArtifact
from offline.stages.ratings import RatingsArtifact
from offline.stages.stage import Stage


class RatingEvaluationArtifact(Artifact):
    """The offline report."""

    REPORT, PAGE = "report.json", "report.md"

    def report(self) -> dict[str, Any]:
        """The content of report.json."""
        report: dict[str, Any] = self.read_json(self.REPORT)
        return report


@dataclass(frozen=True)
class RatingEvaluationStage(Stage[RatingEvaluationArtifact]):
    """From a rating network to its figures.

    Attributes:
        data: numbers of users and items.
        ratings: its test part is predicted.
        rating: the model that the report is about.
        split_name: how ratings were held out.
        notes: recorded in the report; no figure depends on them.
    """

    data: DataArtifact
    ratings: RatingsArtifact
    rating: RatingArtifact
    split_name: str
    notes: Mapping[str, Any]

    name = "rating_evaluate"

    @property
    def artifact(self) -> type[RatingEvaluationArtifact]:
        """See `RatingEvaluationArtifact`."""
        return RatingEvaluationArtifact

    def run(self, folder: Path) -> Facts:
        """Write report.json and report.md."""
        from offline.evaluate.hardware import describe_hardware
        from offline.rating.baselines import fit_baselines
        from offline.rating.figures import PROTOCOL, figures_of, find_tail
        from offline.rating.page import render_page

        split, model = self.ratings.split(), self.rating.model()
        n_users, n_items = int(self.data.facts["users"]), self.data.n_items
        models = [model, *fit_baselines(split, n_users, n_items, model.config.seed)]
        tail = find_tail(split.train, n_users)
        report = {
            "protocol": PROTOCOL,
            "split": self.split_name,
            "data": {
                "users": n_users,
                "items": n_items,
                **{part: len(getattr(split, part)) for part in ("train", "validation", "test")},
            },
            "hardware": describe_hardware(),
            "models": figures_of(models, split, tail, model.scale),
            "training": model.record.to_dict()["epochs"],
            "facts": dict(self.notes),
        }
        content = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
        write_atomically(folder / RatingEvaluationArtifact.REPORT, content.encode())
        write_atomically(folder / RatingEvaluationArtifact.PAGE, render_page(report).encode())
        figures = report["models"][model.name]["test"]["all"]
        return {"rmse": round(figures["rmse"], 4), "mae": round(figures["mae"], 4)}
