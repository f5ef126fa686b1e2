"""Places that bundles are pushed to, and bundles."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_store.bundle import Bundle
from tests.model_store.exchange.hub_server import TOKEN, Hub, hub_serving
from tests.synthetic_bundle import make_bundle, make_catalogue

REPOSITORY = "shop/recommender"
HUB = f"hf://{REPOSITORY}"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the server has none
    with hub_serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    return "mlflow:recommender"


@pytest.fixture(params=["hub", "folder", "registry"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The text of a place of each kind, with nothing there."""
    if request.param == "folder":
        return str(tmp_path / "exported")
    found = request.getfixturevalue(request.param)
    return HUB if isinstance(found, Hub) else str(found)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("made") / "1")


@pytest.fixture
def bundle(made: Bundle, tmp_path: Path) -> Bundle:
    return Bundle.open(Path(shutil.copytree(made.folder, tmp_path / "build" / "bundle")))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Another bundle, of the version made-2."""
    folder = tmp_path_factory.mktemp("other") / "2"
    return make_bundle(folder, version="made-2", catalogue=make_catalogue(seed=8))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
