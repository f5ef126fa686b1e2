"""Has a process of its own download a version."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from model_store.download import Order, Report
from model_store.errors import BundleUnavailable


def run_download(order: Order, report: Report = lambda _done, _total: None) -> Path:
    """The folder of a version in the cache, once the process has it there.

    Args:
        order: what to download.
        report: called a few times a second with the bytes that are there, and of all. What it
            raises ends the process.

    Raises:
        BundleUnavailable: it can't be downloaded now; the message says why.
    """
    command = [sys.executable, "-P", "-m", "model_store.download"]
    # Where this process imports from.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # its end tells the process that this one has ended
            stdout=subprocess.PIPE,
            env=environment,
            process_group=0,  # a Ctrl-C ends the caller first
        )
    except OSError as error:
        raise BundleUnavailable(f"no download can be started ({error.strerror})") from error
    with process:
        try:
            return _follow(process, order, report)
        finally:
            process.kill()


def _follow(
    process: subprocess.Popen[bytes], order: Order, report: Callable[[int, int], object]
) -> Path:
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101
    try:
        process.stdin.write(order.model_dump_json().encode() + b"\n")
        process.stdin.flush()
    except OSError:
        pass  # it has ended, and says no more
    for line in process.stdout:
        message = json.loads(line)
        if "folder" in message:
            return Path(message["folder"])
        if "error" in message:
            raise BundleUnavailable(message["error"])
        report(message["done"], message["total"])
    raise BundleUnavailable(
        f"the download of version {order.version!r} was ended by exit code {process.wait()}; the "
        "next one goes on where it was"
    )
