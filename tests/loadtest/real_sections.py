"""Sections of the benchmark against the real service, very short, with tiny bundles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loadtest.bench.plan import QUICK
from loadtest.bench.rig import Rig
from loadtest.bench.sections import choose_sections, run_sections
from tests.loadtest.tiny_bundles import N_ITEMS, TinyBundles

PLAN = replace(
    QUICK,
    rounds=2,
    survey_rounds=1,
    saturated_s=0.15,
    single_s=0.1,
    warm_up_s=0.05,
    open_loop_s=0.3,
    overload_s=1.0,
    steady_s=1.0,
    n_connections=8,
    rates_rps=(100,),
    catalogue_sizes=(N_ITEMS,),
    largest_items=N_ITEMS,
    n_recall_histories=5,
    rerank_s=0.5,
    shadow_rounds=2,
    shadow_s=0.5,
    together_rounds=2,
    together_s=0.3,
    rerank_rounds=1,
    rerank_rps=60.0,
)


def run_real(names: Sequence[str], folder: Path) -> dict[str, Any]:
    """The document of some sections."""
    synthetic = TinyBundles(folder / "synthetic")
    rig = Rig(PLAN, folder, demo=synthetic.get(N_ITEMS), synthetic=synthetic)
    document: dict[str, Any] = {}
    for section in choose_sections(PLAN, names):
        with pytest.MonkeyPatch.context() as patch:
            # The cores of a test machine are shared: the store may take long to answer.
            patch.setenv("LONGTAIL_STORE_TIMEOUT_MS", "2000")
            if section.name != "reranking":
                patch.setenv("LONGTAIL_RERANK", "off")  # a process less to start for each service
            run_sections([section], rig, document, lambda _: None)
    assert {one["state"] for one in document["sections"].values()} == {"done"}
    return document
