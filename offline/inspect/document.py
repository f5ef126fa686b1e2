"""An inspection as a JSON document, for programs: the facts of the text, and the same warnings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from offline.inspect.histories import QUANTILES, Histories
from offline.inspect.inspection import Inspection
from offline.inspect.overlap import Overlap
from offline.inspect.ratings import RatingCounts
from offline.inspect.times import Times, written
from offline.inspect.warnings import warnings_about_data


def render_document(inspection: Inspection, files: Sequence[str]) -> str:
    """The document, indented; docs/data.md lists its keys.

    Args:
        inspection: of the data set.
        files: which files were read and in which form, one line each.
    """
    histories = inspection.histories
    document = {
        "files": list(files),
        "columns": [asdict(reading) for reading in inspection.readings],
        "interactions": inspection.n_interactions,
        "users": histories.n_users,
        "items": inspection.n_items,
        "event_types": inspection.event_types,
        "kinds": inspection.kinds,
        "ratings": None if inspection.ratings is None else _ratings(inspection.ratings),
        "times": _times(inspection.times),
        "histories": _histories(histories),
        "catalogue": None if inspection.overlap is None else _catalogue(inspection.overlap),
        "issues": [
            {
                "file": issue.file,
                "kind": issue.kind.name.lower(),
                "count": issue.count,
                "is_loss": issue.kind.is_loss,
                "examples": issue.examples,
                "text": str(issue),
            }
            for issue in inspection.issues
        ],
        "warnings": warnings_about_data(inspection),
        "sample_interactions": [asdict(sample) for sample in inspection.samples],
        "sample_items": list(inspection.items),
    }
    return json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False)


def _times(times: Times) -> dict[str, object]:
    return {
        "first": written(times.first_s),
        "first_s": times.first_s,
        "last": written(times.last_s),
        "last_s": times.last_s,
        "are_dates": times.are_dates,
        "tied": times.n_tied,
    }


def _histories(histories: Histories) -> dict[str, object]:
    return {
        "lengths": {f"{q:g}": n for q, n in zip(QUANTILES, histories.quantiles, strict=True)},
        "held_out_users": histories.n_held_out,
        "repeats": histories.n_repeats,
        "repeats_in_runs": histories.n_in_runs,
        "repeated_share_of_targets": histories.share_of_targets,
        "unusual_users": [asdict(outlier) for outlier in histories.outliers],
    }


def _ratings(ratings: RatingCounts) -> dict[str, object]:
    return {
        "interactions": ratings.n,
        "mean": ratings.mean,
        "standard_deviation": ratings.deviation,
        "counts": {f"{value:g}": count for value, count in ratings.counts.items()},
    }


def _catalogue(overlap: Overlap) -> dict[str, object]:
    return {
        "items": overlap.n_catalogued,
        "items_with_interactions": overlap.n_used,
        "lacking_items": overlap.n_lacking,
        "interactions_with_lacking_items": overlap.n_interactions_lacking,
        "lacking_examples": list(overlap.examples),
        "near_misses": [asdict(near_miss) for near_miss in overlap.near_misses],
    }
