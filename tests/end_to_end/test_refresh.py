"""From a running service's events to the version that answers after them."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

import longtail
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.errors import InputError, ServiceAway
from model_store.people import forget
from model_store.private_key import PrivateKey
from model_store.registry import Registry
from model_store.signatures import KEYS_SETTING, POLICY_SETTING, Trust
from model_store.store import connect
from offline.inputs import Source
from offline.refresh.choices import Choices, folder_of
from offline.refresh.command import refresh, service_of
from offline.refresh.refresh import Refresh
from offline.refresh.trials import Trial
from tests.app.conftest import TOKEN, settings_for, wait_for
from tests.app.listening import listening
from tests.exposures import logged

pytestmark = pytest.mark.slow

RECIPE = """
description = "ids alone, for tests"

[knowledge]
model = "none"

[encoding]
encoder = "none"

[recommender]
embedding_size = 16
max_length = 12
layers = 1
id_init = "random"
knowledge_beside_ids = false
dropout = 0.0

[training]
epochs = 6
batch_size = 16
learning_rate = 0.01
warm_up_steps = 5
"""
N_USERS, N_OLD, N_NEW = 48, 10, 10
N_DRAWN = 5
FORGOTTEN = "u7"


def item(user: int, step: int) -> str:
    """People walk a circle of 40 items, and of 44 once there are four more."""
    return f"i{(3 * user + step) % (40 if step < N_OLD else 44)}"


def at(user: int, step: int) -> int:
    return 1_700_000_000 + 10_000 * step + user


@dataclass
class Shop:
    """A build, the service that answers with it, and where things are."""

    folder: Path
    url: str
    port: int
    said: list[str] = field(default_factory=list)

    @property
    def files(self) -> list[str]:
        folder = self.folder
        return [
            *("--interactions", str(folder / "old.csv"), "--items", str(folder / "items.csv")),
            *("--events", str(folder / "events"), "--out", str(folder / "build")),
        ]

    def choices(self, **changes: Any) -> Choices:
        build = self.folder / "build"
        source = Source(
            self.folder / "old.csv",
            self.folder / "items.csv",
            "item",
            events=self.folder / "events",
        )
        return replace(Choices(source, build / "refresh", build), **changes)

    def refresh(self, **changes: Any) -> dict[str, Any]:
        self.said.clear()
        return Refresh(self.choices(**changes), self.said.append).run()

    def ask(self, path: str, body: Any) -> tuple[Any, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        document = json.loads(response.read())
        assert response.status == 200, document
        return document, str(response.headers["X-Model-Version"])


def write_files(folder: Path) -> None:
    rows = [
        f"u{user},{item(user, step)},{at(user, step)}"
        for user in range(N_USERS)
        for step in range(N_OLD)
    ]
    (folder / "old.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]))
    items = [f"i{n},Thing {n}" for n in range(40)]
    (folder / "items.csv").write_text("\n".join(["item_id,title", *items]))
    (folder / "tiny.toml").write_text(RECIPE)


def send_events(shop: Shop) -> None:
    for user in range(N_USERS):
        steps = range(N_OLD, N_OLD + N_NEW)
        events = [
            {"user_id": f"u{user}", "item_id": item(user, step), "timestamp": at(user, step)}
            for step in steps
        ]
        shop.ask("/events", {"events": events})
    dislike = {"item_id": "i1", "type": "dislike", "timestamp": at(0, N_OLD)}
    shop.ask("/events", {"events": [{"user_id": one, **dislike} for one in ("u5", FORGOTTEN)]})


@pytest.fixture(scope="module")
def shop(store: EmbeddedStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    with connect(store.url) as client, pytest.MonkeyPatch.context() as patch:
        client.flushall()
        patch.setenv("LONGTAIL_REDIS_URL", str(store.url))
        patch.setenv("LONGTAIL_BUNDLES_DIR", str(folder / "bundles"))
        patch.setenv("LONGTAIL_ADMIN_TOKEN", TOKEN)
        write_files(folder)
        flags = ["--interactions", str(folder / "old.csv"), "--items", str(folder / "items.csv")]
        flags += ["--recipe", str(folder / "tiny.toml"), "--out", str(folder / "build")]
        assert longtail.main(["build", *flags, "--activate"]) == 0
        exploring = {"exposure_share": 1.0, "explore_share": 1.0, "explore_ranks": N_DRAWN}
        with listening(settings_for(store.url, folder, **exploring)) as running:
            shop = Shop(folder, f"http://127.0.0.1:{running.port}", running.port)
            send_events(shop)
            archive = ["events", "archive", "--once", "--out", str(folder / "events")]
            assert longtail.main(archive) == 0
            # The archiver has not looked since, and the file has this person as well.
            forget(FORGOTTEN, client)
            yield shop


def active(store: EmbeddedStore) -> str | None:
    with connect(store.url) as client:
        return Registry(client).active()


def test_few_users_are_declined_before_anything_is_trained(shop: Shop, tmp_path: Path) -> None:
    left = tmp_path / "refresh" / "runs" / ".0001.0123cdef.gone"  # by a kill while it was removed
    (left / "events").mkdir(parents=True)
    report = shop.refresh(root=tmp_path / "refresh", holdout=0.01)
    assert not left.exists()
    assert report["outcome"] == "declined"
    assert "30 are needed to tell" in report["reason"]
    assert not any("recommender" in line for line in shop.said)
    assert report["version"] is None


def test_a_killed_refresh_goes_on_and_publishes_what_is_not_worse(
    shop: Shop, store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = active(store)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Refresh, "_publish", killed)
        with pytest.raises(KeyboardInterrupt):
            shop.refresh()
    assert any(line.startswith("recommender: done") for line in shop.said)
    key = PrivateKey.make(tmp_path / "release.key")
    report = shop.refresh(key=tmp_path / "release.key")
    assert "refresh 1: going on with it" in shop.said
    published = shop.folder / "bundles" / report["version"]
    Bundle.open(published, trust=Trust((key.public,), is_required=True))
    for stage in ("refreshed_data", "recommender", "comparison", "refit"):
        assert f"{stage}: unchanged" in shop.said
    assert (report["number"], report["outcome"]) == (1, "published")
    assert report["comparison"]["all"]["word"] in {"better", "not worse"}
    assert report["training"]["start"] == f"the weights of {before}"
    assert active(store) == before == report["running"]
    check_report(shop, report)
    check_bundle(shop, report["version"])


def check_report(shop: Shop, report: dict[str, Any]) -> None:
    folder = shop.folder / "build" / "refresh"
    assert json.loads((folder / "runs" / "0001" / "report.json").read_text()) == report
    page = (folder / "runs" / "0001" / "report.md").read_text()
    assert page.startswith("# Refresh 1: published\n")
    assert report["comparison"]["all"]["reason"] in page
    data = report["data"]
    assert data["new_interactions"] == (N_USERS - 1) * N_NEW
    assert (data["items_added"], data["forgotten_users"]) == (4, 1)
    assert sorted(data["some_items_added"]) == ["i40", "i41", "i42", "i43"]
    assert data["drift"]["unknown_items"] == pytest.approx(
        sum(
            int(item(user, step)[1:]) >= 40
            for user in range(N_USERS)
            for step in range(N_OLD, N_OLD + N_NEW)
            if f"u{user}" != FORGOTTEN
        )
        / data["new_interactions"]
    )
    metrics = (folder / "refresh.prom").read_text()
    assert 'longtail_refresh_outcome{outcome="published"} 1' in metrics
    assert "longtail_refresh_items_added 4" in metrics
    # What the run read about people is gone with it.
    assert not (folder / "runs" / "0001" / "events").exists()


def check_bundle(shop: Shop, version: str) -> None:
    """It knows everything but who was forgotten."""
    bundle = Bundle.open(shop.folder / "bundles" / version)
    histories = dict(bundle.users())
    assert FORGOTTEN not in histories
    assert len(histories) == N_USERS - 1
    everything = dict(bundle.all_interactions())
    [(disliked, _)] = everything["u5"].negative()
    assert bundle.item_ids.id_of(disliked) == "i1"
    assert FORGOTTEN not in everything
    assert bundle.manifest.n_items == 44
    newest = [bundle.item_ids.id_of(int(one)) for one in histories["u3"].items]
    assert newest == [item(3, step) for step in range(N_OLD + N_NEW)]


def test_a_worse_model_is_not_published(shop: Shop, store: EmbeddedStore) -> None:
    """Random weights and an epoch, where the running one has six."""
    elsewhere = shop.folder / "elsewhere"
    report = shop.refresh(root=elsewhere / "refresh", built=elsewhere, epochs=1)
    assert (report["outcome"], report["version"]) == ("declined", None)
    assert report["comparison"]["known"]["word"] == "worse"
    assert report["training"]["start"].startswith("random weights")
    assert "publish" not in report["steps"]


def test_one_that_was_stopped_during_its_canary_goes_on_with_the_same(
    shop: Shop, store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"service": service_of(shop.url, TOKEN), "canary_percent": 50, "canary_limit_s": 1}

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    def away(*_: object) -> None:
        raise ServiceAway("http://shop: Connection reset by peer")

    for stop, error, said in (
        (killed, KeyboardInterrupt, None),
        (away, ServiceAway, "its trial goes on with the next `longtail refresh`"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(Trial, "await_verdict", stop)
            with pytest.raises(error, match=said):
                shop.refresh(**wanted)
    report = shop.refresh(**wanted)
    assert f"refresh {report['number']}: going on with it" in shop.said
    assert not any(line.startswith("recommender") for line in shop.said)
    assert report["steps"]["canary"]["word"] == "undecided"
    with connect(store.url) as client:
        audit = [entry.what for entry in Registry(client).deployment().audit]
    version = report["version"]
    assert audit[:2] == [f"end the canary {version}", f"canary {version} at 50 %"]
    assert audit.count(audit[1]) == 1


def test_it_is_repeated_at_its_time_and_sooner_after_an_error(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            raise KeyboardInterrupt

    choices = shop.choices(root=tmp_path / "refresh", holdout=0.01)
    with pytest.raises(KeyboardInterrupt):
        refresh(choices, every_s=3_600, log=lambda _: None, sleep=sleep)
    assert all(3_000 < seconds <= 3_600 for seconds in waits)
    assert len([*(tmp_path / "refresh" / "runs").iterdir()]) == 2
    waits.clear()
    away = replace(choices, source=replace(choices.source, events=tmp_path / "nothing"))
    with pytest.raises(KeyboardInterrupt):
        refresh(away, every_s=3_600, log=lambda _: None, sleep=sleep)
    assert waits == [300, 300]
    assert "holds no archived events" in capsys.readouterr().err
    # What couldn't begin leaves no refresh that would go on with an old archive.
    assert len([*(tmp_path / "refresh" / "runs").iterdir()]) == 2


def test_a_service_tries_it_and_it_answers_in_the_end(shop: Shop, store: EmbeddedStore) -> None:
    before = active(store)
    at_service = [*shop.files, "--url", shop.url]
    trials = ["--shadow", "1s", "--canary", "50", "--canary-limit", "1s", "--promote"]
    assert longtail.main(["refresh", *at_service, *trials]) == 0
    report = newest_report(shop)
    assert report["steps"]["shadow"]["reason"] == "no requests came meanwhile"
    assert report["outcome"] == "published"
    assert "; canary undecided: no verdict after 1 s" in report["reason"]
    assert active(store) == before
    assert longtail.main(["refresh", *at_service, "--promote"]) == 0
    report = newest_report(shop)
    assert (report["outcome"], report["version"]) == ("promoted", active(store))
    answer, version = shop.ask("/recommend", {"user_id": "u3", "exclude_seen": False})
    assert version == report["version"] != before
    assert answer["served_by"] == "model"


def newest_report(shop: Shop) -> dict[str, Any]:
    *_, folder = sorted((shop.folder / "build" / "refresh" / "runs").iterdir())
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


def test_a_trial_without_a_service_is_rejected_at_once(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert longtail.main(["refresh", *shop.files, "--canary", "5"]) == 1
    assert capsys.readouterr().err == (
        "longtail refresh: --canary needs a running service: give its --url\n"
    )


def test_where_bundles_have_to_be_signed_a_refresh_needs_the_key_before_it_trains(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = PrivateKey.make(tmp_path / "release.key")
    monkeypatch.setenv(KEYS_SETTING, str(key.public))
    monkeypatch.setenv(POLICY_SETTING, "required")
    assert longtail.main(["refresh", *shop.files]) == 1
    assert "can't be published; give --key FILE" in capsys.readouterr().err


def test_another_name_is_refreshed_by_itself(shop: Shop, store: EmbeddedStore) -> None:
    with pytest.raises(InputError, match="no version is active under the name 'films'"):
        shop.refresh(model="films", root=folder_of(shop.folder / "build", "films"))
    answering = active(store)
    before = min(folder.name for folder in (shop.folder / "bundles").iterdir())
    with connect(store.url) as client:
        Registry(client, model="films").activate(before)
    flags = [*shop.files, "--model", "films", "--epochs", "1", "--margin", "0.9", "--promote"]
    assert longtail.main(["refresh", *flags, "--url", shop.url]) == 0
    folder = shop.folder / "build" / "refresh-films"
    report = json.loads((folder / "runs" / "0001" / "report.json").read_text())
    assert (report["model"], report["outcome"]) == ("films", "promoted")
    with connect(store.url) as client:
        assert Registry(client, model="films").active() == report["version"] != before
    assert active(store) == answering
    page = (folder / "runs" / "0001" / "report.md").read_text()
    assert f"The running version under the name films was {before}" in page
    metrics = (folder / "refresh.prom").read_text()
    assert 'longtail_refresh_outcome{outcome="promoted",name="films"} 1' in metrics
    assert 'longtail_refresh_items_added{name="films"} ' in metrics


def test_what_people_clicked_of_drawn_answers_decides(shop: Shop, store: EmbeddedStore) -> None:
    """They click what comes next on their circle, wherever it stands."""
    running = str(active(store))
    if Bundle.open(shop.folder / "bundles" / running).manifest.n_items < 44:
        # What it lacks can't be drawn, so that drawn answers could not tell.
        running = shop.refresh(margin=0.9, promote=True)["version"]
    n_answers = 0
    for _ in range(12):
        for user in range(N_USERS):
            near = {item(user, N_OLD + N_NEW + step) for step in range(6)}
            answer, _version = shop.ask("/recommend", {"user_id": f"u{user}"})
            n_answers += "exploration" in answer
            shown = [one["item_id"] for one in answer["items"][:N_DRAWN]]
            follows = {"user_id": f"u{user}", "request_id": answer["request_id"]}
            clicks = [{**follows, "item_id": one} for one in shown if one in near]
            if clicks:
                shop.ask("/events", {"events": clicks[:1]})
    exposures = shop.folder / "exposures"
    with connect(store.url) as client:
        wait_for(lambda: len(logged(client)) >= n_answers)
    archive = ["events", "archive", "--once", "--out", str(shop.folder / "events")]
    assert longtail.main([*archive, "--exposures", str(exposures)]) == 0
    # Of these the newest part alone counts: enough of them for any draw.
    report = shop.refresh(exposures=exposures, holdout=0.4)
    drawn = report["comparison"]["drawn"]
    assert drawn["why_not"] is None
    assert drawn["places"] == N_DRAWN * drawn["answers"] > 500
    assert report["comparison"]["evidence"] == "drawn"
    judgement = drawn["judgement"]
    assert (report["outcome"] == "published") == (judgement["word"] in {"better", "not worse"})
    assert judgement["reason"] in report["reason"]
    folder = shop.folder / "build" / "refresh"
    page = (folder / "runs" / f"{report['number']:04d}" / "report.md").read_text()
    assert "Decided by **answers drawn at random**" in page
    assert 'longtail_refresh_evidence{by="drawn"} 1' in (folder / "refresh.prom").read_text()
    # What the run read about people is gone with it.
    assert not (folder / "runs" / f"{report['number']:04d}" / "drawn").exists()
    # An archive that isn't there is no reason to decide by less.
    with pytest.raises(InputError, match="holds no archived exposures"):
        shop.refresh(exposures=shop.folder / "nothing")
