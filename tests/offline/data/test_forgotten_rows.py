"""What people did before they were forgotten is out of a data set."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_store.errors import InputError
from model_store.forgotten import digest_of_user
from offline.data.dataset import Dataset, read_dataset
from offline.data.selection import without_forgotten

ROWS = ["ann,1,1700000000", "ann,2,1700000100", "ben,1,1700000000", "ben,3,1700000200"]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    (tmp_path / "rows.csv").write_text("\n".join(["user_id,item_id,timestamp", *ROWS]))
    return read_dataset(tmp_path / "rows.csv")


def test_a_person_is_gone_and_so_are_items_of_this_person_alone(dataset: Dataset) -> None:
    left = without_forgotten(dataset, {digest_of_user("ben"): 1.8e9})
    assert left.interactions.user_ids == ["ann"]
    assert left.interactions.item_ids.ids == ("1", "2")
    assert left.attributes.n_items == 2


def test_what_came_later_stays(dataset: Dataset) -> None:
    left = without_forgotten(dataset, {digest_of_user("ben"): 1_700_000_100.0})
    assert left.interactions.user_ids == ["ann", "ben"]
    assert len(left.interactions) == 3
    ben = left.interactions.history(1).tolist()
    assert [left.interactions.item_ids.id_of(item) for item in ben] == ["3"]


def test_others_change_nothing(dataset: Dataset) -> None:
    assert without_forgotten(dataset, {digest_of_user("eve"): 1.8e9}) is dataset


def test_when_all_were_forgotten_nothing_is_left(dataset: Dataset) -> None:
    everybody = {digest_of_user(one): 1.8e9 for one in ("ann", "ben")}
    with pytest.raises(InputError, match="everybody in the data set was forgotten"):
        without_forgotten(dataset, everybody)
