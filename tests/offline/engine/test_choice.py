from __future__ import annotations

import sys

import pytest

from model_store.errors import ConfigError
from offline.engine.choice import open_engine
from offline.engine.local import LocalEngine, count_cores


def test_an_engine_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"--engine ray: the package 'ray' is not installed; "):
        open_engine("ray", 2)


def test_without_a_number_there_is_a_process_for_each_core() -> None:
    assert open_engine("local", None) == LocalEngine(count_cores())
    assert open_engine("local", 3) == LocalEngine(3)
