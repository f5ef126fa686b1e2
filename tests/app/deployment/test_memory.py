"""What a version takes of the memory, and how much is free."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.deployment import loading
from model_store.bundle import Bundle
from model_store.errors import BundleUnavailable
from model_store.footprint import check_memory, free_memory, memory_bytes


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_ids_and_attributes_count_as_objects(synthetic_bundle: Bundle) -> None:
    manifest = synthetic_bundle.manifest
    sizes = {name: entry.size_bytes for name, entry in manifest.files.items()}
    objects = sizes["item_ids.json"] + sizes["attributes.json"]
    assert memory_bytes(manifest) > 12 * objects + sizes["item_table.npy"]
    assert memory_bytes(manifest) < 13 * objects + sum(sizes.values())


def test_a_version_that_does_not_fit_is_not_loaded(
    synthetic_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, needed = synthetic_bundle.folder, memory_bytes(synthetic_bundle.manifest)
    check_memory(synthetic_bundle.manifest, folder, needed)
    check_memory(synthetic_bundle.manifest, folder, None)
    monkeypatch.setattr(loading, "free_memory", lambda: needed - 1)
    said = re.escape(f"{folder}: takes about ") + r"\S+ MB of memory, and \S+ MB are free"
    with pytest.raises(BundleUnavailable, match=said):
        loading.load_version(folder, synthetic_bundle.version, "cpu")


def test_the_container_counts_where_it_has_less(tmp_path: Path) -> None:
    meminfo = write(tmp_path / "meminfo", "MemTotal: 9 kB\nMemAvailable:    1000 kB\n")
    nothing = tmp_path / "nothing"
    assert free_memory(meminfo, nothing) == 1_024_000
    assert free_memory(nothing, nothing) is None
    group = tmp_path / "group"
    write(group / "memory.max", "max\n")
    assert free_memory(meminfo, group) == 1_024_000
    write(group / "memory.max", "900000\n")
    write(group / "memory.current", "500000\n")
    write(group / "memory.stat", "anon 400000\ninactive_file 100000\n")
    assert free_memory(meminfo, group) == 500_000
    write(group / "memory.current", "1000001\n")
    assert free_memory(meminfo, group) == 0
    write(group / "memory.stat", "nonsense\n")
    assert free_memory(meminfo, group) == 1_024_000
    write(tmp_path / "meminfo", "MemAvailable: many\n")
    assert free_memory(meminfo, nothing) is None


def test_this_machine_tells(synthetic_bundle: Bundle) -> None:
    free = free_memory()
    assert free is None or free > 1_000_000
