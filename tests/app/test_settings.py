from __future__ import annotations

import pytest

from app.settings import Settings, describe_unknown_variables, read_settings
from model_store.errors import ConfigError


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LONGTAIL_PORT", "eighty"),
        ("LONGTAIL_PORT", "70000"),
        ("LONGTAIL_WORKERS", "0"),
        ("LONGTAIL_STORE_TIMEOUT_MS", "-5"),
        ("LONGTAIL_REDIS_URL", "http://elsewhere"),
        ("LONGTAIL_LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_setting_is_refused_with_one_line(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError) as caught:
        read_settings()
    line = str(caught.value)
    assert line.startswith(f"{variable}='{value}': ")
    assert "\n" not in line


def test_a_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTAIL_ADMIN_TOKEN", "short")
    with pytest.raises(ConfigError) as caught:
        read_settings()
    assert "short" not in str(caught.value)
    monkeypatch.setenv("LONGTAIL_ADMIN_TOKEN", "long-enough")
    assert "long-enough" not in repr(read_settings())


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTAIL_PORT", "8001")
    assert read_settings(port=None).port == 8001
    assert read_settings(port=8002).port == 8002


def test_an_unknown_variable_is_named_with_the_nearest() -> None:
    lines = describe_unknown_variables({"LONGTAIL_WORKER": "1", "LONGTAIL_CACHE_DIR": "", "A": ""})
    assert lines == ["LONGTAIL_WORKER is not a setting; the nearest is LONGTAIL_WORKERS"]


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())
