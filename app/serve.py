"""`longtail serve`: the store, the bundle, the server; and their orderly end."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import shlex
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import uvicorn
from uvicorn.supervisors import Multiprocess

from app.http.protocol import LimitedProtocol
from app.settings import PREFIX, Settings, describe_ignored_variables, read_settings
from app.telemetry.logs import configure_logging
from app.telemetry.metrics import MULTIPROCESS_DIR
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.errors import BundleError, ConfigError
from model_store.publication import publish
from model_store.registry import Registry
from model_store.store import connect

log = logging.getLogger(__name__)

READY_POLL_S = 0.05
GRACE_S = 10
# Longer than the idle time after which usual load balancers drop a connection themselves.
KEEP_ALIVE_S = 75


def serve(*, bundle: Path | None, host: str | None, port: int | None, workers: int | None) -> int:
    """Serve until a signal comes; 0 then.

    Raises:
        LongtailError: a setting is wrong, the port is taken, the store or the bundle is unusable.
    """
    settings = read_settings(host=host, port=port, workers=workers)
    configure_logging(settings.log_level)
    for line in describe_ignored_variables():
        log.warning("%s", line)
    _use_one_thread_a_worker()
    signal.signal(signal.SIGTERM, _leave)
    with contextlib.ExitStack() as stack:
        # First what fails fast, so that a taken port doesn't cost a published bundle.
        listener = stack.enter_context(_listening(settings.host, settings.port))
        url = settings.redis_url or stack.enter_context(_embedded_store(settings.store_dir))
        settings = settings.model_copy(update={"redis_url": url})
        if bundle is not None:
            _publish_and_activate(bundle, settings, url)
        _announce_when_ready(settings, stack)
        _run_server(settings, listener, stack)
    return 0


def _run_server(settings: Settings, listener: socket.socket, stack: contextlib.ExitStack) -> None:
    if settings.workers == 1:
        from app.main import create_app

        config = server_config(create_app(settings), settings)
        uvicorn.Server(config).run(sockets=[listener])
        return
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="longtail-metrics-"))
    os.environ[MULTIPROCESS_DIR] = folder
    # Workers are fresh processes that read their settings from the environment.
    for name in ("redis_url", "host", "port", "workers"):
        os.environ[PREFIX + name.upper()] = str(getattr(settings, name))
    config = server_config("app.main:app_from_environment", settings)
    Multiprocess(config, sockets=[listener]).run()


def server_config(app: object, settings: Settings) -> uvicorn.Config:
    """How the application, or the import path of what makes it, is served."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        factory=isinstance(app, str),
        workers=settings.workers,
        http=LimitedProtocol,
        loop="uvloop" if sys.platform != "win32" else "auto",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        # Nothing here looks at the caller's address, and reading it costs every request.
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise ConfigError(f"can't listen on {host}:{port}: {error.strerror}") from error
    listener.set_inheritable(True)
    with listener:
        yield listener


@contextlib.contextmanager
def _embedded_store(folder: Path) -> Iterator[str]:
    with EmbeddedStore(folder) as store:
        store.supervise()
        yield store.url


def _publish_and_activate(folder: Path, settings: Settings, url: str) -> None:
    source = Bundle.open(folder)
    client = connect(url)
    registry = Registry(client)
    version = _published_as(source, registry)
    if version is None:
        version = publish(source, settings.bundles_dir, client, _show_progress).version
    if registry.active() != version:
        registry.activate(version)


def _published_as(source: Bundle, registry: Registry) -> str | None:
    """The version under which these very files are published, None if they aren't."""
    for record in reversed(registry.records()):
        try:
            published = Bundle.open(Path(record.bundle), verify=False)
        except BundleError:
            continue
        if published.manifest.files == source.manifest.files:
            return record.version
    return None


def _show_progress(what: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if done >= total else ""
        print(f"\rpublishing {what}: {done:,} of {total:,}", end=end, file=sys.stderr, flush=True)


def _announce_when_ready(settings: Settings, stack: contextlib.ExitStack) -> None:
    """Print one line when the service answers, from a thread that ends with the service."""
    ended = threading.Event()
    stack.callback(ended.set)
    thread = threading.Thread(target=_announce, args=(settings, ended), daemon=True, name="ready")
    thread.start()


def _announce(settings: Settings, ended: threading.Event) -> None:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    complained = False
    while not ended.wait(READY_POLL_S):
        try:
            connection = http.client.HTTPConnection(host, settings.port, timeout=5)
            connection.request("GET", "/health/ready")
            response = connection.getresponse()
            document = json.loads(response.read())
            connection.close()
        except (OSError, ValueError, http.client.HTTPException):
            continue
        if response.status == 200:
            shown = f"[{host}]" if ":" in host else host
            address = f"http://{shown}:{settings.port}"
            print(_ready_line(address, document, settings), flush=True)
            return
        if not complained:
            complained = True
            log.warning("not ready: %s", document.get("detail"))


def _ready_line(address: str, ready: dict[str, object], settings: Settings) -> str:
    """The address, the version, and a call that works with what the version knows."""
    asked: dict[str, object] = {"interests": "something new", "k": 10}
    try:
        bundle = Bundle.open(settings.bundles_dir / str(ready["version"]), verify=False)
        user_id = next((user_id for user_id, _ in bundle.users()), None)
        if user_id is not None:
            asked = {"user_id": user_id, "k": 10}
        if "title" in bundle.attributes.names:
            asked["fields"] = ["title"]
    except BundleError:
        pass
    body = shlex.quote(json.dumps(asked, ensure_ascii=False))
    return (
        f"Longtail is ready (version {ready['version']}, {ready['items']} items), try: "
        f"curl -s {address}/recommend -H 'Content-Type: application/json' -d {body}"
    )


def _use_one_thread_a_worker() -> None:
    """Keep the libraries' own threads off the cores that other workers need."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def _leave(_signal: int, _frame: FrameType | None) -> None:
    """SIGTERM, after the server has shut down or while it isn't up yet: run the clean-up."""
    raise SystemExit(0)
