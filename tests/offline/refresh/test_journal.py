"""Steps that were done are not done again."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_store.errors import InputError
from offline.refresh.journal import Journal


def test_a_killed_run_is_found_with_what_it_has_done(tmp_path: Path) -> None:
    begun = Journal.begin(tmp_path, {"running": "v1"})
    begun.step("publish", lambda: {"version": "v2"})
    with pytest.raises(KeyboardInterrupt):
        begun.step("canary", interrupt)
    found = Journal.unfinished(tmp_path)
    assert found is not None
    assert (found.number, found.plan) == (1, {"running": "v1"})
    assert found.step("publish", interrupt) == {"version": "v2"}
    assert found.step("canary", lambda: {"word": "fine"}) == {"word": "fine"}


def test_a_finished_one_is_followed_by_the_next(tmp_path: Path) -> None:
    Journal.begin(tmp_path, {}).finish({"outcome": "declined"}, "page")
    assert Journal.unfinished(tmp_path) is None
    assert Journal.begin(tmp_path, {}).number == 2


def test_a_damaged_one_is_named(tmp_path: Path) -> None:
    begun = Journal.begin(tmp_path, {})
    (begun.folder / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run\.json: not as it was written"):
        Journal.unfinished(tmp_path)


def interrupt() -> dict[str, object]:
    raise KeyboardInterrupt
