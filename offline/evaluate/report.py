"""The offline report: every model by the same protocol, as JSON and as a page."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_store.files import save_array, write_atomically
from offline.data.split import Bool, Split
from offline.evaluate.examples import Names, make_examples
from offline.evaluate.figures import group_figures, ndcg_by_length, paired_gain
from offline.evaluate.hardware import describe_hardware
from offline.evaluate.page import render_page
from offline.evaluate.plots import plot_by_length, plot_training
from offline.metrics import Ranking, rank_cases
from offline.progress import Progress
from offline.recommender.recommender import Baseline, TrainingData

REPORT, PAGE = "report.json", "report.md"
BY_LENGTH_PLOT, TRAINING_PLOT = "ndcg_by_history_length.png", "training.png"
PROTOCOL = (
    "Full ranking over the whole catalogue without the items of the user's history, as a default "
    "request is answered: a target in the history is a miss. Ties count against the model; no "
    "sampled metrics. Choices are made on validation."
)


def write_report(
    models: Mapping[str, Baseline],
    split: Split,
    n_items: int,
    folder: Path,
    *,
    split_name: str,
    names: Names | None = None,
    made_with: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    training: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Rank validation and test cases with every model; write report.json, report.md and plots.

    The ranks of each case are kept in `ranks/<model>.<part>.npy`, int64 [C], in the order of the
    cases, so that gains can be paired over users later.

    Args:
        models: by name; the report is about the first, the others are baselines.
        split: its validation and test cases are ranked.
        n_items: N.
        folder: output folder.
        split_name: name of the split.
        names: of users and items, for examples on the page (report.json, which goes into bundles,
            names nobody); None: no examples.
        made_with: the few facts that a reader of the page needs, by name.
        facts: further facts to record: configuration, seed, seconds, revision.
        training: the epochs of the first model's training, for its curve.

    Returns:
        The content of report.json.
    """
    counts = TrainingData.of_split(split, n_items).counts()
    parts = {"validation": split.validation, "test": split.test}
    rankings: dict[str, dict[str, Ranking]] = {}
    figures: dict[str, dict[str, Any]] = {}
    n_cases = sum(len(cases) for cases in parts.values())
    with Progress("ranking cases", len(models) * n_cases, "case") as progress:
        for name, model in models.items():
            started = time.perf_counter()
            rankings[name] = {
                part: rank_cases(model.score, cases, ranked=progress.advance)
                for part, cases in parts.items()
            }
            figures[name] = {
                part: group_figures(rankings[name][part], cases, counts)
                for part, cases in parts.items()
            }
            figures[name]["seconds"] = time.perf_counter() - started
            for part in parts:
                save_array(folder / "ranks" / f"{name}.{part}.npy", rankings[name][part].ranks)
    by_length = {
        name: ndcg_by_length(ranking["test"], split.test) for name, ranking in rankings.items()
    }
    report = {
        "protocol": PROTOCOL,
        "split": split_name,
        "data": _describe_data(split, n_items),
        "hardware": describe_hardware(),
        "models": figures,
        "by_history_length": by_length,
        "paired_gains": _gains_over_baselines(rankings),
        "training": training or [],
        "made_with": dict(made_with or {}),
        "facts": dict(facts or {}),
    }
    content = json.dumps(_without_nan(report), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(folder / REPORT, content.encode())
    plot_by_length(by_length, folder / BY_LENGTH_PLOT)
    plots = [BY_LENGTH_PLOT]
    if training:
        plot_training(training, folder / TRAINING_PLOT)
        plots.append(TRAINING_PLOT)
    first = next(iter(models.values()))
    examples = make_examples(first, split.test, names) if names else []
    write_atomically(folder / PAGE, render_page(report, examples, plots).encode())
    return report


def _describe_data(split: Split, n_items: int) -> dict[str, Any]:
    return {
        "users": len(split.train_offsets) - 1,
        "items": n_items,
        "training_interactions": len(split.train_items),
        "validation_cases": len(split.validation),
        "test_cases": len(split.test),
        "repeats": {
            part: _share(cases.are_repeats())
            for part, cases in (("validation", split.validation), ("test", split.test))
        },
    }


def _share(mask: Bool) -> float:
    return float(mask.mean()) if len(mask) else 0.0


def _gains_over_baselines(rankings: Mapping[str, Mapping[str, Ranking]]) -> dict[str, Any]:
    first, *others = rankings
    return {
        other: {
            part: paired_gain(ranking, rankings[other][part])
            for part, ranking in rankings[first].items()
            if len(ranking.ranks)
        }
        for other in others
    }


def _without_nan(value: Any) -> Any:
    """A mean over nothing has no figure; JSON has no NaN, so it is null there."""
    if isinstance(value, Mapping):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
