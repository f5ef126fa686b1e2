"""An encoder tuned on behaviour, from a recipe to a bundle, a fresh item and a grid."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import longtail
from model_store import keys
from model_store.bundle import Bundle
from model_store.codecs import decode_vector
from model_store.embedded import running_store
from model_store.errors import ConfigError
from model_store.store import connect
from offline.encoding.sentence_encoder import SentenceEncoder
from offline.inputs import find_source
from offline.recipe import read_recipe
from offline.stages.behaviour import BehaviourArtifact, BehaviourStage
from offline.stages.data import DataStage
from offline.stages.knowledge import KnowledgeStage
from offline.stages.stage import run_stage
from tests.end_to_end.build_output import without_warnings
from tests.offline.behaviour.world import make_encoder, write_data

pytestmark = pytest.mark.slow

RECIPE = """
description = "tiny"
knowledge = {{ model = "none" }}
encoding = {{ encoder = "{encoder}" }}
recommender = {{ embedding_size = 16, max_length = 8, layers = 1 }}
training = {{ epochs = 2 }}

[behaviour]
stages = ["ft1"]
layers = "all"
epochs = 2
batch_size = 16
learning_rate = 2e-3
"""
GRID = """
description = "A small grid"
reference = "vanilla"
seeds = [0]
data = [{{ name = "made" }}]

[[entries]]
name = "vanilla"
recipe = "{recipe}"
changes.behaviour.stages = []

[[entries]]
name = "tuned"
recipe = "{recipe}"

[[entries]]
name = "tuned, longer"
recipe = "{recipe}"
changes.training.epochs = 3

[[entries]]
name = "tuned, other batches of texts"
recipe = "{recipe}"
changes.encoding.batch_size = 8

[[entries]]
name = "tuned with another seed"
recipe = "{recipe}"
changes.behaviour.seed = 1
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("behaviour")
    encoder = make_encoder(root / "encoder", layers=1)
    (root / "tiny.toml").write_text(RECIPE.format(encoder=encoder))
    write_data(root / "data", 0)
    return root


def build(root: Path) -> int:
    choices = ["--recipe", str(root / "tiny.toml"), "--out", str(root / "out")]
    return longtail.main(["build", "--interactions", str(root / "data"), *choices])


def test_a_tuned_build_is_of_one_space(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LONGTAIL_BUNDLES_DIR", str(root / "bundles"))
    monkeypatch.setenv("LONGTAIL_STORE_DIR", str(root / "store"))
    assert build(root) == 0
    record = json.loads((root / "out" / "behaviour" / "record.json").read_text())
    assert [epoch["number"] for epoch in record["ft1"]["epochs"]] == [0, 1, 2]
    assert record["ft1"]["epochs"][1]["loss"] > record["ft1"]["epochs"][2]["loss"]

    bundle = Bundle.open(root / "out" / "bundle")
    tuned = SentenceEncoder(str(root / "out" / "behaviour" / "ft1"), root, "cpu")
    vanilla = SentenceEncoder(str(root / "encoder"), root, "cpu")
    first = ["Title: " + str(bundle.attributes.row(1)["title"])]
    assert np.abs(bundle.knowledge_vectors[1] - tuned.encode(first)[0]).max() < 1e-5
    assert np.abs(bundle.knowledge_vectors[1] - vanilla.encode(first)[0]).max() > 1e-2
    assert bundle.manifest.encoder is not None
    assert ", tuned " in bundle.manifest.encoder.name

    new = root / "new.csv"
    new.write_text("item_id,title\nbrand new,theme0a theme3b\n")
    assert longtail.main(["publish", "--bundle", str(bundle.folder), "--activate"]) == 0
    assert longtail.main(["publish", "--fresh-items", str(new)]) == 0
    with running_store(None) as url:
        blob = connect(url).hget(keys.vectors_key(bundle.manifest.version), "brand new")
    fresh = decode_vector(blob, 32)  # type: ignore[arg-type]
    expected = tuned.encode(["Title: theme0a theme3b"])[0]
    assert np.abs(fresh - expected).max() < 1e-3

    capsys.readouterr()
    assert build(root) == 0
    said = without_warnings(capsys.readouterr().out.splitlines())
    assert "behaviour: unchanged" in said
    assert all("unchanged" in line for line in said), said


def test_an_encoder_starts_from_a_folder_that_is_part_of_the_fingerprint(
    root: Path, tmp_path: Path
) -> None:
    start = make_encoder(tmp_path / "pretrained", seed=5)
    source = find_source(str(root / "data"), None, None)
    recipe = read_recipe(str(root / "tiny.toml"))
    lines: list[str] = []

    def tune(start: Path) -> BehaviourArtifact:
        tuning = recipe.with_changes(behaviour={"start": str(start), "epochs": 1}).behaviour
        data = run_stage(DataStage(source, "leave_one_out", lines.append), tmp_path, lines.append)
        knowledge = run_stage(KnowledgeStage(data, recipe.knowledge), tmp_path, lines.append)
        name, text = recipe.encoding.encoder, recipe.encoding.text
        stage = BehaviourStage(data, knowledge, tuning, name, text)
        return run_stage(stage, tmp_path, lines.append)

    first = tune(start)
    assert first == tune(start)
    assert lines[-1] == "behaviour: unchanged"
    make_encoder(start, seed=6)
    assert tune(start) != first
    with pytest.raises(ConfigError, match=f"^start = '{tmp_path}': no encoder there"):
        tune(tmp_path)


def test_a_grid_tunes_once_for_all_cells(root: Path, tmp_path: Path) -> None:
    grid = tmp_path / "small.toml"
    grid.write_text(GRID.format(recipe=root / "tiny.toml"))
    command = ["benchmark", str(grid), "--data", f"made={root / 'data'}"]
    command += ["--out", str(tmp_path / "out"), "--results", str(tmp_path / "results")]
    assert longtail.main(command) == 0
    tuned = sorted(tmp_path.glob("out/made/*/behaviour/ft1/model.safetensors"))
    assert len(tuned) == 2  # one for each seed of the tuning, none for vanilla
    times = [path.stat().st_mtime_ns for path in tuned]
    assert longtail.main(command) == 0
    assert [path.stat().st_mtime_ns for path in tuned] == times
    vectors = {path.read_bytes() for path in tmp_path.glob("out/made/*/encoding/*.npy")}
    assert len(vectors) >= 3
