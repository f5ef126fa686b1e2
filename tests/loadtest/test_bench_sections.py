"""Sections are run one after the other, kept, and continued."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loadtest.bench.__main__ import forget_when_complete, kept_figures, run_bench
from loadtest.bench.plan import FULL, QUICK
from loadtest.bench.rig import Rig
from loadtest.bench.sections import NAMES, Section, choose_sections, run_sections
from loadtest.bench.swap_services import FORMS
from loadtest.errors import TargetError, WorkloadError


def section(name: str, figures: dict[str, Any]) -> Section:
    return Section(name, lambda _: dict(figures), lambda found: [f"saw {sorted(found)}"])


def break_down(_: Rig) -> dict[str, Any]:
    raise TargetError("nobody there")


def test_figures_come_together_in_one_document_that_is_kept_after_each_section(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sections = [
        section("one", {"ratio": 0.7, "sizes": {"1": {"p50_ms": 1}}, "failed": 0}),
        Section("broken", break_down, lambda _: []),
        section("two", {"sizes": {"2": {"p50_ms": 2}}, "failed": 3}),
    ]
    document: dict[str, Any] = {}
    kept: list[str] = []
    run_sections(sections, Rig(QUICK, tmp_path), document, lambda d: kept.append(json.dumps(d)))
    assert document["ratio"] == 0.7
    assert document["sizes"] == {"1": {"p50_ms": 1}, "2": {"p50_ms": 2}}
    assert document["failed"] == 4  # three requests, and a section
    assert document["sections"]["broken"]["state"] == "failed: nobody there"
    assert document["sections"]["two"]["failed"] == 3
    assert [len(json.loads(text)["sections"]) for text in kept] == [1, 2, 3]
    assert json.loads(kept[-1]) == document
    assert "saw ['failed', 'ratio', 'sizes']" in capsys.readouterr().out


def test_finished_sections_are_kept_and_failed_ones_repeated(tmp_path: Path) -> None:
    document: dict[str, Any] = {
        "ratio": 0.7,
        "sections": {
            "one": {"state": "done", "failed": 0},
            "two": {"state": "failed: nobody there", "failed": 1},
        },
    }
    again = [section("one", {"ratio": 0.1, "failed": 0}), section("two", {"k": 1, "failed": 0})]
    run_sections(again, Rig(QUICK, tmp_path), document, lambda _: None)
    assert (document["ratio"], document["k"], document["failed"]) == (0.7, 1, 0)


def test_a_complete_run_is_measured_again_and_an_incomplete_one_continued() -> None:
    document: dict[str, Any] = {"sections": {"one": {"state": "done"}, "other": {"state": "done"}}}
    forget_when_complete(document, ["one", "two"])
    assert set(document["sections"]) == {"one", "other"}
    forget_when_complete(document, ["one"])
    assert set(document["sections"]) == {"other"}


def test_figures_of_another_commit_are_not_mixed_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh = {"commit": "b", "mode": "full", "bundle": "synthetic", "hardware": {"cores": 2}}
    out = tmp_path / "bench.json"
    assert kept_figures(out, fresh) is fresh
    out.write_text(json.dumps(fresh | {"ratio": 0.7}))
    assert kept_figures(out, fresh)["ratio"] == 0.7
    out.write_text(json.dumps(fresh | {"commit": "a", "ratio": 0.7}))
    assert kept_figures(out, fresh) is fresh
    assert "measured with another commit" in capsys.readouterr().err
    out.write_text("{}")
    with pytest.raises(WorkloadError, match="holds no figures of this benchmark"):
        kept_figures(out, fresh)


def test_a_run_without_anything_to_measure_names_its_machine(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "bench.json"
    figures = run_bench(QUICK, [], out=out)
    assert figures["mode"] == "quick"
    assert figures["hardware"]["cores"] >= 1
    assert {"commit", "date", "command", "pinned"} <= set(figures)


@pytest.mark.parametrize("name", ["demo", "swap_memory"])
def test_a_demo_that_was_not_built_is_left_out_in_plain_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    rig, document = Rig(QUICK, tmp_path, demo=tmp_path / "nothing"), dict[str, Any]()
    run_sections(choose_sections(QUICK, [name]), rig, document, lambda _: None)
    reason = f"no bundle in {tmp_path / 'nothing'}; `make demo` builds it"
    assert document[name] == {"left_out": reason}
    assert document["failed"] == 0
    assert f"left out: {reason}" in capsys.readouterr().out


def test_sections_are_in_order_and_some_have_one_for_each_form_or_size() -> None:
    several = {
        "swap_services": [f"swaps of {form.name}" for form in FORMS],
        "catalogue": [f"catalogue of {n}" for n in FULL.catalogue_sizes],
    }
    names = [section.name for section in choose_sections(FULL, NAMES)]
    assert names == [one for name in NAMES for one in several.get(name, [name])]
    assert [form.name for form in FORMS[:2]] == ["1 service of 2 workers", "2 services of 1 worker"]
    other = FULL.with_sizes([500, 90])
    assert [s.name for s in choose_sections(other, ["catalogue"])] == [
        "catalogue of 500",
        "catalogue of 90",
    ]
    assert other.largest_items == 500
