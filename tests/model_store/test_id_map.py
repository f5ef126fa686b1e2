from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.errors import BundleError, InputError
from model_store.id_map import IdMap

ids = st.lists(st.text(min_size=1, max_size=20).filter(str.isprintable), unique=True, max_size=30)


@given(ids)
def test_external_and_internal_ids_are_one_to_one(item_ids: list[str]) -> None:
    id_map = IdMap(item_ids)
    assert [id_map.id_of(index) for index in range(1, len(id_map) + 1)] == item_ids
    assert [id_map.index_of(item_id) for item_id in item_ids] == [*range(1, len(item_ids) + 1)]


def test_unknown_ids_are_left_out_and_counted() -> None:
    indices, unknown = IdMap(["a", "b"]).indices(["b", "x", "a", "", "b"])
    assert indices.tolist() == [2, 1, 2]
    assert indices.dtype == "int32"
    assert unknown == 2


@pytest.mark.parametrize("index", [0, 3, -1])
def test_padding_and_strangers_have_no_id(index: int) -> None:
    with pytest.raises(IndexError, match=str(index)):
        IdMap(["a", "b"]).id_of(index)


def test_an_id_given_twice_is_named() -> None:
    with pytest.raises(InputError, match="'b'"):
        IdMap(["a", "b", "c", "b"])


def test_a_saved_map_comes_back_whatever_the_ids(tmp_path: Path) -> None:
    id_map = IdMap(["007", "naïve café", "日本 語", "x" * 200, '"quoted", comma'])
    id_map.save(tmp_path / "ids.json")
    assert IdMap.load(tmp_path / "ids.json") == id_map


@pytest.mark.parametrize("content", ["", "{}", "[1, 2]", '["a"'])
def test_a_damaged_map_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "ids.json").write_text(content)
    with pytest.raises(BundleError, match=r"ids\.json"):
        IdMap.load(tmp_path / "ids.json")


def test_extending_keeps_present_indices() -> None:
    extended = IdMap(["a", "b"]).extended(["c"])
    assert extended.index_of("b") == 2
    assert extended.index_of("c") == 3
