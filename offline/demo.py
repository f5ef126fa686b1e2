"""`longtail demo`: build on MovieLens-100K, serve, and add the reranker to the running service.

The reranker's language model takes minutes to fetch and export. The service starts without it; a
build in the background adds it, and publishes the result as a new version of the live service.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from model_store.errors import ConfigError
from model_store.parent_death import die_with_parent

DATA_SET = "movielens-100k"
TOKEN_VARIABLE = "LONGTAIL_ADMIN_TOKEN"  # noqa: S105 - the name, no token
_LOWEST_PRIORITY = 19
_END_S = 10.0


def demo(out: Path, *, port: int, reranker: bool, log: Callable[[str], None] = print) -> int:
    """Build, serve until a signal comes, and leave nothing running; returns the exit status.

    Args:
        out: folder of the build.
        port: to serve on.
        reranker: add it.
        log: called with lines for the person who waits.

    Raises:
        ConfigError: the port can't be listened on.
    """
    _check_port(os.environ.get("LONGTAIL_HOST") or "127.0.0.1", port)
    if not os.environ.get(TOKEN_VARIABLE):
        os.environ[TOKEN_VARIABLE] = secrets.token_urlsafe(18)
    log(f"admin token: {os.environ[TOKEN_VARIABLE]}")
    build = ["build", "--interactions", DATA_SET, "--out", str(out)]
    status = _run([*build, "--reranker", "later" if reranker else "never"])
    if status:
        return status
    is_missing = reranker and not (out / "bundle" / "reranker.onnx").is_file()
    with contextlib.ExitStack() as stack:
        serve = ["serve", "--bundle", str(out / "bundle"), "--port", str(port)]
        service = stack.enter_context(_running(serve))
        if is_missing:
            output = stack.enter_context((out / "reranker.log").open("wb"))
            log(f"the reranker is being made in the background: {out / 'reranker.log'}")
            stack.enter_context(_running([*build, "--activate"], output.fileno()))
        return _wait(service)


def _check_port(host: str, port: int) -> None:
    """Find out now, and not after the build, that the service can't listen."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = found[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ConfigError(
            f"can't listen on {host}:{port}: {error.strerror}; name another port: --port 8080, or "
            "`make demo PORT=8080`"
        ) from None


def _run(arguments: Sequence[str]) -> int:
    """The exit status of a command; of one that a signal ended it isn't 0, as in a shell."""
    with _running(arguments) as command:
        _wait(command)
    return command.returncode if command.returncode >= 0 else 128 - command.returncode


@contextlib.contextmanager
def _running(
    arguments: Sequence[str], background_output: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A `longtail` command, ended with the context.

    Args:
        arguments: of the command.
        background_output: descriptor for what a command in the background prints.
    """
    command = subprocess.Popen(
        [sys.executable, "-m", "longtail", *arguments],
        stdout=background_output,
        stderr=background_output,
        preexec_fn=_begin if background_output is None else _begin_in_background,  # noqa: PLW1509
    )
    try:
        yield command
    finally:
        if command.poll() is None:
            command.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            command.wait(_END_S)
        command.kill()
        command.wait()


def _begin() -> None:
    die_with_parent()  # a kill of the demo leaves nothing running


def _begin_in_background() -> None:
    die_with_parent()
    os.nice(_LOWEST_PRIORITY)


def _wait(command: subprocess.Popen[bytes]) -> int:
    """The exit status of a command; signals to end are passed on to it."""
    received: list[int] = []

    def pass_on(number: int, _frame: object) -> None:
        # Ctrl-C reaches the whole group, and a second signal would cut a clean end short.
        if number != signal.SIGINT and not received:
            command.send_signal(number)
        received.append(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        status = command.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0 if received and status < 0 else status
