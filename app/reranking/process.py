"""The reranker's process: `python -m app.reranking.process --socket PATH`.

It is started, watched and ended by `longtail serve`. It runs at the lowest priority: requests never
wait for it. Of the endpoint, its URL and key come from the environment (LONGTAIL_RERANK_URL,
LONGTAIL_RERANK_API_KEY), since a command line is visible to others.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from app.reranking.lowest_priority import lower_priority
from app.telemetry.logs import configure_logging

if TYPE_CHECKING:
    from app.reranking.backend import BackendConfig

log = logging.getLogger(__name__)

URL_VARIABLE, KEY_VARIABLE = "LONGTAIL_RERANK_URL", "LONGTAIL_RERANK_API_KEY"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until SIGTERM comes, or the parent ends."""
    options = _parser().parse_args(arguments)
    if options.priority == "lowest":
        lower_priority()
    socket: Path = options.socket
    # A Ctrl-C ends the service, which then ends this process.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: _end(socket))
    if options.as_child is not None:
        ending = threading.Thread(target=_end_with_parent, args=(socket, options.as_child))
        ending.daemon = True
        ending.start()
    configure_logging(options.log_level, options.log_format)
    # Their lines hold URLs, which may hold secrets.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    os.umask(0o177)  # the socket is for this user
    asyncio.run(_serve(socket, options))


async def _serve(socket: Path, options: argparse.Namespace) -> None:
    from app.reranking.rank_server import RankServer

    await RankServer(_config(options)).run(socket)


def _config(options: argparse.Namespace) -> BackendConfig:
    from app.reranking.backend import BackendConfig, Endpoint

    endpoint = None
    if url := os.environ.get(URL_VARIABLE):
        endpoint = Endpoint(
            url=url,
            api=options.api,
            model=options.model,
            key=os.environ.get(KEY_VARIABLE),
            timeout_s=options.timeout_ms / 1e3,
        )
    return BackendConfig(endpoint, options.provider, options.threads)


def _end_with_parent(socket: Path, folder: Path) -> None:
    """End when the parent does, however that happens: standard input is a pipe from it."""
    with contextlib.suppress(OSError):
        while os.read(sys.stdin.fileno(), 4096):
            pass
    shutil.rmtree(folder, ignore_errors=True)
    _end(socket)


def _end(socket: Path) -> NoReturn:
    """End at once: a computation of seconds may be under way."""
    with contextlib.suppress(OSError):
        socket.unlink()
    logging.shutdown()
    os._exit(0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="app.reranking.process", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True, help="Unix socket to listen on")
    parser.add_argument("--threads", type=int, default=1, help="that compute on the CPU")
    parser.add_argument("--priority", choices=["lowest", "normal"], default="lowest")
    parser.add_argument("--provider", choices=["auto", "cpu", "cuda"], default="cpu")
    parser.add_argument("--api", choices=["completions", "rerank"], default="completions")
    parser.add_argument("--model", help="name of the model at the endpoint")
    parser.add_argument("--timeout-ms", type=float, default=10_000, help="of the endpoint")
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--log-format", choices=["text", "json"], default="text")
    parser.add_argument(
        "--as-child",
        type=Path,
        metavar="FOLDER",
        help="end when standard input does, and remove FOLDER then",
    )
    return parser


if __name__ == "__main__":
    main()
