"""`longtail models`: tables for people, JSON for machines; on the store, or through a service."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any
from urllib.parse import quote

from app.admin_client import admin_token, ask, service_url
from app.canary.bounds import Bounds
from app.canary.verdict import judge_documents
from app.settings import Settings, read_settings
from app.table import table
from model_store import keys
from model_store.bundle import Bundle
from model_store.deployment import Canary, Deployment
from model_store.embedded import EmbeddedStore
from model_store.errors import RegistryError
from model_store.registry import ModelRecord, Registry
from model_store.rollout import Rolled, Rollout
from model_store.store import connect, store_errors
from model_store.store_url import StoreUrl

# What a command changes by how much, as the admin API names it.
_AMOUNTS = {"canary": "percent", "shadow": "share"}


def run(arguments: argparse.Namespace) -> int:
    """Run one of the subcommands and print its result; returns 0.

    Raises:
        LongtailError: it could not be done.
    """
    settings = read_settings()
    if getattr(arguments, "url", None):
        outcome = _through_service(arguments, settings)
    elif settings.redis_url:
        outcome = _on_store(arguments, settings.redis_url, settings)
    else:
        with EmbeddedStore(settings.store_dir) as store:
            outcome = _on_store(arguments, store.url, settings)
    if arguments.json:
        print(json.dumps(outcome, ensure_ascii=False, indent=2))
    else:
        print(_readable(arguments.action, outcome))
    return 0


def _on_store(
    arguments: argparse.Namespace, url: StoreUrl | str, settings: Settings
) -> dict[str, Any]:
    client = connect(url)
    action, why = arguments.action, f"longtail models {arguments.action}"
    registry = Registry(client, why)
    rollout = Rollout(client, settings.bundles_dir, why, _show_progress)
    if action == "list":
        deployment = registry.deployment()
        models = [_shown(record, deployment) for record in registry.records()]
        return {
            "active": deployment.active,
            "models": models,
            "canary": _followed(client, deployment.canary),
        }
    if action == "show":
        return _shown(registry.get(arguments.version), registry.deployment())
    if action == "rollback":
        return _with_canary(rollout.rollback(), registry)
    version: str = arguments.version
    if action == "retire":
        return {"retired": version, "keys": rollout.retire(version)}
    if action == "promote":
        return rollout.promote(version).model_dump()
    record = registry.get(version)
    # Services check again, with golden requests; here a damaged bundle is rejected at once.
    Bundle.open(record.folder_in(settings.bundles_dir))
    if action == "canary":
        percent = rollout.canary(version, arguments.percent, force=arguments.force)
        return {"version": version, "percent": percent}
    if action == "shadow":
        return {"version": version, "share": rollout.shadow(version, arguments.share)}
    if lost := rollout.lost_items(version):
        print(f"longtail models activate: {describe_lost(lost, record)}", file=sys.stderr)
    return _with_canary(rollout.activate(version, force=arguments.force), registry)


def describe_lost(n_lost: int, record: ModelRecord) -> str:
    """What becomes of fresh items that a version can't place, and what can be done."""
    hint = "once it is active, `longtail publish --fresh-items FILE` gives them to it"
    if record.encoder is None:
        hint = "without a text encoder it takes none"
    items = "1 fresh item" if n_lost == 1 else f"{n_lost:,} fresh items"
    return f"{items} of the active version won't be known to {record.version}; {hint}"


def _with_canary(rolled: Rolled, registry: Registry) -> dict[str, Any]:
    """The outcome of a rollout, with the canary that goes on beside it."""
    canary = registry.deployment().canary
    return {**rolled.model_dump(), "canary": canary and canary.version}


def _followed(client: Any, canary: Canary | None) -> dict[str, Any] | None:
    """The canary with the verdict on it, from the counts of all workers."""
    if canary is None:
        return None
    with store_errors():
        documents = client.hvals(keys.outcomes_key(canary.epoch))
    return {**canary.model_dump(), "verdict": judge_documents(documents, Bounds()).to_document()}


def _show_progress(what: str, n_done: int, n_workers: int) -> None:
    if n_workers:
        print(f"{what}: {n_done} of {n_workers} workers", file=sys.stderr, flush=True)


def _through_service(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    token = admin_token(arguments.token, settings)
    base = f"{service_url(arguments.url)}/admin/models"
    action = arguments.action
    deployment_url = f"{service_url(arguments.url)}/admin/deployment"
    if action == "rollback":
        rolled = ask("POST", f"{base}/rollback", token)
        return {**rolled, "canary": _version_of(ask("GET", deployment_url, token)["canary"])}
    if action in {"activate", "canary", "promote", "shadow"}:
        url = f"{base}/{quote(arguments.version, safe='')}/{action}"
        url += "?force=true" if getattr(arguments, "force", False) else ""
        body = None
        if action in _AMOUNTS:
            body = {_AMOUNTS[action]: getattr(arguments, _AMOUNTS[action])}
        outcome = ask("POST", url, token, body)
        if action == "activate":
            outcome["canary"] = _version_of(ask("GET", deployment_url, token)["canary"])
        return outcome
    listed = ask("GET", base, token)
    if action == "list":
        return {**listed, "canary": ask("GET", deployment_url, token)["canary"]}
    for model in listed["models"]:
        if model["version"] == arguments.version:
            found: dict[str, Any] = model
            return found
    raise RegistryError(f"version {arguments.version!r} is not published")


def _version_of(canary: dict[str, Any] | None) -> str | None:
    return canary["version"] if canary else None


def _shown(record: ModelRecord, deployment: Deployment) -> dict[str, Any]:
    is_active, state = record.version == deployment.active, "published"
    if is_active:
        state = "active"
    elif deployment.canary and record.version == deployment.canary.version:
        state = f"canary, {deployment.canary.percent:g} %"
    elif deployment.shadow and record.version == deployment.shadow.version:
        state = f"shadow, {deployment.shadow.share:g} %"
    elif deployment.experiment and record.version in deployment.experiment.versions:
        state = f"in experiment {deployment.experiment.name}"
    return {**record.model_dump(), "state": state, "active": is_active}


def _readable(action: str, outcome: dict[str, Any]) -> str:
    if action == "list":
        rows = [
            (
                "*" if model["active"] else "",
                model["version"],
                model["state"],
                str(model.get("model", "")),
                _megabytes(model.get("memory_bytes")),
                ", ".join(f"{name} {value:.4g}" for name, value in _main_metrics(model)),
            )
            for model in outcome["models"]
        ]
        versions = table(("", "VERSION", "STATE", "MODEL", "MEMORY", "METRICS"), rows)
        return "\n".join([versions, *_describe(outcome["canary"])])
    if action == "show":
        metrics = outcome.pop("metrics")
        fields = [(name, str(value)) for name, value in outcome.items() if value is not None]
        fields += [(f"metrics.{name}", f"{value:.4g}") for name, value in metrics.items()]
        return table(("FIELD", "VALUE"), fields)
    if action == "retire":
        return f"retired {outcome['retired']}; {outcome['keys']} keys are gone"
    if action == "canary":
        if not outcome["percent"]:
            return f"{outcome['version']} is no longer the canary"
        return (
            f"{outcome['version']} answers {outcome['percent']:g} % of the users; "
            f"`longtail models list` shows how it does\n{_ways_on(outcome['version'])}"
        )
    if action == "shadow":
        if not outcome["share"]:
            return f"{outcome['version']} is no longer the shadow"
        return f"{outcome['version']} also answers {outcome['share']:g} % of the requests, unseen"
    lines = [f"active is {outcome['active']}, before it was {outcome['previous'] or 'none'}"]
    if outcome["workers"]:
        lines.append(f"workers that answer with it: {outcome['workers']}")
    items = outcome["fresh_items"]
    if items["carried"] or items["lost"]:
        lines.append(f"fresh items: {items['carried']:,} carried over, {items['lost']:,} lost")
    lines += [f"rules: {warning}" for warning in outcome.get("rule_warnings", ())]
    if canary := outcome.get("canary"):
        lines += [f"the canary {canary} goes on", _ways_on(canary)]
    return "\n".join(lines)


def _describe(canary: dict[str, Any] | None) -> list[str]:
    """What is known of a canary, and what can be done with it."""
    if canary is None:
        return []
    verdict = canary["verdict"]
    share = f"{canary['percent']:g} % of the users"
    return [
        f"canary {canary['version']}, {share}: {verdict['word']}: {verdict['reason']}",
        _ways_on(canary["version"]),
    ]


def _ways_on(canary: str) -> str:
    return (
        f"`longtail models promote {canary}` gives it to all users, "
        f"`longtail models canary {canary} --percent 0` ends it"
    )


def _megabytes(size_bytes: int | None) -> str:
    return "" if size_bytes is None else f"{size_bytes / 1e6:,.0f} MB"


def _main_metrics(model: dict[str, Any]) -> list[tuple[str, float]]:
    """The few metrics that fit on a line: hit rates and ranks, else the first ones."""
    metrics = {k: v for k, v in model["metrics"].items() if isinstance(v, int | float)}
    metrics = {k: v for k, v in metrics.items() if not k.endswith("_standard_error")}
    main = [(k, v) for k, v in metrics.items() if "ndcg_at_10" in k or "hit_rate_at_10" in k]
    return (main or list(metrics.items()))[:3]
