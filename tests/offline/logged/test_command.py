"""`longtail evaluate --logged` on archives as the archiver writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import longtail
from model_store.bundle import Bundle
from model_store.codecs import Event
from model_store.exposure_log import Exploration, Exposure
from model_store.plackett_luce import draw, log_propensities
from offline.event_archive.archive import EventArchive, Logged
from offline.event_archive.exposure_archive import ExposureArchive
from tests.synthetic_bundle import Catalogue, expected_scores, make_bundle, make_catalogue

T0_S = 1.1e9
"""After the newest interaction of the bundles."""
TEMPERATURE, N_CANDIDATES, N_DRAWN, K = 0.5, 15, 2, 4
N_USERS, N_ANSWERS = 60, 6


@dataclass(frozen=True)
class Archives:
    """Of a log that a bundle's own rankings were drawn for, and the bundle."""

    events: Path
    exposures: Path
    bundle: Bundle
    other: Bundle
    n_clicks: int

    def evaluate(self, *flags: str) -> int:
        folders = ("--events", str(self.events), "--exposures", str(self.exposures))
        return longtail.main(["evaluate", "--logged", *folders, *flags])


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    folder = tmp_path_factory.mktemp("logged")
    catalogue = make_catalogue(n_users=N_USERS)
    bundle = make_bundle(folder / "own", catalogue=catalogue, with_encoder=False)
    changed = make_catalogue(n_users=N_USERS, seed=8)
    other = make_bundle(folder / "other", version="made-2", catalogue=changed, with_encoder=False)
    exposures, events = simulate(catalogue)
    shown, happened = ExposureArchive(folder / "shown"), EventArchive(folder / "events")
    with shown.locked(), happened.locked():
        shown.add(exposures)
        happened.add(events)
    n_clicks = sum(one.event.request_id is not None for one in events)
    return Archives(folder / "events", folder / "shown", bundle, other, n_clicks)


def simulate(catalogue: Catalogue) -> tuple[list[Exposure], list[Logged]]:
    """Answers of a service, and what people did: what they clicked is history at the next."""
    rng = np.random.default_rng(0)
    exposures: list[Exposure] = []
    events: list[Logged] = []
    for number, (user_id, base) in enumerate(catalogue.histories.items()):
        history, disliked = [*base.tolist()], [int(rng.integers(1, 61))]
        happen(events, user_id, catalogue, disliked[0], T0_S, type="dislike")
        events.append(logged(user_id, Event("unknown", T0_S + 1)))
        for answer in range(N_ANSWERS):
            at_s = T0_S + 86_400 * (answer + 1) + number
            request_id = f"{user_id}-{answer}"
            ranked, drawn = rank(catalogue, history, disliked, rng)
            ids = tuple(catalogue.ids.id_of(item) for item in ranked)
            arm = ("a", "b", "")[number % 3]
            exposures.append(
                Exposure(request_id, user_id, at_s, f"v{number % 2}", arm, "model", ids, drawn)
            )
            for place, item in enumerate(ranked):
                if rng.random() < 0.5 / (1 + place):
                    click = {"request_id": request_id, "rank": place + 1}
                    happen(events, user_id, catalogue, item, at_s + 60 + place, **click)
                    history.append(item)
    # Of nobody in particular, from before the bundle, and plain.
    exposures.append(Exposure("r0", None, T0_S, "v0", "", "popular", ("i1",)))
    exposures.append(Exposure("r1", "u1", T0_S + 9e6, "v0", "", "model", ("i1", "i2")))
    # A view of what was not shown, and a dislike of what was, are no clicks.
    events.append(logged("u1", Event("i9", T0_S + 9e6 + 1, request_id="r1")))
    events.append(logged("u1", Event("i1", T0_S + 9e6 + 1, type="dislike", request_id="r1")))
    return exposures, events


def rank(
    catalogue: Catalogue, history: list[int], disliked: list[int], rng: np.random.Generator
) -> tuple[list[int], Exploration]:
    """As the service does: two ranks drawn from the 15 best, two more by score."""
    scores = expected_scores(catalogue.table, np.array(history, dtype=np.int32))
    scores[[0, *history, *disliked]] = -np.inf
    best = np.argsort(-scores, kind="stable")[:N_CANDIDATES]
    logits = scores[best].astype(np.float64) / TEMPERATURE
    places = draw(logits, N_DRAWN, rng)
    propensities = tuple(log_propensities(logits, places).tolist())
    rest = [place for place in range(N_CANDIDATES) if place not in places][: K - N_DRAWN]
    ranked = [int(best[place]) for place in [*places.tolist(), *rest]]
    return ranked, Exploration(TEMPERATURE, N_CANDIDATES, propensities)


def happen(
    events: list[Logged], user_id: str, catalogue: Catalogue, item: int, at_s: float, **fields: Any
) -> None:
    events.append(logged(user_id, Event(catalogue.ids.id_of(item), at_s, **fields)))


def logged(user_id: str, event: Event) -> Logged:
    return Logged(user_id, event, round(event.timestamp * 1e6))


def test_the_policy_that_was_logged_has_weights_of_one(
    archives: Archives, capsys: pytest.CaptureFixture[str]
) -> None:
    """The histories, and the probabilities, are those of the service at the time."""
    policy = ("--bundle", str(archives.bundle.folder), "--temperature", str(TEMPERATURE))
    assert archives.evaluate(*policy, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    n = N_USERS * N_ANSWERS
    assert [one["n_exposures"] for one in document["estimates"]] == [n, n]
    for one in document["estimates"]:
        assert one["n_effective"] == pytest.approx(n, rel=1e-6)
        assert one["mean_weight"]["value"] == pytest.approx(1.0, abs=1e-5)
        assert one["values"]["ips"]["value"] == pytest.approx(one["logged"]["value"], abs=1e-5)
        assert one["values"]["dr"]["low"] < one["logged"]["value"] < one["values"]["dr"]["high"]


def test_clicks_are_told_by_group(archives: Archives, capsys: pytest.CaptureFixture[str]) -> None:
    assert archives.evaluate("--json") == 0
    document = json.loads(capsys.readouterr().out)
    rates = {(one["kind"], one["name"]): one for one in document["clicks_per_exposure"]}
    n = N_USERS * N_ANSWERS + 1
    assert document["estimates"] == []
    assert rates["all", ""]["n_exposures"] == n
    n_clicks = archives.n_clicks - 2
    assert rates["all", ""]["n_clicks"] == n_clicks
    assert rates["all", ""]["ratio"]["value"] == pytest.approx(n_clicks / n)
    for kind in ("version", "segment"):
        of_kind = [one for (name, _), one in rates.items() if name == kind]
        assert sum(one["n_exposures"] for one in of_kind) == n
        assert sum(one["n_clicks"] for one in of_kind) == n_clicks
    assert {name for kind, name in rates if kind == "arm"} == {"a", "b"}
    assert [rates["rank", str(place)]["n_exposures"] for place in (1, 2, 3)] == [n, n, n - 1]
    assert sum(rates["rank", str(place)]["n_clicks"] for place in (1, 2, 3, 4)) == n_clicks


def test_the_text_tells_the_same(archives: Archives, capsys: pytest.CaptureFixture[str]) -> None:
    policy = ("--bundle", str(archives.bundle.folder), "--temperature", str(TEMPERATURE))
    assert archives.evaluate(*policy) == 0
    shown = capsys.readouterr().out
    assert "version v0" in shown
    assert "arm b" in shown
    assert "segment head" in shown
    assert "what made-1 would have got with rankings drawn at temperature 0.5" in shown
    assert f"first 2 ranks: {N_USERS * N_ANSWERS} exposures of {N_USERS} users" in shown
    assert "doubly robust" in shown


def test_a_bundle_that_would_show_something_else_is_not_judged(
    archives: Archives, capsys: pytest.CaptureFixture[str]
) -> None:
    assert archives.evaluate("--bundle", str(archives.other.folder)) == 1
    shown = capsys.readouterr().out
    assert "what made-2 would have got with its ranking" in shown
    assert "not told: effective sample size" in shown
    assert "doubly robust" not in shown


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--logged", "--events", "e"], "--logged needs --exposures FOLDER"),
        (["--events", "e"], "--events goes with --logged"),
        (["--temperature", "1"], "--temperature goes with --logged"),
        (
            ["--logged", "--events", "e", "--exposures", "x", "--temperature", "1"],
            "name one with --bundle",
        ),
        (
            ["--logged", "--events", "e", "--exposures", "x", "--temperature", "-1"],
            "--temperature -1: expected 0 or more",
        ),
        (["--logged", "--url", "http://127.0.0.1:1"], "--url asks a service"),
        (["--logged", "--events", "e", "--exposures", "x"], "e: holds no archived events"),
    ],
)
def test_what_does_not_fit_is_named(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert longtail.main(["evaluate", *flags]) != 0
    assert message in capsys.readouterr().err


def test_without_propensities_nothing_is_told_of_a_bundle(
    archives: Archives, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = ExposureArchive(tmp_path / "shown")
    with shown.locked():
        shown.add([Exposure("r1", "u1", T0_S, "v0", "", "model", ("i1", "i2"))])
    command = ["evaluate", "--logged", "--events", str(archives.events), "--exposures"]
    bundle = ["--bundle", str(archives.bundle.folder)]
    assert longtail.main([*command, str(shown.folder), *bundle]) == 1
    assert "of 1 answers none were drawn with logged propensities" in capsys.readouterr().err
    # What the bundle was trained on tells nothing about it.
    early = ExposureArchive(tmp_path / "early")
    drawn = Exploration(1.0, 2, (-0.5,))
    with early.locked():
        early.add([Exposure("r1", "u1", 1e6, "v0", "", "model", ("i1", "i2"), drawn)])
    assert longtail.main([*command, str(early.folder), *bundle]) == 1
    assert "none that are newer than the bundle's data were drawn" in capsys.readouterr().err


def test_a_folder_of_something_else_is_named(
    archives: Archives, capsys: pytest.CaptureFixture[str]
) -> None:
    swapped = ["--events", str(archives.exposures), "--exposures", str(archives.events)]
    assert longtail.main(["evaluate", "--logged", *swapped]) == 1
    assert f"{archives.exposures}: not an archive of events" in capsys.readouterr().err
