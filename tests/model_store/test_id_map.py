from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store import id_map as id_maps
from model_store import id_table as id_tables
from model_store.errors import BundleError, InputError
from model_store.id_map import IdMap
from model_store.id_table import MAX_BYTES, IdTable

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
def test_a_damaged_map_is_rejected(tmp_path: Path, content: str) -> None:
    (tmp_path / "ids.json").write_text(content)
    with pytest.raises(BundleError, match=r"ids\.json"):
        IdMap.load(tmp_path / "ids.json")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [("", "id '' is empty"), ("\ud83d", r"id '\\ud83d' is"), (7, "a JSON list of texts")],
)
@pytest.mark.parametrize("place", [0, 2, 3, 7])
def test_the_first_wrong_id_of_a_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: object, said: str, place: int
) -> None:
    monkeypatch.setattr("model_store.texts._AT_ONCE", 3)
    found: list[object] = [*"abcdefg", ""]
    found[place] = wrong
    (tmp_path / "ids.json").write_text(json.dumps(found))
    with pytest.raises(BundleError, match=said):
        IdMap.load(tmp_path / "ids.json")


def test_extending_keeps_present_indices() -> None:
    extended = IdMap(["a", "b"]).extended(["c"])
    assert extended.index_of("b") == 2
    assert extended.index_of("c") == 3


anything = st.text(max_size=12) | st.text("ab\0é\ud800", max_size=4)


@given(st.lists(anything, unique=True, max_size=40), st.lists(anything, max_size=40))
def test_a_table_finds_the_same_as_the_dictionary(item_ids: list[str], others: list[str]) -> None:
    table = IdTable.of(item_ids)
    assert (table is None) == (not item_ids or any("\0" in item_id for item_id in item_ids))
    if table is None:
        return
    index_of = {item_id: index for index, item_id in enumerate(item_ids, start=1)}
    asked = [*item_ids, *others]
    expected = [index_of.get(item_id, 0) for item_id in asked]
    if any("\0" in item_id for item_id in asked):
        expected = [0] * len(asked)
    assert table.find(asked).tolist() == expected


def test_the_beginning_of_an_id_is_another_id() -> None:
    long = "x" * 2 * MAX_BYTES
    table = IdTable.of(["i1", "i10", "i100", "12345678", "1234567890", long])
    assert table is not None
    asked = ["i1", "i", "i1000", "1234567", "12345678", "123456789", "1234567890", long, ""]
    assert table.find(asked).tolist() == [1, 0, 0, 0, 4, 0, 5, 0, 0]


@pytest.mark.parametrize("kept_bits", [0, 3, 40])
def test_equal_hashes_make_no_wrong_answer(monkeypatch: pytest.MonkeyPatch, kept_bits: int) -> None:
    hashed = id_tables._hash
    kept = np.uint64(((1 << 64) - 1) ^ ((1 << (64 - kept_bits)) - 1))
    monkeypatch.setattr(id_tables, "_hash", lambda *args: hashed(*args) & kept)
    monkeypatch.setattr(id_maps, "FEWEST_IN_TABLE", 1)
    monkeypatch.setattr(id_maps, "FEWEST_TOGETHER", 1)
    plain = IdMap([f"i{number}" for number in range(500)])
    quick = plain.with_table()
    asked = [f"i{number}" for number in range(1000)]
    indices, n_unknown = quick.indices(asked)
    assert indices.tolist() == plain.indices(asked)[0].tolist() == [*range(1, 501)]
    assert n_unknown == 500


def test_many_ids_of_a_large_map_are_looked_up_together() -> None:
    plain = IdMap([f"item-{number}" for number in range(id_maps.FEWEST_IN_TABLE)])
    quick = plain.with_table().extended(["fresh"])
    asked = ["fresh", "nobody", *reversed(plain.ids[: id_maps.FEWEST_TOGETHER])]
    expected = [len(plain) + 1, *range(id_maps.FEWEST_TOGETHER, 0, -1)]
    indices, n_unknown = quick.indices(asked)
    assert (indices.tolist(), n_unknown) == (expected, 1)
    assert indices.dtype == "int32"
    assert quick._table is not None
    assert quick._table.find(asked[2:]).tolist() == expected[1:]
    assert IdMap(["a"]).with_table()._table is None
