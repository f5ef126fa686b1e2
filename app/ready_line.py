"""The line that `longtail serve` prints when the service answers, with a call that works."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import shlex
import threading
from collections.abc import Callable, Iterator
from typing import Any

from app.settings import Settings
from model_store.bundle import Bundle
from model_store.errors import BundleError
from model_store.remote_bundles import local_folder

log = logging.getLogger(__name__)

POLL_S = 0.05
TIMEOUT_S = 5.0


@contextlib.contextmanager
def announced_when_ready(settings: Settings, is_ready: Callable[[], bool]) -> Iterator[None]:
    """Print one line when the service answers, from a thread that ends with this context.

    Args:
        settings: of the service.
        is_ready: whether the service can be asked.
    """
    ended = threading.Event()
    thread = threading.Thread(
        target=_announce, args=(settings, is_ready, ended), daemon=True, name="ready"
    )
    thread.start()
    try:
        yield
    finally:
        ended.set()


def _announce(settings: Settings, is_ready: Callable[[], bool], ended: threading.Event) -> None:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    told = None
    while not ended.wait(POLL_S):
        answer = _ask(host, settings.port)
        if answer is None:
            continue
        status, document = answer
        if status == 200 and is_ready():
            shown = f"[{host}]" if ":" in host else host
            address = f"http://{shown}:{settings.port}"
            print(_ready_line(address, document, settings), flush=True)
            return
        detail = document.get("detail")
        if detail and detail != told:
            told = detail
            log.info("not ready: %s", detail)


def _ask(host: str, port: int) -> tuple[int, dict[str, Any]] | None:
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/health/ready")
        response = connection.getresponse()
        document = json.loads(response.read())
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return (response.status, document) if isinstance(document, dict) else None


def _ready_line(address: str, ready: dict[str, Any], settings: Settings) -> str:
    """The version, the console, and a command that works with the version's items."""
    asked: dict[str, object] = {"interests": "something new", "k": 10}
    try:
        bundle = Bundle.open(
            local_folder(settings.bundles_dir) / str(ready["version"]), verify=False
        )
        user_id = next((user_id for user_id, _ in bundle.users()), None)
        if user_id is not None:
            asked = {"user_id": user_id, "k": 10}
        if "title" in bundle.attributes.names:
            asked["fields"] = ["title"]
    except BundleError:
        pass
    body = shlex.quote(json.dumps(asked, ensure_ascii=False))
    return (
        f"Longtail is ready (version {ready['version']}, {ready['items']} items), "
        f"console: {address}/console, try: "
        f"curl -s {address}/recommend -H 'Content-Type: application/json' -d {body}"
    )
