from __future__ import annotations

from pathlib import Path

import pytest

from model_store.errors import ConfigError
from offline.artifact import Artifact, begin, finish, locked


def test_finished_results_can_be_read(tmp_path: Path) -> None:
    partial = begin(tmp_path / "words", "abc")
    (partial / "some").mkdir()
    (partial / "some" / "words.json").write_text('["one"]')
    assert Artifact.read(tmp_path / "words") is None
    finish(partial, tmp_path / "words", {"n": 1})
    found = Artifact.read(tmp_path / "words")
    assert found is not None
    assert (found.name, found.fingerprint, found.facts) == ("words", "abc", {"n": 1})
    assert found.read_json("some/words.json") == ["one"]
    assert [path.name for path in tmp_path.iterdir()] == ["words"]


@pytest.mark.parametrize("manifest", ["", "[]", "{}", '{"files": {"no": "such"}}'])
def test_a_damaged_manifest_is_no_artifact(tmp_path: Path, manifest: str) -> None:
    finish(begin(tmp_path / "words", "abc"), tmp_path / "words", {})
    assert Artifact.read(tmp_path / "words") is not None
    (tmp_path / "words" / "stage.json").write_text(manifest)
    assert Artifact.read(tmp_path / "words") is None


def test_two_builds_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "out"),
        pytest.raises(ConfigError, match="another command is at work"),
        locked(tmp_path / "out"),
    ):
        pass
