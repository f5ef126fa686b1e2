"""The document of a grid's results, and the files that are written from it."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model_store.files import write_atomically
from offline.benchmark import alignment_grid, rating_grid, rerank_grid
from offline.benchmark.alignment_grid import AlignmentGrid
from offline.benchmark.alignment_page import render_alignment
from offline.benchmark.grid_kinds import AnyGrid, name_of
from offline.benchmark.page import render_page
from offline.benchmark.plots import NDCG, RMSE, plot_curves, plot_entries
from offline.benchmark.rating_page import render_ratings
from offline.benchmark.rerank_page import render_reranking
from offline.evaluate.hardware import describe_hardware
from offline.inputs import NAMED
from offline.revision import code_revision

_RENDERERS = {
    rerank_grid.KIND: render_reranking,
    alignment_grid.KIND: render_alignment,
    rating_grid.KIND: render_ratings,
}
"""By the kind that a grid states."""


def begin_document(grid: AnyGrid, name: str) -> dict[str, Any]:
    """A document without results."""
    places = [choice.name for choice in grid.data if choice.name not in NAMED]
    if isinstance(grid, AlignmentGrid) and grid.reference_texts:
        places.append(grid.reference_texts)
    data = [f"--data {place}=FOLDER" for place in places]
    return {
        "description": grid.description,
        "command": " ".join(["longtail benchmark", shlex.quote(name_of(grid, name)), *data]),
        "date": datetime.now(UTC).date().isoformat(),
        "commit": code_revision(),
        "hardware": describe_hardware(),
        "grid": grid.model_dump(mode="json"),
        "data": {},
    }


def write_document(document: Mapping[str, Any], results: Path, name: str) -> None:
    """Write the JSON, the plots and the page of a document into a folder."""
    results.mkdir(parents=True, exist_ok=True)
    content = json.dumps(_rounded(document), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(results / f"{name}.json", f"{content}\n".encode())
    plots = [f"{name}.svg"]
    is_of_ratings = document["grid"].get("kind") == rating_grid.KIND
    plot_entries(document, results / plots[0], RMSE if is_of_ratings else NDCG)
    if any(data["curves"] for data in document["data"].values()):
        plots.append(f"{name}-curves.svg")
        plot_curves(document, results / plots[-1])
    render = _RENDERERS.get(document["grid"].get("kind"), render_page)
    write_atomically(results / f"{name}.md", render(document, plots).encode())


def _rounded(value: Any) -> Any:
    """Six decimals; a mean over nothing has no figure, which in JSON is null."""
    if isinstance(value, Mapping):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value
