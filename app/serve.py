"""`longtail serve`: starts the store, the bundle and the server, and ends them in order."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from app.folders import check_writable, metrics_folder
from app.given_bundle import publish_and_activate
from app.http.server import Server, server_config
from app.ready_line import announced_when_ready
from app.rerank_supervisor import reranker_process
from app.settings import Settings, describe_ignored_variables, read_settings
from app.supervisor import Supervisor
from app.telemetry.logs import configure_logging
from app.telemetry.metrics import MULTIPROCESS_DIR
from model_store.embedded import EmbeddedStore
from model_store.errors import ConfigError
from model_store.remote_bundles import FOLDER_SETTING, RemoteBundles, local_folder
from model_store.store_url import StoreUrl

log = logging.getLogger(__name__)


def serve(*, bundle: Path | None, host: str | None, port: int | None, workers: int | None) -> None:
    """Serve until a signal comes.

    Raises:
        LongtailError: a setting is wrong, the port is occupied, the store or the bundle is
            unusable.
    """
    settings = read_settings(host=host, port=port, workers=workers)
    configure_logging(settings.log_level, settings.log_format)
    for line in describe_ignored_variables():
        log.warning("%s", line)
    if settings.redis_url is None and settings.redis_password is not None:
        log.warning("LONGTAIL_REDIS_PASSWORD is not used: the embedded store needs none")
    _use_one_thread_a_worker()
    signal.signal(signal.SIGTERM, _leave)
    with contextlib.ExitStack() as stack:
        # Fast checks come first: an occupied port must not cost the publication of a bundle.
        listener = stack.enter_context(_listening(settings.host, settings.port))
        check_writable(settings.store_dir, "LONGTAIL_STORE_DIR")
        if isinstance(settings.bundles_dir, RemoteBundles):
            check_writable(local_folder(settings.bundles_dir), FOLDER_SETTING)
        url = settings.redis_url or stack.enter_context(_embedded_store(settings.store_dir))
        settings = settings.model_copy(update={"redis_url": url})
        settings = stack.enter_context(reranker_process(settings))
        prepare = None
        if bundle is not None:
            prepare = functools.partial(publish_and_activate, bundle, settings, url)
        if settings.workers == 1:
            _run_here(settings, listener, prepare)
        else:
            _run_workers(settings, listener, prepare)


def _run_here(
    settings: Settings, listener: socket.socket, prepare: Callable[[], object] | None
) -> None:
    from app.main import create_app

    app = create_app(settings, prepare=prepare)
    service = app.state.service
    with announced_when_ready(settings, service.started.is_set):
        Server(server_config(app, settings), service).run(sockets=[listener])


def _run_workers(
    settings: Settings, listener: socket.socket, prepare: Callable[[], object] | None
) -> None:
    with metrics_folder(settings.store_dir) as folder:
        os.environ[MULTIPROCESS_DIR] = str(folder)  # read by workers when they are started
        supervisor = Supervisor(settings, listener, prepare)
        with announced_when_ready(settings, supervisor.is_ready):
            supervisor.run()


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
def _embedded_store(folder: Path) -> Iterator[StoreUrl]:
    with EmbeddedStore(folder) as store:
        store.supervise()
        yield StoreUrl.parse(store.url)


def _use_one_thread_a_worker() -> None:
    """Keep the libraries' own threads off the cores that other workers need."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def _leave(_signal: int, _frame: FrameType | None) -> None:
    """SIGTERM, after the server has shut down or while it isn't up yet: run the clean-up."""
    raise SystemExit(0)
