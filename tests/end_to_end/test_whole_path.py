from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import longtail
from model_store.bundle import Bundle
from offline.build import Build
from offline.inputs import find_source
from offline.recipe import Recipe, read_recipe
from offline.recommender.recommender import rank_unseen
from offline.recommender.sequential import SequenceRecommender
from tests.app.conftest import wait_for
from tests.app.running import Running, serving
from tests.end_to_end.build_output import without_warnings
from tests.end_to_end.conftest import DESCRIBED, MADE_ON, N_DESCRIBED, Workshop
from tests.end_to_end.odd_data import LONG_ID, N_ITEMS, N_USERS, item_name, user_name

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(built: Path, workshop: Workshop) -> Iterator[Running]:
    with serving(workshop.root, built / "bundle") as running:
        yield running


def test_the_bundle_names_its_inputs(built: Path) -> None:
    bundle = Bundle.open(built / "bundle")
    manifest = bundle.manifest
    assert (manifest.n_items, manifest.n_users) == (N_ITEMS, N_USERS)
    assert set(manifest.inputs) >= {"data", "encoding", "recommender", "export"}
    assert manifest.configuration["recipe"]["training"]["epochs"] == 25
    assert set(bundle.item_ids.ids) == {item_name(number) for number in range(N_ITEMS)}


def test_bad_rows_are_counted_and_named(built: Path) -> None:
    issues = json.loads((built / "data" / "issues.json").read_text())
    kinds = {issue["kind"]: issue["count"] for issue in issues}
    assert kinds["missing_user"] == 1
    assert any(count == 10 for count in kinds.values()), kinds  # the repeats
    assert any("line 11" in example for c in issues for example in c["examples"])


def test_the_model_learnt_what_was_planted(built: Path) -> None:
    report = json.loads((built / "evaluate" / "report.json").read_text())
    figures = {name: m["test"]["all"]["ndcg_at_10"] for name, m in report["models"].items()}
    assert figures["sasrec"] > 1.5 * figures["popularity"]


def test_a_second_build_changes_nothing(
    built: Path, workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (built / "bundle" / "manifest.json").read_bytes()
    assert workshop.build("out") == 0
    said = capsys.readouterr().out.splitlines()
    assert without_warnings(said)
    assert all("unchanged" in line for line in without_warnings(said)), said
    # Everybody walks in a circle, which nothing predicts better than the last item.
    assert said[-1].startswith("WARNING: sasrec is below markov on the test users: NDCG@10 0.")
    assert (built / "bundle" / "manifest.json").read_bytes() == before


def test_a_recipe_that_nobody_named_is_chosen_once_the_data_are_read(
    built: Path, workshop: Workshop
) -> None:
    shutil.copytree(built, workshop.root / "suited")
    asked: list[tuple[int, int]] = []
    lines: list[str] = []

    def suit(n_interactions: int, n_items: int) -> Recipe:
        asked.append((n_interactions, n_items))
        return read_recipe(str(workshop.recipe))

    source = find_source(str(workshop.interactions), str(workshop.items), None)
    other, root = read_recipe("ids"), workshop.root / "suited"
    Build(source, other, root, log=lines.append, suit=suit).run()
    facts = json.loads((built / "data" / "stage.json").read_text())["facts"]
    assert asked == [(facts["interactions"], N_ITEMS)]
    assert without_warnings(lines)
    assert all("unchanged" in line for line in without_warnings(lines)), lines


def test_an_unchanged_build_needs_no_heavy_library(built: Path, workshop: Workshop) -> None:
    script = (
        "import sys, longtail\n"
        "code = longtail.main(sys.argv[1:])\n"
        "heavy = {'torch', 'transformers', 'polars', 'scipy', 'redis', 'httpx', 'onnxruntime'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else code)"
    )
    arguments = ["build", "--interactions", str(workshop.interactions)]
    arguments += ["--items", str(workshop.items), "--recipe", str(workshop.recipe)]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments, "--out", str(built)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_every_odd_user_is_answered_by_the_model(service: Running) -> None:
    for number in range(N_USERS):
        request = {"user_id": user_name(number), "k": 10, "fields": ["title", "genres"]}
        status, answer = service.ask("POST", "/recommend", request)
        assert status == 200
        assert answer["served_by"] == "model"
        assert len(answer["items"]) == 10


def test_the_service_agrees_with_the_report(
    service: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"http://127.0.0.1:{service.port}"
    assert longtail.main(["evaluate", "--url", url, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["equal"]
    assert figures["cases"] == N_USERS
    assert figures["served"]["ndcg_at_10"] > 0


def test_answers_made_together_are_the_offline_models(service: Running, built: Path) -> None:
    """All at once, so that requests of many lengths share batches."""
    bundle = Bundle.open(built / "bundle")
    model = SequenceRecommender.load(built / "recommender")
    users = [(user_id, history.items) for user_id, history in bundle.users()]
    wanted, scores = rank_unseen(model.score, [items for _, items in users], 10)

    def ask(user_id: str) -> list[tuple[int | None, float]]:
        _, answer = service.ask("POST", "/recommend", {"user_id": user_id, "k": 10})
        return [(bundle.item_ids.index_of(i["item_id"]), i["score"]) for i in answer["items"]]

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(ask, [user_id for user_id, _ in users]))
    for answer, items, best in zip(answers, wanted.tolist(), scores.tolist(), strict=True):
        assert [item for item, _ in answer] == [item for item in items if item]
        assert [score for _, score in answer] == pytest.approx(best[: len(answer)], abs=1e-4)


def test_free_text_is_answered_by_cold_start(service: Running) -> None:
    status, answer = service.ask("POST", "/recommend", {"interests": "animation for children"})
    assert status == 200
    assert answer["served_by"] == "cold_start"
    assert len(answer["items"]) == 10


def test_what_was_written_about_an_item_comes_with_the_version(
    service: Running, built: Path, workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = Bundle.open(built / "bundle")
    item_ids = bundle.item_ids.ids[:N_DESCRIBED]
    request = {"user_id": user_name(0), "candidates": [*item_ids], "exclude_seen": False}
    _, answer = service.ask("POST", "/recommend", {**request, "fields": ["knowledge"]})
    assert len(answer["items"]) == N_DESCRIBED
    assert {item["fields"]["knowledge"] for item in answer["items"]} == {DESCRIBED}
    assert longtail.main(["knowledge", "show", item_ids[0]]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"text {DESCRIBED}" in said
    assert f"written {MADE_ON} by {workshop.inputs / 'llm'}, prompt v1, not aligned" in said
    assert said.count("near ") == 5


def test_similar_items_of_an_id_of_200_characters(service: Running) -> None:
    status, answer = service.ask("GET", f"/items/{LONG_ID}/similar?k=3")
    assert status == 200
    assert len(answer["items"]) == 3


def test_a_fresh_item_is_recommended_without_a_restart(
    service: Running, workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    new = workshop.root / "new.csv"
    new.write_text("item_id,title,genres,year\nbrand new,a quiet war story,war,2026\n")
    assert longtail.main(["publish", "--fresh-items", str(new)]) == 0
    assert "1 fresh items" in capsys.readouterr().out
    request = {"user_id": user_name(0), "candidates": ["brand new"], "fields": ["title", "genres"]}

    def is_answered() -> bool:
        _, answer = service.ask("POST", "/recommend", request)
        return bool(answer["items"])

    wait_for(is_answered)
    _, answer = service.ask("POST", "/recommend", request)
    assert answer["items"][0]["fields"] == {"title": "a quiet war story", "genres": ["war"]}


def test_the_report_is_shown_without_a_service(
    built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert longtail.main(["evaluate", "--bundle", str(built / "bundle")]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("sasrec", "markov", "popularity", "ndcg_at_10"))


def test_a_service_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert longtail.main(["evaluate", "--url", "http://127.0.0.1:1"]) == 1
    assert "http://127.0.0.1:1" in capsys.readouterr().err


class Another(BaseHTTPRequestHandler):
    """Some other service: the same page for every request."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>welcome</html>")


def test_an_address_of_another_service_is_named(
    built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "--bundle", str(built / "bundle"), "--url"]
    with ThreadingHTTPServer(("127.0.0.1", 0), Another) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert longtail.main([*command, f"http://127.0.0.1:{server.server_port}"]) == 1
        server.shutdown()
    assert "not a recommendation service; it answered '<html>" in capsys.readouterr().err
    assert longtail.main([*command, "http://[::"]) == 1
    # A URL that can't be taken apart may hold a password anywhere.
    assert "--url 'http://***': Invalid port" in capsys.readouterr().err


@dataclass(frozen=True)
class Refit:
    """A build that only has to train again, with another seed and on all data."""

    bundle: Path
    said: list[str]


@pytest.fixture(scope="module")
def refit(workshop: Workshop, built: Path) -> Refit:
    shutil.copytree(built, workshop.root / "refit")
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert workshop.build("refit", "--refit", "--seed", "5") == 0
    return Refit(workshop.root / "refit" / "bundle", said.getvalue().splitlines())


def test_a_refit_bundle_knows_the_held_out_and_is_not_evaluated(
    refit: Refit, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = Bundle.open(built / "bundle")
    assert Bundle.open(refit.bundle).popularity.sum() == chosen.popularity.sum() + 2 * N_USERS
    command = ["evaluate", "--bundle", str(refit.bundle), "--url", "http://127.0.0.1:1"]
    assert longtail.main(command) == 1
    assert "refit" in capsys.readouterr().err


def test_a_build_prints_its_cost_before_it_starts(refit: Refit) -> None:
    assert refit.said[:2] == ["data: unchanged", "expected:"]
    # Texts and vectors are there already, so training is all that there is to do.
    assert refit.said[2].startswith("  recommender: ")
    assert f"{N_ITEMS:,} items, at most 25 epochs of " in refit.said[2]
    assert "measured on" in refit.said[2]
    assert refit.said.index("recommender: running") > 2


def test_an_unusable_file_is_rejected_before_any_work(
    workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = workshop.root / "broken.csv"
    broken.write_text("user_id,item\n1,2\n")
    out = workshop.root / "broken"
    code = longtail.main(["build", "--interactions", str(broken), "--out", str(out)])
    assert code == 1
    error = capsys.readouterr().err.strip()
    assert "broken.csv" in error
    assert len(error.splitlines()) == 1
    assert not (out / "data").exists()


def test_data_that_nothing_can_be_held_out_of_are_rejected(
    workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = tmp_path / "few.csv"
    few.write_text("user_id,item_id,timestamp\na,x,1\na,y,2\nb,x,3\n")
    command = ["build", "--interactions", str(few), "--recipe", str(workshop.recipe)]
    assert longtail.main([*command, "--out", str(tmp_path / "out")]) == 1
    assert "no validation cases: nobody has" in capsys.readouterr().err


def test_a_flag_that_does_not_fit_is_named(
    workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert workshop.build("seeded", "--seed", "-1") == 1
    assert "--seed -1: training.seed = -1" in capsys.readouterr().err
    command = ["build", "--interactions", str(workshop.interactions), "--recipe", "titles"]
    out = str(workshop.root / "seeded")
    assert longtail.main([*command, "--generate", "--out", out]) == 1
    assert "--generate: knowledge" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("recipe", "named"),
    [
        ("no-such", "no-such"),
        ('description = "x"\n[training]\nepochs = 0\n', "training.epochs"),
        ('description = "x"\n[recommender]\nlayerz = 2\n', "recommender.layerz"),
        ("description = ", "not TOML"),
        ("description = '\xe9'", "not TOML"),
        ('description = "x"\n[encoding]\nshuffled = true\n', "encoding.shuffled = true"),
    ],
)
def test_a_wrong_recipe_is_rejected_with_its_key(
    workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str], recipe: str, named: str
) -> None:
    name = recipe
    if "\n" in recipe or "=" in recipe:
        path = tmp_path / "mine.toml"
        path.write_text(recipe, encoding="latin-1")
        name = str(path)
    command = ["build", "--interactions", str(workshop.interactions), "--recipe", name]
    assert longtail.main([*command, "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err.strip()
    assert named in error
    assert len(error.splitlines()) == 1
