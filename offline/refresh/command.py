"""`longtail refresh`: once, or again and again."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from pydantic import SecretStr

from model_store.admin_api import clean_token, service_url
from model_store.deployments import DEFAULT
from model_store.embedded import running_store
from model_store.errors import ConfigError, LongtailError
from model_store.publication import bundles_folder
from model_store.store import connect
from model_store.store_url import store_url_from
from offline.refresh.choices import Choices
from offline.refresh.refresh import Refresh
from offline.refresh.retirement import published_by, retire_older
from offline.refresh.trials import Service
from offline.stages.stage import Log

TOKEN = "LONGTAIL_ADMIN_TOKEN"  # noqa: S105 - the name of a variable
RETRY_S = 300.0


def service_of(url: str | None, token: str | None, model: str = DEFAULT) -> Service | None:
    """The service of the flags; None where none is named.

    Args:
        url: of a running service.
        token: the admin token, or blank.
        model: name under which versions are tried.

    Raises:
        ConfigError: there is no usable token or URL.
    """
    if url is None:
        return None
    return Service(service_url(url), _usable(token), model)


def _usable(token: str | None) -> SecretStr:
    try:
        cleaned = clean_token(token or "")
    except ValueError as error:
        raise ConfigError(f"{TOKEN}: {error}") from None
    if cleaned is None:
        raise ConfigError(f"--url needs the admin token: set {TOKEN} or give --token")
    return cleaned


def _retire(choices: Choices, log: Log) -> None:
    if choices.keep is not None:
        with running_store(store_url_from()) as url:
            versions = published_by(choices.root / "runs")
            retire_older(versions, choices.keep, connect(url), bundles_folder(), log)


def refresh(
    choices: Choices,
    *,
    every_s: float | None,
    log: Log,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Refresh once, or again and again until the process is ended.

    Args:
        choices: what, by which test, how far.
        every_s: from one beginning to the next; None: once.
        log: called with lines of progress.
        sleep: waits so many seconds.

    Raises:
        ConfigError: the choices can't be used.
        LongtailError: it can't be done now; where it is repeated, that is printed, and tried again.
    """
    choices.check()
    while True:
        started_s = time.monotonic()
        try:
            Refresh(choices, log).run()
            _retire(choices, log)
        except ConfigError:
            raise
        except LongtailError as error:
            if every_s is None:
                raise
            wait_s = min(every_s, RETRY_S)
            print(f"longtail refresh: {error}; trying again in {wait_s:g} s", file=sys.stderr)
        else:
            if every_s is None:
                return
            wait_s = max(0.0, every_s - (time.monotonic() - started_s))
        sys.stderr.flush()
        sleep(wait_s)
