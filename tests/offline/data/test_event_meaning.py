"""Rows of files by a recipe's `[events]`: positive ones train, all of them are kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import longtail
from model_store.errors import InputError
from model_store.event_rules import EventRules
from offline.data.config import DataConfig
from offline.data.dataset import Dataset, read_dataset
from offline.data.issues import IssueKind
from offline.data.selection import select
from offline.data.split import Split, leave_one_out
from offline.recommender.recommender import TrainingData

RULES = EventRules(weights={"purchase": 3}, context=("view",), positive_from=4, negative_to=2)
ROWS = """user_id,item_id,timestamp,event_type,rating
u,a,1,view,
u,a,2,purchase,
u,b,3,dislike,
u,c,4,rating,5
u,d,5,rating,3
u,e,6,rating,1
u,a,7,,
v,b,1,dislike,
v,f,2,view,
w,c,1,purchase,
w,a,2,rating,4
w,g,3,dislike,
"""


def dataset_of(folder: Path, catalogue: str | None = None) -> Dataset:
    (folder / "events.csv").write_text(ROWS)
    if catalogue is None:
        return read_dataset(folder / "events.csv")
    lines = [f"{item},Thing {item}" for item in catalogue]
    (folder / "items.csv").write_text("\n".join(["item_id,title", *lines]))
    return read_dataset(folder / "events.csv", folder / "items.csv")


def rows_of(dataset: Dataset) -> dict[str, str]:
    interactions = dataset.interactions
    return {
        user_id: "".join(interactions.item_ids.id_of(int(i)) for i in interactions.history(user))
        for user, user_id in enumerate(interactions.user_ids)
    }


def test_positive_rows_are_the_interactions_and_all_are_kept(tmp_path: Path) -> None:
    chosen = select(dataset_of(tmp_path, "abcdefg"), DataConfig(), RULES)
    # The recipe names no negative types, so `dislike` is one by default; v has nothing positive.
    assert rows_of(chosen) == {"u": "aca", "w": "ca"}
    assert chosen.interactions.weights is not None
    assert chosen.interactions.weights.tolist() == [3, 1, 1, 3, 1]
    typed = chosen.typed
    assert typed is not None
    assert typed.interactions.user_ids == ["u", "v", "w"]
    assert len(typed.interactions) == 12
    assert typed.counts() == {
        "positive": {"purchase": 2, "rating": 2, "interaction": 1},
        "negative": {"dislike": 3, "rating": 1},
        "context": {"view": 2, "rating": 1},
    }
    assert chosen.issues.count(IssueKind.NEGATIVE) == 4
    assert chosen.issues.count(IssueKind.CONTEXT_ONLY) == 3


def test_items_that_only_others_name_are_left_out(tmp_path: Path) -> None:
    chosen = select(dataset_of(tmp_path), DataConfig(), RULES)
    assert chosen.interactions.item_ids.ids == ("a", "c")
    assert chosen.attributes.n_items == 2
    typed = chosen.typed
    assert typed is not None
    assert typed.interactions.item_ids.ids == ("a", "c")
    assert typed.counts()["negative"] == {}
    # With a catalogue they stay: they are excluded from answers to those who dislike them.
    of_catalogue = select(dataset_of(tmp_path, "abcdefg"), DataConfig(catalogue_only=True), RULES)
    assert of_catalogue.interactions.n_items == 7


def test_without_rules_all_but_dislikes_are_alike(tmp_path: Path) -> None:
    chosen = select(dataset_of(tmp_path, "abcdefg"), DataConfig())
    assert rows_of(chosen) == {"u": "aacdea", "v": "f", "w": "ca"}
    assert chosen.interactions.weights is None
    plain = tmp_path / "plain.csv"
    plain.write_text("user_id,item_id,timestamp,rating\nu,a,1,1\nu,b,2,5\nu,a,3,2\n")
    read = read_dataset(plain)
    same = select(read, DataConfig())
    assert same.typed is None
    assert same.interactions.weights is None
    np.testing.assert_array_equal(same.interactions.items, read.interactions.items)


def test_a_purchase_that_repeats_a_view_counts_as_one(tmp_path: Path) -> None:
    rules = EventRules(weights={"purchase": 3, "view": 2})
    read = dataset_of(tmp_path, "abcdefg")
    first = select(read, DataConfig(repeats="first"), rules).interactions
    assert first.weights is not None
    assert first.items[first.offsets[0] : first.offsets[1]].tolist() == [1, 3, 4, 5]
    assert first.weights[first.offsets[0] : first.offsets[1]].tolist() == [3, 1, 1, 1]
    runs = select(read, DataConfig(repeats="runs"), rules).interactions
    assert runs.weights is not None
    assert runs.items[runs.offsets[0] : runs.offsets[1]].tolist() == [1, 3, 4, 5, 1]
    assert runs.weights[runs.offsets[0] : runs.offsets[1]].tolist() == [3, 1, 1, 1, 1]


def test_nothing_positive_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "ones.csv").write_text("user_id,item_id,timestamp,rating\nu,a,1,1\nu,b,2,3\n")
    with pytest.raises(InputError, match=r"none of the 2 .* \(1 are negative, 1 context only\)"):
        select(read_dataset(tmp_path / "ones.csv"), DataConfig(), RULES)


def test_what_was_chosen_comes_back(tmp_path: Path) -> None:
    chosen = select(dataset_of(tmp_path, "abcdefg"), DataConfig(), RULES)
    chosen.save(tmp_path / "saved")
    loaded = Dataset.load(tmp_path / "saved")
    assert loaded.typed is not None
    assert chosen.typed is not None
    assert loaded.typed.counts() == chosen.typed.counts()
    assert loaded.interactions.weights is not None
    assert loaded.interactions.weights.tolist() == [3, 1, 1, 3, 1]
    # A later run without rules leaves nothing of them.
    select(read_dataset(tmp_path / "events.csv"), DataConfig(event_types=("view",))).save(
        tmp_path / "saved"
    )
    assert Dataset.load(tmp_path / "saved").interactions.weights is None


def test_weights_go_with_the_items_that_train(tmp_path: Path) -> None:
    interactions = select(dataset_of(tmp_path, "abcdefg"), DataConfig(), RULES).interactions
    split = leave_one_out(interactions)
    split.save(tmp_path / "split")
    data = TrainingData.of_split(Split.load(tmp_path / "split"), 7)
    assert data.weights is not None
    assert [row.tolist() for row in data.weights] == [[3], [3, 1]]
    assert [len(row) for row in data.sequences] == [1, 2]
    everything = TrainingData.of_everything(interactions)
    assert everything.weights is not None
    assert [row.tolist() for row in everything.weights] == [[3, 1, 1], [3, 1]]


def test_inspect_counts_by_what_a_recipe_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset_of(tmp_path, "abcdefg")
    recipe = tmp_path / "shop.toml"
    recipe.write_text(
        'description = "a shop"\n[events]\nweights = {purchase = 3}\ncontext = ["view"]\n'
        "positive_from = 4\nnegative_to = 2\n"
    )

    def inspected(*flags: str) -> str:
        files = ["--interactions", f"{tmp_path}/events.csv", "--items", f"{tmp_path}/items.csv"]
        assert longtail.main(["inspect", *files, *flags]) == 0
        return capsys.readouterr().out

    text = inspected("--recipe", str(recipe))
    assert "context only" in text
    assert "view 2, rating 1" in text
    assert "dislike 3, rating 1" in text
    document = json.loads(inspected("--recipe", str(recipe), "--json"))
    assert document["kinds"]["negative"] == {"dislike": 3, "rating": 1}
    assert document["interactions"] == 5
    assert json.loads(inspected("--json"))["kinds"]["context"] == {}
