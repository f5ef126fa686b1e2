"""`longtail align` as a person runs it, on models of some thousand weights."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import longtail
from model_store.errors import ConfigError
from offline.alignment.opening import is_aligned, open_writer
from offline.inputs import find_source
from offline.knowledge.language_model import Sampling
from offline.knowledge.prompt import read_template
from offline.learning import learn
from offline.recipe import read_recipe
from offline.stages.data import DataArtifact
from offline.stages.knowledge import KnowledgeArtifact
from offline.stages.stage import ArtifactT, Stage
from tests.offline.alignment.world import N_ITEMS, N_USERS, TITLES, make_models

RECIPE = """
description = "tiny models, for tests"

[knowledge]
model = "{folder}/llm"
max_new_tokens = 24
retries = 0

[encoding]
encoder = "{folder}/encoder"

[alignment]
steps = 2
mode = "synchronous"
examples_per_step = 2
texts_per_example = 2
max_new_tokens = 12
report_items = ["i3", "i1"]

[recommender]
embedding_size = 8
max_length = 6
layers = 1

[training]
epochs = 2
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_models(tmp_path_factory.mktemp("shop"))
    (folder / "tiny.toml").write_text(RECIPE.format(folder=folder))
    with (folder / "clicks.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user_id", "item_id", "timestamp"])
        for user in range(N_USERS):
            for step in range(8):
                rows.writerow([f"u{user}", f"i{(user + step) % N_ITEMS + 1}", 100 * user + step])
    with (folder / "items.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["item_id", "title"])
        for number in range(N_ITEMS):
            rows.writerow([f"i{number + 1}", f"{TITLES[number % len(TITLES)]} {number}"])
    return folder


def run(shop: Path, *flags: str) -> int:
    inputs = ["--interactions", str(shop / "clicks.csv"), "--items", str(shop / "items.csv")]
    choices = ["--recipe", str(shop / "tiny.toml"), "--out", str(shop / "out")]
    return longtail.main(["align", *inputs, *choices, *flags])


def test_align_describes_items_anew_and_a_build_goes_on_from_there(
    shop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGTAIL_CACHE_DIR", str(shop / "cache"))
    assert run(shop) == 0
    shown = capsys.readouterr().out
    assert f"alignment: {shop}/llm, 2 steps" in shown
    assert "item i3 before: " in shown
    assert str(shop / "out" / "alignment" / "report.json") in shown
    knowledge = KnowledgeArtifact.read(shop / "out" / "aligned_knowledge")
    assert knowledge is not None
    info = knowledge.info()
    assert info is not None
    assert info.source.aligned
    assert is_aligned(info.source.model)
    assert not (shop / "out" / "alignment" / "work").exists()

    assert run(shop) == 0
    assert "alignment: unchanged" in capsys.readouterr().out

    data = DataArtifact.read(shop / "out" / "data")
    assert data is not None
    recipe = read_recipe(str(shop / "tiny.toml"))
    source = find_source(str(shop / "clicks.csv"), str(shop / "items.csv"), None)
    pending = []

    def plan(stage: Stage[ArtifactT]) -> ArtifactT:
        if not stage.is_current(shop / "out"):
            pending.append(stage.name)
        return stage.planned(shop / "out")

    learned = learn(data, recipe, source.adapt(recipe.knowledge), plan)
    assert pending == ["encoding", "recommender"]
    assert Path(learned.encoder.name) == shop / "out" / "alignment" / "encoder"
    assert learned.knowledge.item_texts() == knowledge.item_texts()

    config = recipe.knowledge.model_copy(update={"model": info.source.model})
    writer = open_writer(config, shop / "cache")
    prompt = read_template(config.prompt).fill(knowledge.item_texts()[2], config.item_kind)
    sampling = Sampling(config.max_new_tokens, 0.0, config.repetition_penalty, config.seed)
    report = json.loads((shop / "out" / "alignment" / "report.json").read_bytes())
    assert writer.generate([prompt], sampling)[0].text == report["texts"]["i3"]["after"]
    elsewhere = shop / "another-cache"
    with pytest.raises(ConfigError, match=r"aligned .*: its weights are not in .*another-cache"):
        open_writer(config, elsewhere)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--steps", "0"], "alignment.steps = 0"),
        (["--steps", "-1"], "--steps -1: alignment.steps = -1"),
        (["--mode", "pool", "--recipe", "nonsense"], "recipe 'nonsense'"),
        (["--recipe", "default"], "recipe 'default': alignment.steps = 0"),
    ],
)
def test_what_a_person_gets_wrong_is_one_line(
    shop: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(shop, *flags) != 0
    assert message in capsys.readouterr().err


def test_what_cannot_be_aligned_is_said_before_anything_takes_long(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = shop / "own-texts.toml"
    recipe.write_text(
        (shop / "tiny.toml").read_text().replace("[encoding]", '[encoding]\ntext = "item"')
    )
    assert run(shop, "--recipe", str(recipe), "--out", str(shop / "other")) == 1
    assert "would not read what the LLM writes" in capsys.readouterr().err
    assert not (shop / "other" / "knowledge").exists()
