"""Files at a URL, by fsspec: S3, Google Cloud Storage, Azure, SFTP, a folder.

fsspec and the package of a protocol are imported when the first file is asked for. Credentials are
those of the protocol's own configuration (`AWS_…`, `~/.aws`), and in no URL or message of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from model_store.errors import BundleError, BundleUnavailable, ConfigError, LongtailError
from model_store.redaction import redact_urls
from model_store.texts import first_line

PART_BYTES = 16 << 20
PACKAGE = "pip install 'longtail[s3]'"
# These have no folders to make; s3fs would make a bucket.
_WITHOUT_FOLDERS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"}


class ObjectStore:
    """Files below a URL, by their names with `/`.

    All methods raise BundleUnavailable when a file isn't there or can't be reached, and ConfigError
    where nothing is installed for the protocol.

    Args:
        url: of a bucket's folder, or the like, without credentials.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    @cached_property
    def _files(self) -> tuple[Any, str]:
        """The file system, and the path of the URL there."""
        try:
            from fsspec.core import url_to_fs

            system, root = url_to_fs(self.url)
        except ImportError as error:
            raise ConfigError(
                f"{self.url}: a package is not installed ({first_line(error)}); for S3: {PACKAGE}"
            ) from None
        except ValueError as error:
            raise ConfigError(f"{self.url}: {first_line(error)}") from None
        return system, str(root).rstrip("/")

    def place(self, name: str) -> str:
        """The URL of a file, for messages."""
        return f"{self.url}/{name}"

    def read(self, name: str) -> bytes:
        """A file's content."""
        with self._errors(name):
            system, root = self._files
            return bytes(system.cat_file(f"{root}/{name}"))

    def read_optional(self, name: str) -> bytes | None:
        """A file's content; None where there is no such file."""
        with self._errors(name):
            system, root = self._files
            try:
                return bytes(system.cat_file(f"{root}/{name}"))
            except FileNotFoundError:
                return None

    def read_all(self, names: list[str]) -> dict[str, bytes]:
        """The contents of the files that are there, by name."""
        with self._errors(""):
            system, root = self._files
            paths = {f"{root}/{name}": name for name in names}
            # "omit" would leave out what can't be read as well.
            found = system.cat(list(paths), on_error="return") if paths else {}
            found = found if isinstance(found, dict) else {next(iter(paths)): found}
            # Some file systems answer with paths of another form.
            ends = {path.lstrip("/"): name for path, name in paths.items()}
        contents: dict[str, bytes] = {}
        for path, content in found.items():
            name = ends[path.lstrip("/")]
            with self._errors(name):
                if isinstance(content, FileNotFoundError):
                    continue
                if isinstance(content, BaseException):
                    raise content
                contents[name] = bytes(content)
        return contents

    def list(self, folder: str = "") -> dict[str, int | None]:
        """The names in a folder with their sizes in bytes, None of folders; {} without a folder."""
        with self._errors(folder):
            system, root = self._files
            system.invalidate_cache()
            try:
                entries = system.ls(f"{root}/{folder}".rstrip("/"), detail=True)
            except FileNotFoundError:
                return {}
            found = {}
            for entry in entries:
                name = str(entry["name"]).rstrip("/").rpartition("/")[2]
                found[name] = None if entry["type"] == "directory" else int(entry["size"])
            return found

    def parts(self, name: str, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """A file's content from a byte on, in parts with their offsets.

        Where the file system can't begin there, it begins with the first byte.
        """
        with self._errors(name):
            system, root = self._files
            system.invalidate_cache()
            with system.open(f"{root}/{name}", "rb", block_size=PART_BYTES) as file:
                if start:
                    try:
                        file.seek(start)
                    except (OSError, ValueError, NotImplementedError):
                        start = 0
                while part := file.read(PART_BYTES):
                    yield start, part
                    start += len(part)

    def put(
        self, source: Path, name: str, report: Callable[[int], object] = lambda _n_bytes: None
    ) -> None:
        """Write a file, over one that is there; `report` is called with the bytes written."""
        with self._errors(name):
            from fsspec.callbacks import Callback

            system, root = self._files
            self._make_folder(f"{root}/{name}".rpartition("/")[0])
            told = Callback(hooks={"report": lambda _size, value, **_: report(value)})
            system.put_file(str(source), f"{root}/{name}", callback=told)

    def create(self, name: str, content: bytes) -> None:
        """Write a file where there is none yet.

        On a file system without such a mode, two who do so in one moment may both succeed: read the
        file afterwards.

        Raises:
            BundleError: there is one.
        """
        with self._errors(name):
            system, root = self._files
            path = f"{root}/{name}"
            self._make_folder(path.rpartition("/")[0])
            try:
                if system.exists(path):
                    raise FileExistsError
                try:
                    system.pipe_file(path, content, mode="create")
                except TypeError:  # a file system that knows no such mode
                    system.pipe_file(path, content)
            except FileExistsError:
                raise BundleError(f"{self.place(name)}: is there already") from None

    def write(self, name: str, content: bytes) -> None:
        """Write a file, over one that is there."""
        with self._errors(name):
            system, root = self._files
            system.pipe_file(f"{root}/{name}", content)

    def _make_folder(self, path: str) -> None:
        system = self._files[0]
        protocols = {system.protocol} if isinstance(system.protocol, str) else {*system.protocol}
        if not protocols & _WITHOUT_FOLDERS:
            system.makedirs(path, exist_ok=True)

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        """Turn whatever a file system raises into one error that names the file."""
        place = self.place(name) if name else self.url
        try:
            yield
        except LongtailError:
            raise
        except FileNotFoundError as error:
            raise BundleUnavailable(f"{place}: isn't there ({_shown(error)})") from None
        except PermissionError as error:
            raise BundleUnavailable(f"{place}: access is denied ({_shown(error)})") from None
        except ImportError as error:
            raise ConfigError(f"{place}: a package is not installed ({_shown(error)})") from None
        except Exception as error:
            what = "can't be reached"
            if "Credentials" in type(error).__name__:
                what = "no credentials"
            elif type(error).__name__ == "FileExpired":
                what = "was changed while it was read"
            raise BundleUnavailable(f"{place}: {what} ({_shown(error)})") from None


def _shown(error: Exception) -> str:
    return redact_urls(first_line(error)) or type(error).__name__
