"""The plan for many machines: arithmetic over measured constants, and the page that shows it."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from loadtest.hardware import ROOT
from loadtest.sizing import CONSTANTS, Constant, Wanted, main, plan, read_constants

PAGE = ROOT / "docs" / "scale.md"
VALUES = {
    "request_cpu_us": 1_000.0,
    "event_cpu_us": 500.0,
    "item_shared_bytes": 300.0,
    "item_worker_bytes": 100.0,
    "user_bytes": 400.0,
    "request_store_cpu_us": 10.0,
    "event_store_cpu_us": 50.0,
    "request_to_store_bytes": 100.0,
    "request_from_store_bytes": 400.0,
    "event_bytes": 300.0,
    "published_users_s": 10_000.0,
    "scored_pairs_s": 1e8,
    "trained_interactions_s": 20_000.0,
    "archived_events_s": 20_000.0,
}


def constants_of(**changed: float) -> dict[str, Constant]:
    return {
        name: Constant(value, "µs", "it", "command", "today")
        for name, value in {**VALUES, **changed}.items()
    }


def figures(wanted: Wanted, **changed: float) -> dict[str, float]:
    return {row.what: row.value for row in plan(wanted, constants_of(**changed))}


def test_a_plan_by_hand() -> None:
    wanted = Wanted(
        items=1e6, users=1e6, rps=1_000, events=0.2, history=50, busy=0.5, cores=2, batch_cores=1
    )
    found = figures(wanted)
    # 1,000 + .2 × 500 µs; 1,000 of these a second are 1.1 cores, at half busy 2.2.
    assert found["CPU time of a request with its events"] == pytest.approx(1_100)
    assert found["cores that serve"] == pytest.approx(2.2)
    assert found["machines that serve"] == 2
    # .3 GB once and .1 GB for each of two workers, of two versions.
    assert found["memory of a machine that serves"] == pytest.approx(2 * (0.3 + 2 * 0.1))
    # 400 bytes, of two versions.
    assert found["users in the store"] == pytest.approx(0.8)
    assert found["cores of the store"] == pytest.approx(1_000 * 20e-6 / 0.5)
    assert found["primaries"] == 1
    assert found["traffic to and from the store"] == pytest.approx(1_000 * 500 * 8 / 1e9)
    assert found["events of an hour"] == pytest.approx(200 * 300 * 3_600 / 1e9)
    assert found["publishing all users"] == pytest.approx(100 / 3_600)
    assert found["recommending to all users"] == pytest.approx(1e12 / 1e8 / 3_600)
    assert found["an epoch over all interactions"] == pytest.approx(50e6 / 20_000 / 3_600)
    assert found["archivers"] == pytest.approx(0.01)


def test_primaries_are_as_many_as_cores_or_as_memory_asks_for() -> None:
    assert figures(Wanted(rps=1, events=0, users=500e6, store_gb=50))["primaries"] == 8
    assert figures(Wanted(rps=200e3, events=0, users=1))["primaries"] == 4


def test_a_missing_constant_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "constants.json"
    path.write_text("{}")
    assert main(["--constants", str(path)]) == 2
    assert "no constant 'request_cpu_us'" in capsys.readouterr().err
    path.write_text("[1]")
    assert main(["--constants", str(path)]) == 2
    assert f"{path}: no constants can be read from it" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["0", "-1", "inf", "many"])
def test_a_load_is_above_zero(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--rps", given])
    assert "--rps" in capsys.readouterr().err


def test_the_page_shows_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    page = PAGE.read_text()
    for table in capsys.readouterr().out.strip().split("\n\n"):
        assert table in page, f"docs/scale.md lacks this table:\n{table}"


def test_every_constant_says_how_and_where_it_was_measured() -> None:
    constants = read_constants(CONSTANTS)
    assert set(constants) == set(VALUES)
    for name, constant in constants.items():
        assert constant.value > 0, name
        assert all((constant.command, constant.measured, constant.unit, constant.figure)), name
        assert set(json.loads(CONSTANTS.read_bytes())[name]) == set(vars(constant))
        # The command is there, and what it prints has the figure.
        python, _, module, *_ = constant.command.split()
        assert python == "python"
        spec = find_spec(module)
        assert spec is not None, constant.command
        assert spec.origin is not None
        place = Path(spec.origin)
        sources = place.parent.glob("*.py") if spec.submodule_search_locations else [place]
        printed = f'"{constant.figure.rpartition(".")[2]}"'
        assert any(printed in source.read_text() for source in sources), name
