from __future__ import annotations

import pytest

from loadtest.errors import TargetError
from loadtest.target import Address, parse_target


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8000", Address("127.0.0.1", 8000)),
        ("http://127.0.0.1:8000/", Address("127.0.0.1", 8000)),
        ("http://localhost:81", Address("localhost", 81)),
        ("http://[::1]:8000", Address("::1", 8000)),
        ("http://127.9.9.9", Address("127.9.9.9", 80)),
    ],
)
def test_this_machine_is_a_target(url: str, address: Address) -> None:
    assert parse_target(url) == address
    assert parse_target(address.url) == address


@pytest.mark.parametrize(
    "url", ["http://example.org:8000", "http://192.0.2.7", "http://127.0.0.1.example.org"]
)
def test_another_machine_needs_its_owners_consent(url: str) -> None:
    with pytest.raises(TargetError, match="--i-own-this-host"):
        parse_target(url)
    assert parse_target(url, owned=True).host in url


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000",
        "https://127.0.0.1",
        "http://",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:8000/recommend",
        "http://127.0.0.1@example.org/",
    ],
)
def test_a_text_that_is_no_base_url_is_rejected_and_named(url: str) -> None:
    with pytest.raises(TargetError):
        parse_target(url, owned=True)
