"""Brokers and credentials: what is wrong is one line, without a secret."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import longtail
from model_store.errors import ConfigError
from offline.kafka.access import Brokers, Credentials, read_credentials

TO = ["events", "to-kafka", "--topic", "events", "--once", "--brokers"]
SECRET = "hunter2-secret"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("localhost", "'localhost' is no address HOST:PORT"),
        ("a:1,b:0", "'b:0' is no address HOST:PORT"),
        ("a:70000", "'a:70000' is no address HOST:PORT"),
        ("", "'' is no address HOST:PORT"),
        (f"me:{SECRET}@a:9092", "it is no address HOST:PORT"),
    ],
)
def test_brokers_that_are_none(given: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        longtail.main([*TO, given])
    err = capsys.readouterr().err
    assert shown in err
    assert SECRET not in err


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "ä", "x" * 250])
def test_a_topic_that_is_none(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for flags in ([f"--topic={name}"], ["--topic=t", f"--exposures-topic={name}"]):
        assert longtail.main(["events", "leave-kafka", *flags]) == 1
        assert f"{flags[-1].partition('=')[0]} {name!r}: is no name of" in capsys.readouterr().err


def test_events_and_exposures_need_topics_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert longtail.main([*TO, "a:1", "--exposures-topic", "events"]) == 1
    assert "--exposures-topic events: is that of the events" in capsys.readouterr().err


def test_an_empty_group_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["events", "from-kafka", "--brokers", "a:1", "--topic", "t", "--url", "http://a"]
    assert longtail.main([*command, "--group", " "]) == 1
    assert "the name of the group is empty" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["to-kafka", "from-kafka"])
def test_without_the_extra_it_is_named(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "aiokafka", None)
    more = ["--group", "g", "--url", "http://a"] if command == "from-kafka" else []
    flags = ["--brokers", "a:1", "--topic", "t", *more, "--once"]
    assert longtail.main(["events", command, *flags]) == 1
    wanted = "longtail events: Kafka needs the package 'aiokafka': pip install 'longtail[kafka]'\n"
    assert capsys.readouterr().err == wanted


SASL = f'sasl_mechanism = "PLAIN"\nusername = "me"\npassword = "{SECRET}"\n'


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('security_protocol = "TLS"', "security_protocol: Input should be 'PLAINTEXT', 'SSL'"),
        (SASL, "need security_protocol SASL_PLAINTEXT or SASL_SSL"),
        ('security_protocol = "SASL_SSL"', "SASL_SSL needs sasl_mechanism, username and password"),
        (f"password = {[SECRET]}", "password: Input should be a valid string"),
        (f'passwort = "{SECRET}"', "passwort: Extra inputs are not permitted"),
        (f"password = {SECRET}", "not TOML (at line 1, column"),
        ('ca_file = "x"', "need security_protocol SSL or SASL_SSL"),
        ('security_protocol = "SSL"\nkey_file = "x"', "key_file and key_password need cert_file"),
    ],
)
def test_a_wrong_file_is_named_without_its_secrets(text: str, shown: str, tmp_path: Path) -> None:
    path = tmp_path / "kafka.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_credentials(path)
    assert str(caught.value).startswith(f"--config {path}: ")
    assert shown in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--config .*: No such file"):
        read_credentials(tmp_path / "none.toml")


@pytest.mark.parametrize("name", ["ca_file", "cert_file"])
def test_a_certificate_that_is_not_there(name: str) -> None:
    given = Credentials.model_validate({"security_protocol": "SSL", name: "none.pem"})
    with pytest.raises(ConfigError, match=f"{name} 'none.pem': No such file"):
        Brokers("a:1", given).options()


def test_credentials_reach_the_client_and_are_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "kafka.toml"
    path.write_text('security_protocol = "SASL_PLAINTEXT"\n' + SASL)
    brokers = Brokers("a:1,b:2", read_credentials(path))
    options = brokers.options()
    assert options["sasl_plain_password"] == SECRET
    assert options["bootstrap_servers"] == ["a:1", "b:2"]
    assert SECRET not in repr(brokers)
