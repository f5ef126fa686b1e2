from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadtest.options import add_load_options
from loadtest.recorder import Recorder, summarise_ms
from loadtest.run import main
from loadtest.thresholds import Thresholds


def figures_of(latencies_ms: list[float], *, faults: int = 0, unsent: int = 0) -> dict[str, Any]:
    recorder = Recorder()
    for number, latency_ms in enumerate(latencies_ms):
        recorder.record(
            "recommend",
            latency_ms,
            service_ms=1.0,
            fault="status 503" if number < faults else None,
            answer={"served_by": "model", "model_version": "v1", "degraded": ["features"]},
        )
    recorder.n_unsent = unsent
    return recorder.figures(2.0)


def test_percentiles_are_latencies_that_were_measured() -> None:
    values = np.arange(1, 1_001, dtype=np.float64)
    found = summarise_ms(values)
    assert found == {"p50": 501, "p90": 901, "p99": 991, "p99_9": 1_000, "max": 1_000}
    assert set(summarise_ms([]).values()) == {None}


def test_figures_count_requests_and_kinds_of_answers() -> None:
    figures = figures_of([1.0, 2.0, 3.0, 4.0], faults=1, unsent=1)
    assert figures["due"] == 5
    assert figures["requests"] == 4
    assert figures["failed"] == 2
    assert figures["failure_share"] == pytest.approx(0.4)
    assert figures["rps"] == pytest.approx(1.5)
    assert figures["failures"] == {"recommend: status 503": 1}
    assert figures["served_by"] == {"model": 4}
    assert figures["degraded"] == {"features": 4}
    assert figures["model_versions"] == {"v1": 4}
    assert figures["by_request"]["recommend"]["requests"] == 4


def test_figures_within_all_thresholds_break_none() -> None:
    thresholds = Thresholds(max_p50_ms=2, max_p99_ms=4, max_failures=0.0, min_rps=1.5)
    assert thresholds.find_broken(figures_of([1.0, 2.0, 3.0])) == []


@pytest.mark.parametrize(
    ("thresholds", "line"),
    [
        (Thresholds(max_p50_ms=2.5), "p50_ms 3.00 is above --max-p50-ms 2.5"),
        (Thresholds(max_p99_ms=3.9), "p99_ms 4.00 is above --max-p99-ms 3.9"),
        (Thresholds(min_rps=2), "rps 1.5 is below --min-rps 2"),
        (Thresholds(max_failures=0.1), "failures 25.0000% (1 of 4) are above --max-failures 0.1"),
    ],
)
def test_a_broken_threshold_is_named_with_its_figure(thresholds: Thresholds, line: str) -> None:
    failing = Thresholds(
        thresholds.max_p50_ms,
        thresholds.max_p99_ms,
        thresholds.max_failures or 1.0,
        thresholds.min_rps,
    )
    assert failing.find_broken(figures_of([1.0, 2.0, 3.0, 4.0], faults=1)) == [line]


def test_requests_that_were_never_sent_break_the_failure_threshold() -> None:
    assert Thresholds().find_broken(figures_of([1.0] * 99, unsent=1))
    assert not Thresholds(max_failures=0.01).find_broken(figures_of([1.0] * 99, unsent=1))


def test_a_run_without_any_answer_is_broken_whatever_the_thresholds() -> None:
    assert Thresholds(max_failures=1.0).find_broken(figures_of([])) == ["no request was answered"]


@pytest.mark.parametrize("limit", ["max-p50-ms", "max-p99-ms", "max-failures", "min-rps"])
@pytest.mark.parametrize("given", ["nan", "-1", "inf"])
def test_a_limit_that_nothing_can_break_is_no_limit(
    limit: str, given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    add_load_options(parser)
    with pytest.raises(SystemExit):
        parser.parse_args([f"--{limit}={given}"])
    fault = capsys.readouterr().err.splitlines()[-1]
    assert f"argument --{limit}: '{given}' is no number 0 or more" in fault


def test_results_that_cannot_be_written_cost_no_load(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    file = tmp_path / "file"
    for out, reason in ((tmp_path, "Is a directory"), (file / "r", f"{file} is no folder")):
        assert main(["--out", str(out)]) == 1
        assert capsys.readouterr().err == f"loadtest: --out {out}: {reason}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_that_is_wrong_is_named_before_a_service_is_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--url", "http://127.0.0.1:1", "--out", str(tmp_path / "r.json")]
    assert main([*flags, "--bundle", str(tmp_path)]) == 1
    assert f"{tmp_path}: no workload can be read from it" in capsys.readouterr().err
    assert main([*flags, "--workload-file", str(tmp_path)]) == 1
    assert f"{tmp_path}: not a readable workload" in capsys.readouterr().err
