"""Rank every held-out interaction with the model and the baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_store.rerank_prompt import item_titles
from offline.artifact import Artifact, Facts
from offline.stages.data import DataArtifact
from offline.stages.recommender import RecommenderArtifact
from offline.stages.stage import Stage

HEADLINE_METRICS = ("hit_rate_at_10", "ndcg_at_10")


class EvaluationArtifact(Artifact):
    """The offline report."""

    REPORT = "report.json"

    def report(self) -> dict[str, Any]:
        """The content of report.json."""
        report: dict[str, Any] = self.read_json(self.REPORT)
        return report


@dataclass(frozen=True)
class EvaluationStage(Stage[EvaluationArtifact]):
    """From a recommender to its figures.

    Attributes:
        data: its validation and test cases are ranked.
        recommender: the model that the report is about.
        split_name: name of the split.
        notes: recorded in the report; no figure depends on them.
        made_with: those that a reader of the page needs, by name; no figure depends on them.
    """

    data: DataArtifact
    recommender: RecommenderArtifact
    split_name: str
    notes: Mapping[str, Any]
    made_with: Mapping[str, Any]

    name = "evaluate"

    @property
    def artifact(self) -> type[EvaluationArtifact]:
        """See `EvaluationArtifact`."""
        return EvaluationArtifact

    def run(self, folder: Path) -> Facts:
        """Write the report and its plots.

        Raises:
            InputError: a score is NaN.
        """
        from offline.evaluate.examples import Names
        from offline.evaluate.report import write_report
        from offline.recommender.baselines import Markov, Popularity
        from offline.recommender.recommender import Baseline, TrainingData

        split, n_items = self.data.split(), self.data.n_items
        training = TrainingData.of_split(split, n_items)
        model = self.recommender.model()
        trained = self.recommender.facts
        training_facts = {
            "best_epoch": trained["best_epoch"],
            "training_seconds": trained["epochs_s"],
        }
        models: list[Baseline] = [model, Markov().fit(training), Popularity().fit(training)]
        report = write_report(
            {each.name: each for each in models},
            split,
            n_items,
            folder,
            split_name=self.split_name,
            names=Names(
                self.data.interactions().user_ids,
                item_titles(self.data.attributes(), self.data.item_ids().ids),
            ),
            made_with={**self.made_with, **training_facts},
            facts={**self.notes, "training_seconds": training_facts["training_seconds"]},
            training=model.record.to_dict()["epochs"],
        )
        figures = report["models"][model.name]["test"]["all"]
        headline = {name: round(figures[name], 4) for name in HEADLINE_METRICS}
        return {**headline, "repeats": round(report["data"]["repeats"]["test"], 4)}
