from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_store import reading
from model_store.bundle import Bundle
from model_store.bundle_writer import BundleWriter, copy_bundle
from model_store.errors import BundleError
from model_store.files import hash_file, save_array
from tests.synthetic_bundle import make_bundle, make_catalogue


@pytest.fixture
def bundle(bundles: Path) -> Bundle:
    return make_bundle(bundles / "made-1")


ABSENT = object()


def edit_manifest(folder: Path, **changes: Any) -> None:
    """Change fields of a manifest; a field that is to be ABSENT is taken out."""
    path = folder / "manifest.json"
    document = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in document.items() if v is not ABSENT}))


def replace_file(folder: Path, name: str, content: bytes) -> None:
    """Swap a file and make the manifest agree, as a faulty builder would."""
    (folder / name).write_bytes(content)
    files = json.loads((folder / "manifest.json").read_text())["files"]
    files[name] = {"sha256": hash_file(folder / name), "size_bytes": len(content)}
    edit_manifest(folder, files=files)


def test_a_bundle_gives_back_its_content(bundle: Bundle) -> None:
    made = make_catalogue()
    opened = Bundle.open(bundle.folder)
    assert opened.version == "made-1"
    assert opened.item_ids == made.ids
    assert opened.attributes == made.attributes
    np.testing.assert_array_equal(opened.item_table, made.table)
    np.testing.assert_array_equal(opened.knowledge_vectors, made.knowledge)
    histories = dict(opened.users())
    assert list(histories) == list(made.histories)
    np.testing.assert_array_equal(histories["u3"].items, made.histories["u3"])
    assert len(opened.golden) == 4


def test_the_item_table_is_mapped_not_read(bundle: Bundle) -> None:
    assert isinstance(bundle.item_table, np.memmap)
    assert not bundle.item_table.flags.writeable


@pytest.mark.parametrize("name", ["model.onnx", "item_table.npy", "golden.json", "tokenizer.json"])
def test_a_changed_byte_is_noticed(bundle: Bundle, name: str) -> None:
    path = bundle.folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=rf"{name}: sha256"):
        Bundle.open(bundle.folder)


def test_an_array_is_mapped_once(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    mapped: list[str] = []

    def map_array(path: Path) -> Any:
        mapped.append(path.name)
        return reading.map_array(path)

    monkeypatch.setattr("model_store.bundle.map_array", map_array)
    opened = Bundle.open(bundle.folder)
    assert len(opened.item_table) == len(opened.popularity)
    assert {"item_table.npy", "popularity.npy"} <= {*mapped}
    assert len(mapped) == len({*mapped})


def test_a_missing_and_a_short_file_are_named(bundle: Bundle) -> None:
    table = bundle.folder / "item_table.npy"
    table.write_bytes(table.read_bytes()[:-1])
    with pytest.raises(BundleError, match=r"item_table\.npy: \d+ bytes, the manifest says"):
        Bundle.open(bundle.folder, verify=False)
    table.unlink()
    with pytest.raises(BundleError, match=r"item_table\.npy: .*not there"):
        Bundle.open(bundle.folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 3}, "schema_version"),
        ({"kind": "random"}, "kind"),
        ({"version": "../evil"}, "version"),
        ({"n_items": 0}, "n_items"),
        ({"files": {"../x": {"sha256": "0" * 64, "size_bytes": 1}}}, "plain name"),
        ({"surprise": 1}, "surprise"),
        ({"n_items": 61}, "shape"),
    ],
)
def test_a_wrong_manifest_is_rejected(
    bundle: Bundle, changes: dict[str, Any], message: str
) -> None:
    edit_manifest(bundle.folder, **changes)
    with pytest.raises(BundleError, match=message):
        Bundle.open(bundle.folder)


def test_a_bundle_of_the_first_schema_is_read_as_sequential(bundle: Bundle) -> None:
    edit_manifest(bundle.folder, schema_version=1, kind=ABSENT)
    opened = Bundle.open(bundle.folder)
    assert opened.manifest.kind == "sequential"
    assert opened.manifest == bundle.manifest


def test_a_retriever_of_the_first_schema_asks_for_a_new_build(bundle: Bundle) -> None:
    edit_manifest(bundle.folder, schema_version=1, kind=ABSENT, retriever={"n_loners": 3})
    with pytest.raises(BundleError, match=r"manifest\.json: .*run `longtail build` again"):
        Bundle.open(bundle.folder)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle here"):
        Bundle.open(tmp_path)


def test_a_pickled_array_is_not_loaded(bundle: Bundle, tmp_path: Path) -> None:
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    replace_file(bundle.folder, "popularity.npy", (tmp_path / "evil.npy").read_bytes())
    with pytest.raises(BundleError, match=r"popularity\.npy: not a readable array"):
        Bundle.open(bundle.folder)


@pytest.mark.parametrize("golden", [b"[]", b"{}", b'[{"history": ["i1"]}]', b"nonsense"])
def test_malformed_golden_requests_are_rejected(bundle: Bundle, golden: bytes) -> None:
    replace_file(bundle.folder, "golden.json", golden)
    with pytest.raises(BundleError, match=r"golden\.json"):
        _ = Bundle.open(bundle.folder).golden


def test_a_copy_under_another_version_is_whole_and_independent(bundle: Bundle) -> None:
    copy = copy_bundle(bundle, bundle.folder.with_name("made-2"), version="made-2")
    assert Bundle.open(copy.folder).version == "made-2"
    assert copy.manifest.files == bundle.manifest.files
    with pytest.raises(BundleError, match="there is a bundle already"):
        copy_bundle(bundle, copy.folder)


def test_a_damaged_bundle_is_not_copied(bundle: Bundle, bundles: Path) -> None:
    table = bundle.folder / "item_table.npy"
    content = bytearray(table.read_bytes())
    content[-1] ^= 1
    table.write_bytes(content)
    with pytest.raises(BundleError, match=r"item_table\.npy: differs from the manifest"):
        copy_bundle(bundle, bundles / "made-2")
    assert [path.name for path in bundles.iterdir()] == ["made-1"]


def test_files_that_the_manifest_does_not_name_are_not_read(bundle: Bundle) -> None:
    for name in ("popularity.npy.1", "report2.json", "weights.bin"):
        (bundle.folder / name).symlink_to(bundle.folder / "nowhere")
    (bundle.folder / "sub").mkdir()
    assert Bundle.open(bundle.folder).golden


def test_a_writer_that_fails_leaves_nothing(bundle: Bundle, bundles: Path) -> None:
    with (
        pytest.raises(BundleError, match=r"model\.onnx"),
        BundleWriter(bundles / "half") as writer,
    ):
        writer.write("item_table.npy", lambda path: save_array(path, bundle.item_table))
        writer.finish(version="half", **bundle.manifest.model_dump(exclude={"files", "version"}))
    assert [path.name for path in bundles.iterdir()] == ["made-1"]
