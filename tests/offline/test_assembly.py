from __future__ import annotations

from pathlib import Path

import pytest

from offline.assembly import _free_version, name_encoder
from offline.stages.text_encoder import TextEncoderArtifact


def exported(fingerprint: str) -> TextEncoderArtifact:
    return TextEncoderArtifact(Path("text_encoder"), fingerprint, {})


def test_encoders_have_one_name_only_where_they_are_one(tmp_path: Path) -> None:
    """Fresh items are given to all versions of the name, as vectors of its encoder."""
    first, second = exported("a" * 64), exported("b" * 64)
    folder = str(tmp_path)
    for name, is_tuned in ((folder, False), (folder, True), ("from-the-hub", True)):
        assert name_encoder(name, first, is_tuned=is_tuned).startswith(f"{name}, ")
        assert name_encoder(name, first, is_tuned=is_tuned) != name_encoder(
            name, second, is_tuned=is_tuned
        )
    assert name_encoder("from-the-hub", first, is_tuned=False) == "from-the-hub"
    assert name_encoder("from-the-hub", second, is_tuned=False) == "from-the-hub"


def test_a_build_ends_well_where_published_versions_cannot_be_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LONGTAIL_BUNDLES_DIR", "nowhere://shop/bundles")
    said: list[str] = []
    assert _free_version(said.append).endswith("-1")
    assert "nowhere://shop/bundles: Protocol not known" in said[0]
