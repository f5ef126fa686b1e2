"""A grid of texts, with models of some thousand weights."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from model_store.errors import ConfigError
from offline.benchmark.alignment_grid import AlignmentGrid, Texts
from offline.benchmark.command import benchmark
from offline.benchmark.grid_kinds import open_grid
from offline.cache import CACHE_VARIABLE
from tests.offline.alignment.world import make_models

RECIPE = """
description = "tiny"
[knowledge]
model = "{models}/llm"
max_new_tokens = 8
retries = 0
[encoding]
encoder = "{models}/encoder"
[recommender]
embedding_size = 8
max_length = 6
layers = 1
[training]
epochs = 1
"""
GRID = """
kind = "alignment"
description = "Texts of a few films"
seeds = [4]
recipe = "{folder}/tiny.toml"
backbones = ["sasrec"]
rows = [
    "ids", "not aligned", "the best of K texts", "a random one of K texts", "aligned",
    "reference texts",
]
reference_texts = "encyclopedia"
shown_items = ["i3"]
[[data]]
name = "films"
[alignment]
steps = 1
modules = ["q_proj"]
rank = 2
texts_per_example = 2
max_new_tokens = 8
pool_items = 5
examples_per_item = 4
"""
TITLES = ("toy war", "quiet story", "comedy film", "drama people", "kind person", "romance")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("films")
    make_models(place)
    (place / "tiny.toml").write_text(RECIPE.format(models=place))
    (place / "texts.toml").write_text(GRID.format(folder=place))
    rows = [f"u{u},i{(u + n) % 6 + 1},{n}" for u in range(8) for n in range(5)]
    films, reference = place / "films", place / "encyclopedia"
    films.mkdir()
    (films / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]))
    described = [f"i{n},{title},{1990 + n}" for n, title in enumerate(TITLES, start=1)]
    (films / "items.csv").write_text("\n".join(["item_id,title,year", *described]))
    reference.mkdir()
    pl.DataFrame(
        {"item_id": ["7", "8"], "title": ["Comedy Film", "War"], "year": [1993, 1990]}
    ).write_parquet(reference / "items.parquet")
    pl.DataFrame({"item_id": ["7", "8"], "plot": ["Good fun.", "War."]}).write_parquet(
        reference / "items_reference.parquet"
    )
    return place


@pytest.mark.slow
def test_rows_of_texts_are_trained_and_shown(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(place / "cache"))
    places = {"films": str(place / "films"), "encyclopedia": str(place / "encyclopedia")}
    run = [str(place / "texts.toml"), places, place / "out", place / "results"]
    benchmark(*run)
    document = json.loads((place / "results" / "texts.json").read_text())
    films = document["data"]["films"]
    assert [*films["entries"]] == [
        "popularity",
        "markov",
        "SASRec, ids",
        "SASRec, not aligned",
        "SASRec, the best of K texts",
        "SASRec, a random one of K texts",
        "SASRec, aligned",
        "SASRec, reference texts",
    ]
    best = films["entries"]["SASRec, the best of K texts"]["test"]
    assert (best["seeds"], best["gain"]["against"]) == (1, "SASRec, not aligned")
    assert films["described_items"] == pytest.approx(1 / 6, abs=1e-6)
    shown = films["shown"]["comedy film (i3)"]
    assert "aligned" in shown
    assert "reference texts" not in shown  # they are not ours to publish
    assert {*films["rewards"]} == {"4"}
    assert films["rewards"]["4"]["items"] == 5
    shares = [films["rewards"]["4"][f"share_{name}"] for name in ("text", "example", "rest")]
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    assert [(row["llm"], row["recommender"]) for row in films["resets"]] == [
        (llm, recommender) for recommender in ("before", "aligned") for llm in ("before", "aligned")
    ]
    assert films["resets"][0]["test"]["gain"] == 0
    page = (place / "results" / "texts.md").read_text()
    assert "## Resets" in page
    assert "## Rewards of the pool's texts" in page
    assert "Plot: Good fun." not in page
    capsys.readouterr()
    benchmark(*run)
    assert "running" not in capsys.readouterr().out  # nothing is trained twice


def test_without_their_folder_the_row_of_reference_texts_is_left_out(place: Path) -> None:
    grid = open_grid(str(place / "texts.toml"))
    assert isinstance(grid, AlignmentGrid)
    rows = [entry.name for entry in grid.table(with_reference=False).entries]
    assert len(rows) == 5
    assert "SASRec, reference texts" not in rows


def test_rows_are_learning_curves_where_shares_are_given(place: Path) -> None:
    grid = open_grid(str(place / "texts.toml"))
    assert isinstance(grid, AlignmentGrid)
    shared = grid.model_copy(update={"shares": (0.25, 1.0)})
    table = shared.table(with_reference=True)
    table.check()
    assert table.curves_on(table.data[0])["SASRec, aligned"] == {
        0.25: "SASRec, aligned, 0.25 of the users",
        1.0: "SASRec, aligned",
    }
    few = next(e for e in table.entries if e.name == "SASRec, ids, 0.25 of the users")
    assert few.against == "SASRec, not aligned, 0.25 of the users"
    assert table.recipe_of(table.data[0], few, seed=4).training.share == 0.25
    assert shared.row_of(few.name) == ("sasrec", Texts.NONE)
    # Cells of all users are those of a grid without shares.
    assert [e.model_copy(update={"curve": ""}) for e in table.entries[6:]] == [
        *grid.table(with_reference=True).entries
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": ["ids", "titles only"]}, "not aligned"),
        ({"reference_texts": ""}, "reference_texts"),
        ({"alignment": {}}, "alignment.steps"),
    ],
)
def test_a_grid_that_cannot_be_compared_is_rejected(
    change: dict[str, object], message: str
) -> None:
    document = {
        "kind": "alignment",
        "description": "texts",
        "data": [{"name": "films"}],
        "rows": [*Texts],
        "alignment": {"steps": 1},
        "reference_texts": "encyclopedia",
    }
    with pytest.raises(ValueError, match=message):
        AlignmentGrid.model_validate(document | change)


def test_a_shown_item_that_is_not_in_the_catalogue_is_named(place: Path, tmp_path: Path) -> None:
    grid, places = place / "wrong.toml", {"films": str(place / "films")}
    grid.write_text((place / "texts.toml").read_text().replace('["i3"]', '["i99"]'))
    with pytest.raises(ConfigError, match="i99"):
        benchmark(str(grid), places, tmp_path / "out", tmp_path / "results")
    assert not [*(tmp_path / "out").rglob("recommender")]  # found before anything was trained
