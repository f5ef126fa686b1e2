"""A direct model is built, published, swapped with a sequential one and served like it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import longtail
from model_store.bundle import Bundle
from offline.models import load_recommender
from offline.recommender.recommender import rank_unseen
from tests.app.running import Running, serving
from tests.end_to_end.conftest import Workshop
from tests.end_to_end.odd_data import N_USERS, user_name

pytestmark = pytest.mark.slow

RECIPE = """
description = "a tiny direct model, for tests"
kind = "direct"

[knowledge]
model = "none"

[encoding]
encoder = "{encoder}"

[direct]
embedding_size = 16
epochs = 4
batch_size = 64
"""


@pytest.fixture(scope="module")
def direct(workshop: Workshop) -> Path:
    recipe = workshop.root / "direct.toml"
    recipe.write_text(RECIPE.format(encoder=workshop.inputs / "encoder"))
    assert workshop.build("direct", "--recipe", str(recipe), "--seed", "3") == 0
    return workshop.root / "direct"


@pytest.fixture(scope="module")
def service(built: Path, workshop: Workshop) -> Iterator[Running]:
    with serving(workshop.root, built / "bundle") as running:
        yield running


def test_it_is_swapped_with_a_sequential_one_and_back(
    service: Running, direct: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = Bundle.open(direct / "bundle")
    assert (bundle.manifest.kind, bundle.manifest.model.name) == ("direct", "lightgcn")
    assert bundle.manifest.configuration["recipe"]["direct"]["seed"] == 3
    assert longtail.main(["publish", "--bundle", str(direct / "bundle")]) == 0
    versions = [one["version"] for one in service.ask("GET", "/admin/models")[1]["models"]]
    before = service.ask("GET", "/health/ready")[1]["version"]
    [version] = [one for one in versions if one != before]
    request = {"user_id": user_name(1), "k": 5}
    assert service.ask("POST", "/recommend", request)[1]["served_by"] == "model"
    assert service.ask("POST", f"/admin/models/{version}/activate", {})[0] == 200

    known = service.ask("POST", "/recommend", request)[1]
    assert (known["served_by"], known["model_version"]) == ("direct", version)
    assert len(known["items"]) == 5
    history = [*bundle.item_ids.ids[3:8]]
    stateless = {"history": history, "k": 5, "explain": True}
    folded = service.ask("POST", "/recommend", stateless)[1]
    model = load_recommender(direct / "recommender")
    indices, _ = bundle.item_ids.indices(history)
    wanted, scores = rank_unseen(model.score, [indices], 5)
    assert [item["item_id"] for item in folded["items"]] == [
        bundle.item_ids.id_of(int(item)) for item in wanted[0]
    ]
    assert [item["score"] for item in folded["items"]] == pytest.approx(scores[0], abs=1e-4)
    explained = folded["items"][0]["explanation"]
    parts = [reason["contribution"] for reason in explained["because"]]
    assert sum(parts) + explained["remainder"] == pytest.approx(scores[0][0], abs=1e-4)

    capsys.readouterr()
    url = f"http://127.0.0.1:{service.port}"
    assert longtail.main(["evaluate", "--url", url, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["equal"]
    assert figures["cases"] == N_USERS

    assert service.ask("POST", f"/admin/models/{before}/activate", {})[0] == 200
    assert service.ask("POST", "/recommend", request)[1]["served_by"] == "model"


def test_a_refit_takes_the_penalty_that_validation_chose(workshop: Workshop, direct: Path) -> None:
    recipe = str(workshop.root / "direct.toml")
    assert workshop.build("direct", "--recipe", recipe, "--seed", "3", "--refit") == 0
    chosen, again = (
        json.loads((direct / stage / "config.json").read_text())
        for stage in ("recommender", "refit")
    )
    assert again["fold_in_penalty"] == chosen["fold_in_penalty"]
    assert len(again["record"]["epochs"]) == chosen["record"]["best_epoch"]
