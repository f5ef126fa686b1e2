from __future__ import annotations

import pytest

from app.settings import Settings, describe_ignored_variables, read_settings
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
def test_a_wrong_setting_is_rejected_with_one_line(
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


@pytest.mark.parametrize("given", ["long-enough\n", "  long-enough", "\tlong-enough \r\n"])
def test_a_token_is_stripped(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("LONGTAIL_ADMIN_TOKEN", given)
    token = read_settings().admin_token
    assert token is not None
    assert token.get_secret_value() == "long-enough"


@pytest.mark.parametrize("given", ["", " ", "         ", "\n\n\n\n\n\n\n\n\n"])
def test_blanks_are_no_token(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("LONGTAIL_ADMIN_TOKEN", given)
    assert read_settings().admin_token is None


@pytest.mark.parametrize("given", ["in two\nlines of it", "schlüssel-zum-glück", "a\x00bcdefghijk"])
def test_a_token_that_no_header_can_hold_is_rejected(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    # The environment can't hold a NUL; a flag or a file could.
    with pytest.raises(ConfigError, match=r"^LONGTAIL_ADMIN_TOKEN=\(hidden\): .*ASCII$"):
        read_settings(admin_token=given)


KUBERNETES = {
    "LONGTAIL_SERVICE_HOST": "10.96.0.12",
    "LONGTAIL_SERVICE_PORT": "8000",
    "LONGTAIL_SERVICE_PORT_HTTP": "8000",
    "LONGTAIL_PORT_8000_TCP": "tcp://10.96.0.12:8000",
    "LONGTAIL_PORT_8000_TCP_PROTO": "tcp",
    "LONGTAIL_PORT_8000_TCP_PORT": "8000",
    "LONGTAIL_PORT_8000_TCP_ADDR": "10.96.0.12",
    "LONGTAIL_REDIS_SERVICE_HOST": "10.96.0.13",
    "LONGTAIL_REDIS_PORT": "tcp://10.96.0.13:6379",
    "LONGTAIL_REDIS_PORT_6379_TCP_ADDR": "10.96.0.13",
}


def test_variables_that_kubernetes_makes_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"LONGTAIL_PORT": "tcp://10.96.0.12:8000", **KUBERNETES}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert read_settings().port == 8000
    assert read_settings(port=8002).port == 8002
    assert describe_ignored_variables(KUBERNETES) == []
    [line] = describe_ignored_variables(given)
    assert line.startswith("LONGTAIL_PORT='tcp://10.96.0.12:8000' is ignored: Kubernetes")
    assert describe_ignored_variables({"LONGTAIL_PORT": "8000"}) == []


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTAIL_PORT", "8001")
    assert read_settings(port=None).port == 8001
    assert read_settings(port=8002).port == 8002


def test_a_wrong_flag_is_named_as_it_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTAIL_PORT", "8001")
    with pytest.raises(ConfigError, match=r"^--port 70000: "):
        read_settings(port=70_000)


def test_an_unknown_variable_is_named_with_the_nearest() -> None:
    lines = describe_ignored_variables({"LONGTAIL_WORKER": "1", "LONGTAIL_CACHE_DIR": "", "A": ""})
    assert lines == ["LONGTAIL_WORKER is not a setting; the nearest is LONGTAIL_WORKERS"]


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize(
    "given", ["ftp://user:pass-word@host", "pass-word", "http://", "http://user:pass-word/@host"]
)
def test_an_endpoint_is_an_http_address_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("LONGTAIL_RERANK_URL", given)
    with pytest.raises(ConfigError, match=r"^LONGTAIL_RERANK_URL=\(hidden\): .+$") as caught:
        read_settings()
    assert "pass-word" not in str(caught.value)


def test_an_endpoints_url_and_key_are_stripped_and_not_in_a_repr(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LONGTAIL_RERANK_URL", " https://user:pass-word@host/v1\n")
    monkeypatch.setenv("LONGTAIL_RERANK_API_KEY", " a-key\n")
    settings = read_settings()
    assert settings.rerank_url is not None
    assert settings.rerank_url.get_secret_value() == "https://user:pass-word@host/v1"
    assert settings.rerank_api_key is not None
    assert settings.rerank_api_key.get_secret_value() == "a-key"
    assert "pass-word" not in repr(settings)
    assert "a-key" not in repr(settings)


@pytest.mark.parametrize(("given", "expected"), [("off", False), ("on", True), ("", True)])
def test_reranking_can_be_turned_off(
    monkeypatch: pytest.MonkeyPatch, given: str, expected: bool
) -> None:
    monkeypatch.setenv("LONGTAIL_RERANK", given)
    assert read_settings().rerank is expected
