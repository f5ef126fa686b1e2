"""One request and its answer, for set-up and checks of a load test (not for the load)."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from typing import Any

from loadtest.errors import TargetError
from loadtest.target import Address


def ask(
    address: Address,
    method: str,
    path: str,
    body: Mapping[str, object] | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 10.0,
) -> tuple[int, Any]:
    """Status and JSON body (None where the answer isn't JSON) of one request.

    Raises:
        TargetError: nobody answers there.
    """
    status, text = ask_text(address, method, path, body, headers=headers, timeout_s=timeout_s)
    try:
        return status, json.loads(text)
    except ValueError:
        return status, None


def ask_text(
    address: Address,
    method: str,
    path: str,
    body: Mapping[str, object] | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 10.0,
) -> tuple[int, str]:
    """Status and body of one request.

    Raises:
        TargetError: nobody answers there.
    """
    connection = http.client.HTTPConnection(address.host, address.port, timeout=timeout_s)
    try:
        connection.request(
            method,
            path,
            body=None if body is None else json.dumps(body),
            headers={"Content-Type": "application/json", **(headers or {})},
        )
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise TargetError(f"{address.url} does not answer ({error})") from error
    finally:
        connection.close()


def wait_until_ready(address: Address, *, timeout_s: float = 10.0) -> dict[str, Any]:
    """The document of `GET /health/ready`, once it answers 200.

    Raises:
        TargetError: it isn't ready after `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            status, ready = ask(address, "GET", "/health/ready")
            if status == 200 and isinstance(ready, dict):
                return ready
            reason = f"GET /health/ready answers {status}"
        except TargetError as error:
            reason = str(error)
        if time.monotonic() >= deadline:
            raise TargetError(f"{address.url} is not ready after {timeout_s:g} s: {reason}")
        time.sleep(0.2)


def version_of(ready: Mapping[str, object]) -> str | None:
    """The bundle version in an answer of `/health/ready`."""
    for name in ("model_version", "version"):
        if isinstance(version := ready.get(name), str):
            return version
    return None
