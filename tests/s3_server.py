"""An S3-compatible server on this machine (moto), and the variables by which clients find it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

SECRET = "a-secret-of-tests"
BUCKET = "shop"


@contextmanager
def s3_server() -> Iterator[None]:
    """The server with an empty bucket, named by the environment within the context."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.get_host_and_port()[1]}")
            patch.setenv("AWS_ACCESS_KEY_ID", "tests")
            patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
            patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            # Without it, what has no credentials asks for them in Amazon's network.
            patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
            forget_clients()
            _client().makedirs(BUCKET, exist_ok=True)  # one store for all servers of a process
            yield
    finally:
        forget_clients()
        server.stop()


def forget_clients() -> None:
    """Have the next client read the environment again."""
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()


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
