"""An S3-compatible server on this machine (moto), and the variables by which clients find it."""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.free_ports import free_port

SECRET = "a-secret-of-tests"
BUCKET = "shop"
PATIENCE_S = 60.0


@contextmanager
def s3_server() -> Iterator[None]:
    """The server with an empty bucket, named by the environment within the context."""
    port = free_port()
    command = "from moto.server import main; main(['-H', '127.0.0.1', '-p', '%d'])" % port  # noqa: UP031
    # A process of its own: what it keeps in memory would be found by tests of what is left there.
    with subprocess.Popen(
        [sys.executable, "-c", command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
                patch.setenv("AWS_ACCESS_KEY_ID", "tests")
                patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
                patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
                # Without it, what has no credentials asks for them in Amazon's network.
                patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
                _wait_until_it_listens(port)
                forget_clients()
                _client().mkdir(BUCKET)
                yield
        finally:
            forget_clients()
            server.terminate()


def _wait_until_it_listens(port: int) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert time.monotonic() < deadline_s, "the S3-compatible server doesn't start"
            time.sleep(0.05)
        else:
            return


def forget_clients() -> None:
    """Have the next client read the environment again."""
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()
    # A file system ends in a cycle, and its client in another one when that is collected: tests of
    # what is left in memory would find them.
    while gc.collect() > 1_000:
        pass


def overwrite(path: str, content: bytes) -> None:
    """Put other content in the place of an object."""
    _client().pipe_file(f"{BUCKET}/{path}", content)


def remove(path: str) -> None:
    """Delete an object."""
    _client().rm_file(f"{BUCKET}/{path}")


def content_of(path: str) -> bytes:
    """The content of an object."""
    return bytes(_client().cat_file(f"{BUCKET}/{path}"))


def _client() -> Any:
    from s3fs import S3FileSystem

    return S3FileSystem(use_listings_cache=False)
