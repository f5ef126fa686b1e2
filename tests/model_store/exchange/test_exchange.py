"""Bundles pushed to a hub, to MLflow and to a folder, and pulled from there."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import longtail
from model_store.bundle import ITEM_TABLE, MANIFEST, Bundle
from model_store.errors import BundleError, BundleUnavailable, ConfigError
from model_store.exchange.place import CARD
from model_store.exchange.transfer import pull, push, read_place
from model_store.private_key import PrivateKey
from model_store.signatures import ANY_SIGNER, SIGNATURE, Trust
from tests.model_store.exchange.conftest import HUB, REPOSITORY, contents
from tests.model_store.exchange.hub_server import TOKEN, Hub

UNSIGNED = r"there is no manifest\.sig"


def test_what_is_pulled_is_what_was_pushed(place: str, bundle: Bundle, tmp_path: Path) -> None:
    assert not push(bundle, read_place(place), ANY_SIGNER).was_there
    pulled = pull(read_place(place), tmp_path / "out", ANY_SIGNER)
    assert pulled.folder == tmp_path / "out" / bundle.version
    assert contents(pulled.folder) == contents(bundle.folder)
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == [bundle.version]
    # Both again: nothing happens.
    assert push(bundle, read_place(place), ANY_SIGNER).was_there
    assert pull(read_place(place), tmp_path / "out", ANY_SIGNER).folder == pulled.folder


def test_another_bundle_of_the_version_is_not_replaced(
    place: str, bundle: Bundle, other: Bundle, tmp_path: Path
) -> None:
    push(bundle, read_place(place), ANY_SIGNER)
    renamed = Path(shutil.copytree(other.folder, tmp_path / "renamed"))
    manifest = other.manifest.model_copy(update={"version": bundle.version})
    manifest.save(renamed / MANIFEST)
    with pytest.raises(BundleError, match="another bundle"):
        push(Bundle.open(renamed), read_place(place), ANY_SIGNER)
    pulled = pull(read_place(place), tmp_path / "out", ANY_SIGNER)
    assert contents(pulled.folder) == contents(bundle.folder)
    shutil.rmtree(pulled.folder)
    shutil.copytree(renamed, pulled.folder)
    with pytest.raises(BundleError, match="is another bundle's already"):
        pull(read_place(place), tmp_path / "out", ANY_SIGNER)


def test_nothing_is_taken_without_a_trusted_signature(
    place: str, bundle: Bundle, tmp_path: Path
) -> None:
    key, stranger = (PrivateKey.make(tmp_path / name) for name in ("release", "stranger"))
    push(bundle, read_place(place), ANY_SIGNER)
    trust = Trust((key.public,), is_required=True)
    with pytest.raises(BundleError, match=UNSIGNED):
        pull(read_place(place), tmp_path / "out", trust)
    with pytest.raises(BundleError, match=UNSIGNED):
        push(bundle, read_place(place), trust)
    assert [*(tmp_path / "out").iterdir()] == []
    manifest = bundle.manifest.model_copy(update={"version": "signed-1"})
    manifest.save(bundle.folder / MANIFEST)
    key.sign(bundle.folder, MANIFEST)
    elsewhere = place if not place.startswith("/") else f"{place}-signed"
    push(Bundle.open(bundle.folder), read_place(elsewhere), trust)
    pulled = pull(read_place(elsewhere), tmp_path / "out", trust)
    assert SIGNATURE in contents(pulled.folder)
    with pytest.raises(BundleError, match="is not trusted"):
        pull(
            read_place(elsewhere),
            tmp_path / "others",
            Trust((stranger.public,), is_required=True),
        )


def test_a_signature_made_after_the_push_arrives_with_the_next_one(
    place: str, bundle: Bundle, tmp_path: Path
) -> None:
    push(bundle, read_place(place), ANY_SIGNER)
    pull(read_place(place), tmp_path / "out", ANY_SIGNER)  # an unsigned copy
    key = PrivateKey.make(tmp_path / "release")
    key.sign(bundle.folder, MANIFEST)
    trust = Trust((key.public,), is_required=True)
    pushed = [push(bundle, read_place(place), trust) for _ in range(2)]
    assert [(one.was_there, one.got_signature) for one in pushed] == [(True, True), (True, False)]
    for out in ("out", "new"):
        pulled = pull(read_place(place), tmp_path / out, trust)
        assert contents(pulled.folder) == contents(bundle.folder)
        assert [*(tmp_path / out).iterdir()] == [pulled.folder]


def test_two_pushes_at_once_do_not_mix(
    hub: Hub, bundle: Bundle, other: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one is made while the first one has looked at the branch, and not written yet."""
    import huggingface_hub

    create_commit = huggingface_hub.HfApi.create_commit
    place = read_place(HUB)

    def second(*given: Any, **named: Any) -> Any:
        monkeypatch.setattr(huggingface_hub.HfApi, "create_commit", create_commit)
        push(other, place, ANY_SIGNER)
        return create_commit(*given, **named)

    def pushed_meanwhile() -> str:
        with pytest.raises(BundleUnavailable) as caught:
            push(bundle, place, ANY_SIGNER)
        return str(caught.value)

    said = f"{HUB}: somebody else pushed to main meanwhile; push again"
    monkeypatch.setattr(huggingface_hub.HfApi, "create_commit", second)
    assert pushed_meanwhile() == said
    assert [*hub.repositories[REPOSITORY].tags] == [other.version]
    assert hub.files(REPOSITORY)[MANIFEST] == (other.folder / MANIFEST).read_bytes()
    push(bundle, place, ANY_SIGNER)
    # A signature, too.
    PrivateKey.make(tmp_path / "release").sign(bundle.folder, MANIFEST)
    hub.repositories[REPOSITORY].tags.pop(other.version)
    monkeypatch.setattr(huggingface_hub.HfApi, "create_commit", second)
    assert pushed_meanwhile() == said
    assert SIGNATURE not in hub.files(REPOSITORY, bundle.version)


def test_a_bundle_that_was_committed_and_not_tagged_is_not_replaced_by_one_of_its_version(
    hub: Hub, bundle: Bundle, other: Bundle, tmp_path: Path
) -> None:
    push(bundle, read_place(HUB), ANY_SIGNER)
    hub.repositories[REPOSITORY].tags.clear()
    renamed = Path(shutil.copytree(other.folder, tmp_path / "renamed"))
    other.manifest.model_copy(update={"version": bundle.version}).save(renamed / MANIFEST)
    with pytest.raises(BundleError, match="another bundle has the version"):
        push(Bundle.open(renamed), read_place(HUB), ANY_SIGNER)
    push(bundle, read_place(HUB), ANY_SIGNER)
    assert [*hub.repositories[REPOSITORY].tags] == [bundle.version]


def test_the_same_bundle_again_changes_nothing_in_a_folder(bundle: Bundle, tmp_path: Path) -> None:
    place, folder = read_place(str(tmp_path / "exported")), tmp_path / "exported"
    unsigned = Bundle.open(Path(shutil.copytree(bundle.folder, tmp_path / "unsigned")))
    PrivateKey.make(tmp_path / "release").sign(bundle.folder, MANIFEST)
    push(bundle, place, ANY_SIGNER)
    assert SIGNATURE in (folder / CARD).read_text()
    (folder / CARD).write_text("of our own")
    before = contents(folder)
    for one in (bundle, unsigned):
        pushed = push(one, place, ANY_SIGNER)
        assert (pushed.was_there, pushed.got_signature) == (True, False)
    assert contents(folder) == before


def test_an_unsigned_pull_keeps_the_signature_of_a_copy(bundle: Bundle, tmp_path: Path) -> None:
    key, stranger = (PrivateKey.make(tmp_path / name) for name in ("release", "stranger"))
    place = read_place(str(tmp_path / "exported"))
    key.sign(bundle.folder, MANIFEST)
    push(bundle, place, ANY_SIGNER)
    pulled = pull(place, tmp_path / "out", ANY_SIGNER)
    stranger.sign(tmp_path / "exported", MANIFEST)
    pull(place, tmp_path / "out", ANY_SIGNER)
    assert contents(pulled.folder) == contents(bundle.folder)


def test_a_signature_comes_to_no_other_bundles_commit(
    hub: Hub, bundle: Bundle, other: Bundle, tmp_path: Path
) -> None:
    for one in (bundle, other):
        push(one, read_place(HUB), ANY_SIGNER)
    PrivateKey.make(tmp_path / "release").sign(bundle.folder, MANIFEST)
    with pytest.raises(BundleError, match=f"@{bundle.version}: .* main holds another bundle now"):
        push(bundle, read_place(HUB), ANY_SIGNER)
    assert SIGNATURE not in hub.files(REPOSITORY)


def test_no_signature_of_an_earlier_bundle_is_left(
    hub: Hub, bundle: Bundle, other: Bundle, tmp_path: Path
) -> None:
    PrivateKey.make(tmp_path / "release").sign(bundle.folder, MANIFEST)
    push(bundle, read_place(HUB), ANY_SIGNER)
    # Left by a pull that was broken off.
    files = hub.files(REPOSITORY)
    sound = files.pop(ITEM_TABLE)
    with pytest.raises(BundleUnavailable):
        pull(read_place(HUB), tmp_path / "out", ANY_SIGNER)
    files[ITEM_TABLE] = sound
    push(other, read_place(HUB), ANY_SIGNER)
    assert SIGNATURE not in hub.files(REPOSITORY)
    pulled = pull(read_place(HUB), tmp_path / "out", ANY_SIGNER)
    assert contents(pulled.folder) == contents(other.folder)


def test_a_push_to_a_folder_that_is_broken_off_leaves_no_bundle(
    bundle: Bundle, other: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends within the manifest, however that is written; the next push goes on."""
    place, copyfile = read_place(str(tmp_path / "exported")), shutil.copyfile
    full = OSError(errno.ENOSPC, "No space left on device")

    def copy(source: Path, target: Path) -> None:
        copyfile(source, target)
        if target.name == MANIFEST:
            os.truncate(target, 10)
            raise full

    def flush(file: int) -> None:
        os.ftruncate(file, 10)
        raise full

    PrivateKey.make(tmp_path / "release").sign(bundle.folder, MANIFEST)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", copy)
        patch.setattr(os, "fsync", flush)
        with pytest.raises(BundleUnavailable, match="No space left"):
            push(bundle, place, ANY_SIGNER)
    with pytest.raises(BundleUnavailable, match=f"there is no {MANIFEST}"):
        pull(place, tmp_path / "out", ANY_SIGNER)
    assert not push(other, place, ANY_SIGNER).was_there
    pulled = pull(place, tmp_path / "out", ANY_SIGNER)
    assert contents(pulled.folder) == contents(other.folder)


def test_a_damaged_file_is_named_and_nothing_is_left(
    hub: Hub, bundle: Bundle, tmp_path: Path
) -> None:
    push(bundle, read_place(HUB), ANY_SIGNER)
    files = hub.files(REPOSITORY)
    sound = files[ITEM_TABLE]
    files[ITEM_TABLE] = sound[:-1] + bytes([sound[-1] ^ 1])
    with pytest.raises(BundleError, match=f"^{HUB}: {ITEM_TABLE}: sha256 differs"):
        pull(read_place(HUB), tmp_path / "out", ANY_SIGNER)
    assert [*(tmp_path / "out").iterdir()] == []
    del files[ITEM_TABLE]
    with pytest.raises(BundleUnavailable, match=f"{ITEM_TABLE}: is in the manifest but not there"):
        pull(read_place(HUB), tmp_path / "out", ANY_SIGNER)
    files[ITEM_TABLE] = sound
    files["harmful.py"] = b"print('never read')"
    pulled = pull(read_place(HUB), tmp_path / "out", ANY_SIGNER)
    assert contents(pulled.folder) == contents(bundle.folder)


def test_each_version_has_its_tag_and_leaves_other_files(
    hub: Hub, bundle: Bundle, other: Bundle, tmp_path: Path
) -> None:
    for one in (bundle, other):
        push(one, read_place(HUB), ANY_SIGNER)
        hub.files(REPOSITORY)["LICENSE"] = b"ours"
    assert hub.repositories[REPOSITORY].private
    assert [*hub.repositories[REPOSITORY].tags] == [bundle.version, "made-2"]
    assert {*hub.files(REPOSITORY)} == {
        *other.manifest.files, MANIFEST, CARD, "LICENSE", ".gitattributes",
    }  # fmt: skip
    for text, wanted in ((HUB, other), (f"{HUB}@{bundle.version}", bundle)):
        pulled = pull(read_place(text), tmp_path / "out", ANY_SIGNER)
        assert contents(pulled.folder) == contents(wanted.folder)
    assert any(call.startswith("PUT /lfs/") for call in hub.calls)


def test_a_repository_that_everybody_can_read_gets_no_histories_unasked(
    hub: Hub, bundle: Bundle
) -> None:
    push(bundle, read_place(HUB), ANY_SIGNER)
    repository = hub.repositories[REPOSITORY]
    repository.private = False
    repository.tags.clear()
    with pytest.raises(BundleError, match="everybody can read this repository"):
        push(bundle, read_place(HUB), ANY_SIGNER)
    assert repository.tags == {}
    push(bundle, read_place(HUB, public=True), ANY_SIGNER)
    assert [*repository.tags] == [bundle.version]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{HUB}@never", "hf://shop/recommender@never: .*404"),
        ("hf://shop/nothing", "hf://shop/nothing: .*404"),
        ("nowhere", "nowhere: there is no such folder"),
    ],
)
def test_what_is_not_there_is_one_line(
    hub: Hub, bundle: Bundle, tmp_path: Path, text: str, said: str
) -> None:
    push(bundle, read_place(HUB), ANY_SIGNER)
    with pytest.raises(BundleUnavailable, match=said) as caught:
        pull(read_place(text), tmp_path / "out", ANY_SIGNER)
    assert "\n" not in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_a_wrong_token_is_one_line(
    hub: Hub, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(BundleUnavailable, match=r"^hf://shop/recommender: .*401") as caught:
        push(bundle, read_place(HUB), ANY_SIGNER)
    assert "hf_wrong" not in str(caught.value)
    assert hub.repositories == {}


@pytest.mark.parametrize("text", ["hf://shop", "hf://a/b/c", "hf://a/b@", "mlflow:", "mlflow:a/b"])
def test_a_place_that_is_none_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(repr(text))):
        read_place(text)


def test_aliases_and_numbers_of_mlflow(
    registry: str, bundle: Bundle, other: Bundle, tmp_path: Path
) -> None:
    assert push(bundle, read_place(f"{registry}@champion"), ANY_SIGNER).where == f"{registry}/1"
    assert push(other, read_place(registry), ANY_SIGNER).where == f"{registry}/2"
    for text, wanted in (("", other), ("@champion", bundle), ("/1", bundle), ("/2", other)):
        pulled = pull(read_place(registry + text), tmp_path / "out", ANY_SIGNER)
        assert contents(pulled.folder) == contents(wanted.folder)
    with pytest.raises(BundleUnavailable, match="mlflow:recommender@none: "):
        pull(read_place(f"{registry}@none"), tmp_path / "out", ANY_SIGNER)
    with pytest.raises(ConfigError, match="numbers versions itself"):
        push(other, read_place(f"{registry}/1"), ANY_SIGNER)
    push(other, read_place(f"{registry}@champion"), ANY_SIGNER)
    assert (
        pull(read_place(f"{registry}@champion"), tmp_path / "out", ANY_SIGNER).version == "made-2"
    )


def test_the_command_pushes_and_pulls(
    hub: Hub, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert longtail.main(["bundle", "push", str(bundle.folder), HUB]) == 0
    where = f"{HUB}@{bundle.version}"
    assert capsys.readouterr().out == f"version {bundle.version} is there now: {where}\n"
    push_it = ["bundle", "push", str(bundle.folder), HUB]
    assert longtail.main([*push_it, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    expected = {"version": bundle.version, "place": where, "new": False, "got_signature": False}
    assert document == expected
    signer = PrivateKey.make(tmp_path / "signer")
    signer.sign(bundle.folder, MANIFEST)
    said = "was there already, and has this signature now"
    for what in (said, "is there already"):
        assert longtail.main(push_it) == 0
        assert capsys.readouterr().out == f"version {bundle.version} {what}: {where}\n"
    (bundle.folder / SIGNATURE).unlink()
    out = tmp_path / "out"
    assert longtail.main(["bundle", "pull", where, "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "version": bundle.version,
        "folder": str(out / bundle.version),
        "files": len(bundle.manifest.files),
    }
    key = PrivateKey.make(tmp_path / "key")
    words = ["bundle", "pull", where, "--out", str(out), "--trust", str(key.public)]
    assert longtail.main(words) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"the key {signer.public.id} is not trusted" in line
