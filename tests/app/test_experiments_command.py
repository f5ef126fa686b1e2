"""`longtail experiments`, on the store and through a service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import longtail
from app import experiments_command
from app.experiments.moments import Moments, UserSums
from app.experiments.report import ExperimentReport, report_on
from app.experiments_command import describe, parse_arm
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.errors import ConfigError
from model_store.experiment import Experiment, RequestDefaults
from model_store.store import connect
from tests.app.conftest import TOKEN, publish_and_activate, settings_for
from tests.app.listening import listening


@pytest.fixture(scope="module")
def url(
    store: EmbeddedStore, synthetic_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("service")
    with connect(store.url) as client:
        client.flushall()
    publish_and_activate(synthetic_bundle, folder, store.url)
    with listening(settings_for(store.url, folder)) as running:
        yield f"http://127.0.0.1:{running.port}"


@pytest.fixture(autouse=True)
def environment(store: EmbeddedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTAIL_REDIS_URL", store.url)
    monkeypatch.setenv("LONGTAIL_BUNDLES_DIR", str(tmp_path))
    monkeypatch.setenv("LONGTAIL_ADMIN_TOKEN", TOKEN)


def command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    status = longtail.main(["experiments", *words])
    printed = capsys.readouterr()
    return status, printed.out if status == 0 else printed.err


ARMS = ("--arm", "control=90", "--arm", "plain=10,rerank=never,diversity=0.3")


@pytest.mark.parametrize("through_service", [True, False])
def test_an_experiment_from_start_to_stop(
    url: str, capsys: pytest.CaptureFixture[str], through_service: bool
) -> None:
    where = ("--url", url) if through_service else ()
    name = f"plain-{through_service}"

    def run(*words: str) -> str:
        status, text = command(capsys, *words, *where)
        assert status == 0, text
        return text

    assert run("start", name, *ARMS) == (
        f"experiment {name} runs: control 90 %, plain 10 % (diversity 0.3, rerank never)\n"
    )
    assert f"{name}  20" in run("show")
    shown = run("show", name).splitlines()
    assert shown[0].endswith(f", running, salt {name}")
    assert shown[1].split() == [
        "ARM", "SHARE", "USERS", "EXPOSURES", "CLICKS", "CLICKS/EXPOSURE", "DIFFERENCE", "P"
    ]  # fmt: skip
    assert shown[3].split() == ["plain", "10", "%", "0", "0", "0"]
    document: dict[str, Any] = json.loads(run("stop", name, "--json"))
    assert document["stopped"]
    assert document["arms"][1]["defaults"]["rerank"] == "never"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("start", "x", "--arm", "a=50", "--arm", "b=50,rernk=never"), "did you mean 'rerank'?"),
        (("start", "x", "--arm", "a=50", "--arm", "b=50,verson=1"), "did you mean 'version'?"),
        (("start", "x", "--arm", "a=50", "--arm", "b=half"), "begins with no NAME=SHARE"),
        (("start", "x", "--arm", "a=50", "--arm", "b=50,diversity=2"), "diversity: Input should"),
        (("start", "x", "--arm", "a=50", "--arm", "b=60"), "add up to 110 %"),
        (("start", "x", "--arm", "a=50"), "at least 2 items"),
        (("start", "x/y", *ARMS), "name: 'x/y' is not 1 to 64 of A-Z a-z 0-9 . _ -, or begins"),
        (("show", "nothing"), "there is no experiment 'nothing'"),
        (("stop", "nothing"), "there is no experiment 'nothing'"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    url: str, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    status, text = command(capsys, *words)
    assert status == 1
    [line] = text.splitlines()
    assert line.startswith("longtail experiments: ")
    assert said in line


def test_an_arm_is_read_with_the_types_of_requests() -> None:
    arm = parse_arm("b=12.5%,version=v2,k=5,exclude_seen=false,diversity=.25,deadline_ms=40")
    assert (arm.name, arm.share, arm.version) == ("b", 12.5, "v2")
    assert arm.defaults == RequestDefaults(k=5, exclude_seen=False, diversity=0.25, deadline_ms=40)
    with pytest.raises(ConfigError, match="k: Input should be a valid integer"):
        parse_arm("b=10,k=few")


def test_the_table_shows_the_effect_and_a_broken_split() -> None:
    experiment = Experiment.model_validate(
        {
            "name": "x",
            "salt": "x",
            "since": "2026-01-01T00:00:00+00:00",
            "arms": [{"name": "a", "share": 50}, {"name": "b", "share": 50}],
        }
    )
    some = [UserSums(10, number % 4) for number in range(400)]
    more = [UserSums(10, 1 + number % 4) for number in range(200)]
    counted = {"a": Moments.of(some), "b": Moments.of(more)}
    report = report_on(experiment, counted, {})
    *_, control, arm, ratio = describe(report).splitlines()
    interval = ["0.1500", "[0.1390,", "0.1610]"]
    assert control.split() == ["a", "50", "%", "400", "4,000", "600", *interval, "control"]
    assert arm.split()[:7] == ["b", "50", "%", "200", "2,000", "500", "0.2500"]
    assert arm.endswith("  +0.1000 [+0.0809, +0.1191]  <0.001")
    versions = {("a", "v1"): Moments.of(some[:300]), ("a", "v2"): Moments.of(some[300:])}
    told = describe(report_on(experiment, counted, versions | {("b", "v1"): counted["b"]}))
    rows = [line.split()[:6] for line in told.splitlines()[-4:-1]]
    assert rows == [
        ["ARM", "VERSION", "USERS", "EXPOSURES", "CLICKS", "CLICKS/EXPOSURE"],
        ["a", "v1", "300", "3,000", "450", "0.1500"],
        ["a", "v2", "100", "1,000", "150", "0.1500"],
    ]
    assert ratio.startswith("THE SPLIT IS WRONG, effects say nothing: split not as wanted: a 400")


def test_answers_of_a_service_of_a_later_release_are_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = {"k": 3, "later": 1}
    arms = [{"name": name, "share": 50, "defaults": defaults, "later": 1} for name in "ab"]
    listed = {"name": "x", "salt": "x", "since": "2026-01-01T00:00:00+00:00", "arms": arms}
    figures = {"users": 0, "exposures": 0, "clicks": 0, "rate": None, "effect": None}
    report = listed | {
        "stopped": None, "confidence": 0.95, "sample_ratio": {"noticed": False, "reason": "few"},
        "arms": [arm | figures for arm in arms], "later": 1,
    }  # fmt: skip
    answers = {"GET": {"experiments": [listed]}, "POST": listed, "DELETE": report}
    monkeypatch.setattr(experiments_command, "ask", lambda method, *_: answers[method])
    for words in (["show"], ["start", "x", *ARMS], ["stop", "x"]):
        for further in ([], ["--json"]):
            status, text = command(capsys, *words, "--url", "http://127.0.0.1:1", *further)
            assert status == 0, text
    with pytest.raises(ValidationError, match="unknown field 'later'"):
        Experiment.model_validate(listed)


def test_a_report_of_a_service_of_an_earlier_release_is_read() -> None:
    arms = [{"name": "a", "share": 50}, {"name": "b", "share": 50}]
    experiment = Experiment.model_validate(
        {"name": "x", "salt": "x", "since": "2026-01-01T00:00:00+00:00", "arms": arms}
    )
    counted = dict.fromkeys("ab", Moments.of([UserSums(10, number % 4) for number in range(400)]))
    document = report_on(experiment, counted, {}).model_dump()
    for arm in document["arms"]:
        del arm["low"], arm["high"], arm["versions"]
    told = describe(ExperimentReport.model_validate(document)).splitlines()
    assert told[2].split() == ["a", "50", "%", "400", "4,000", "600", "0.1500", "control"]
