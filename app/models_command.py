"""`longtail models`: tables for people, JSON for machines; on the store, or through a service."""

from __future__ import annotations

import argparse
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

from app.settings import Settings, clean_token, read_settings
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.errors import ConfigError, RegistryError
from model_store.registry import ModelRecord, Registry
from model_store.store import connect

# Loading and checking a large bundle next to the running one takes a while.
ACTIVATION_TIMEOUT_S = 600


def run(arguments: argparse.Namespace) -> int:
    """Run one of the subcommands and print its result; returns 0.

    Raises:
        LongtailError: it could not be done.
    """
    settings = read_settings()
    why = f"longtail models {arguments.action}"
    if getattr(arguments, "url", None):
        outcome = _through_service(arguments, settings)
    elif settings.redis_url:
        outcome = _on_registry(arguments, Registry(connect(settings.redis_url), why), settings)
    else:
        with EmbeddedStore(settings.store_dir) as store:
            outcome = _on_registry(arguments, Registry(connect(store.url), why), settings)
    if arguments.json:
        print(json.dumps(outcome, ensure_ascii=False, indent=2))
    else:
        print(_readable(arguments.action, outcome))
    return 0


def _on_registry(
    arguments: argparse.Namespace, registry: Registry, settings: Settings
) -> dict[str, Any]:
    if arguments.action == "list":
        active = registry.active()
        models = [_shown(record, active) for record in registry.records()]
        return {"active": active, "models": models}
    if arguments.action == "show":
        return _shown(registry.get(arguments.version), registry.active())
    if arguments.action == "activate":
        record = registry.get(arguments.version)
        # Services check again, with golden requests; here a damaged bundle is rejected at once.
        Bundle.open(record.folder_in(settings.bundles_dir))
        previous = registry.activate(arguments.version)
        return {"active": arguments.version, "previous": previous}
    if arguments.action == "rollback":
        left = registry.active()
        return {"active": registry.rollback(), "previous": left}
    return {"retired": arguments.version, "keys": registry.retire(arguments.version)}


def _through_service(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    token = _admin_token(arguments.token, settings)
    base = f"{_service_url(arguments.url)}/admin/models"
    if arguments.action == "activate":
        return _ask("POST", f"{base}/{quote(arguments.version, safe='')}/activate", token)
    if arguments.action == "rollback":
        return _ask("POST", f"{base}/rollback", token)
    listed = _ask("GET", base, token)
    if arguments.action == "list":
        return listed
    for model in listed["models"]:
        if model["version"] == arguments.version:
            found: dict[str, Any] = model
            return found
    raise RegistryError(f"version {arguments.version!r} is not published")


def _admin_token(given: str | None, settings: Settings) -> SecretStr:
    try:
        token = clean_token(given) if given else settings.admin_token
    except ValueError as error:
        raise ConfigError(f"--token: {error}") from None
    if token is None:
        raise ConfigError("--url needs the admin token: set LONGTAIL_ADMIN_TOKEN or give --token")
    return token


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The token is for the service that was named, and for no other that it may point to."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


def _service_url(given: str) -> str:
    """The URL of a service as given, without a slash at the end.

    Raises:
        ConfigError: it isn't one; what may hold a password is not shown.
    """
    if "@" in given:
        raise ConfigError("--url: has a user or a password; a service knows its token only")
    try:
        parts = urlsplit(given)
        is_usable = bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ConfigError(f"--url {given!r}: {error}") from None
    if parts.scheme not in {"http", "https"}:
        raise ConfigError(f"--url {given!r}: starts with neither http:// nor https://")
    if not is_usable:
        raise ConfigError(f"--url {given!r}: names no host")
    return given.rstrip("/")


def _ask(method: str, url: str, token: SecretStr) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310 - `_service_url` has checked the scheme
        url, method=method, headers={"Authorization": f"Bearer {token.get_secret_value()}"}
    )
    try:
        with _OPENER.open(request, timeout=ACTIVATION_TIMEOUT_S) as response:
            document: dict[str, Any] = json.load(response)
            return document
    except urllib.error.HTTPError as error:
        raise RegistryError(_detail(error)) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = str(getattr(error, "reason", error)).strip() or type(error).__name__
        raise RegistryError(f"{url}: {reason}") from error


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError, http.client.HTTPException):
        return f"{error.url}: {error.code} {error.reason}"


def _shown(record: ModelRecord, active: str | None) -> dict[str, Any]:
    is_active = record.version == active
    return {
        **record.model_dump(),
        "state": "active" if is_active else "published",
        "active": is_active,
    }


def _readable(action: str, outcome: dict[str, Any]) -> str:
    if action == "list":
        rows = [
            (
                "*" if model["active"] else "",
                model["version"],
                model["state"],
                str(model.get("model", "")),
                ", ".join(f"{name} {value:.4g}" for name, value in _main_metrics(model)),
            )
            for model in outcome["models"]
        ]
        return _table(("", "VERSION", "STATE", "MODEL", "METRICS"), rows)
    if action == "show":
        metrics = outcome.pop("metrics")
        fields = [(name, str(value)) for name, value in outcome.items() if value is not None]
        fields += [(f"metrics.{name}", f"{value:.4g}") for name, value in metrics.items()]
        return _table(("FIELD", "VALUE"), fields)
    if action == "retire":
        return f"retired {outcome['retired']}; {outcome['keys']} keys are gone"
    return f"active is {outcome['active']}, before it was {outcome['previous'] or 'none'}"


def _main_metrics(model: dict[str, Any]) -> list[tuple[str, float]]:
    """The few metrics that fit on a line: hit rates and ranks, else the first ones."""
    metrics = {k: v for k, v in model["metrics"].items() if isinstance(v, int | float)}
    main = [(k, v) for k, v in metrics.items() if "ndcg_at_10" in k or "hit_rate_at_10" in k]
    return (main or list(metrics.items()))[:3]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
