"""`longtail models`: tables for people, JSON for machines; on the store, or through a service."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from itertools import chain
from typing import Any
from urllib.parse import quote, urlencode

from pydantic import SecretStr

from app.admin_client import admin_token, asks_service
from app.canary.bounds import Bounds
from app.canary.verdict import judge_documents
from app.settings import Settings, read_settings
from app.table import table
from model_store import keys
from model_store.admin_api import ask, service_url
from model_store.bundle import Bundle
from model_store.deployment import Canary, Deployment
from model_store.deployments import DEFAULT, Deployments
from model_store.embedded import EmbeddedStore
from model_store.errors import RegistryError
from model_store.model_record import ModelRecord
from model_store.registry import Registry
from model_store.remote_bundles import RemoteBundles
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
    if asks_service(arguments):
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
    model = getattr(arguments, "model", DEFAULT)
    registry = Registry(client, why, model=model)
    rollout = Rollout(client, settings.bundles_dir, why, _show_progress, model=model)
    if action == "list":
        deployments = registry.deployments()
        return {
            "active": deployments.default.active,
            "models": [_shown(record, deployments) for record in registry.records()],
            "canary": _followed(client, deployments.default.canary),
            "names": {
                name: {"active": record.active, "canary": _followed(client, record.canary)}
                for name, record in deployments
                if name in deployments.names
            },
        }
    if action == "show":
        return _shown(registry.get(arguments.version), registry.deployments())
    if action == "deactivate":
        return {"model": model, "previous": rollout.deactivate()}
    if action == "rollback":
        return _with_canary(rollout.rollback(), registry)
    version: str = arguments.version
    if action == "retire":
        return {"retired": version, "keys": rollout.retire(version)}
    if action == "promote":
        return rollout.promote(version).model_dump()
    record = registry.get(version)
    _check_bundle(record, settings)
    if action == "canary":
        percent = rollout.canary(version, arguments.percent, force=arguments.force)
        return {"version": version, "percent": percent, "model": model}
    if action == "shadow":
        return {"version": version, "share": rollout.shadow(version, arguments.share)}
    if lost := rollout.lost_items(version):
        print(f"longtail models activate: {describe_lost(lost, record)}", file=sys.stderr)
    return _with_canary(rollout.activate(version, force=arguments.force), registry)


def _check_bundle(record: ModelRecord, settings: Settings) -> None:
    """Reject a damaged bundle at once; services check again, with golden requests.

    Of one at a URL that is what can be seen without downloading it.

    Raises:
        BundleError: it is damaged, or isn't signed as asked.
    """
    bundles = settings.bundles_dir
    if isinstance(bundles, RemoteBundles):
        bundles.check(record.version)
    else:
        Bundle.open(record.folder_in(bundles, ()), trust=settings.trust)


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
    base, action = f"{service_url(arguments.url)}/admin", arguments.action
    if action == "list":
        return _listed(base, token)
    if action == "show":
        return _find(arguments.version, ask("GET", f"{base}/models", token)["models"])
    # A service of a release before names knows no such parameter.
    is_named = arguments.model != DEFAULT or action == "deactivate"
    query = {"model": arguments.model} if is_named else {}
    path = action if "version" not in arguments else f"{quote(arguments.version, safe='')}/{action}"
    force = {"force": "true"} if getattr(arguments, "force", False) else {}
    body = {_AMOUNTS[action]: getattr(arguments, _AMOUNTS[action])} if action in _AMOUNTS else None
    outcome = ask("POST", f"{base}/models/{path}{_encoded(query | force)}", token, body)
    outcome.setdefault("model", arguments.model)
    if action in {"activate", "rollback"}:
        canary = ask("GET", f"{base}/deployment{_encoded(query)}", token)["canary"]
        outcome["canary"] = canary["version"] if canary else None
    return outcome


def _listed(base: str, token: SecretStr) -> dict[str, Any]:
    """All versions, and the active one and the canary of each name."""
    names = [one["model"] for one in ask("GET", f"{base}/deployment", token)["names"]]
    shown = {}
    for name in names:
        found = ask("GET", f"{base}/deployment{_encoded({'model': name})}", token)
        shown[name] = {"active": found["active"], "canary": found["canary"]}
    listed = ask("GET", f"{base}/models", token)
    return {**listed, "canary": shown[DEFAULT]["canary"], "names": shown}


def _encoded(query: Mapping[str, str]) -> str:
    return f"?{urlencode(query)}" if query else ""


def _find(version: str, models: list[dict[str, Any]]) -> dict[str, Any]:
    for model in models:
        if model["version"] == version:
            return model
    raise RegistryError(f"version {version!r} is not published")


def _shown(record: ModelRecord, deployments: Deployments) -> dict[str, Any]:
    roles = [
        role if name == DEFAULT else f"{role} as {name}"
        for name, deployment in deployments
        if (role := _role_in(deployment, record.version))
    ]
    return {
        **record.model_dump(),
        "state": "; ".join(roles) or "published",
        "active": record.version == deployments.default.active,
        "names": deployments.names_of(record.version),
    }


def _role_in(deployment: Deployment, version: str) -> str | None:
    """What a version is by one record; None: nothing."""
    if version == deployment.active:
        return "active"
    if deployment.canary and version == deployment.canary.version:
        return f"canary, {deployment.canary.percent:g} %"
    if deployment.shadow and version == deployment.shadow.version:
        return f"shadow, {deployment.shadow.share:g} %"
    if deployment.experiment and version in deployment.experiment.versions:
        return f"in experiment {deployment.experiment.name}"
    return None


def _readable(action: str, outcome: dict[str, Any]) -> str:
    if action == "list":
        rows = [
            (
                "*" if model["names"] else "",
                model["version"],
                model["state"],
                str(model.get("model", "")),
                _megabytes(model.get("memory_bytes")),
                ", ".join(f"{name} {value:.4g}" for name, value in _main_metrics(model)),
            )
            for model in outcome["models"]
        ]
        versions = table(("", "VERSION", "STATE", "MODEL", "MEMORY", "METRICS"), rows)
        canaries = [_describe(one["canary"], name) for name, one in outcome["names"].items()]
        return "\n".join([versions, *chain.from_iterable(canaries)])
    if action == "show":
        metrics, names = outcome.pop("metrics"), ", ".join(outcome.pop("names"))
        fields = [(name, str(value)) for name, value in outcome.items() if value is not None]
        fields += [("names", names)] if names else []
        fields += [(f"metrics.{name}", f"{value:.4g}") for name, value in metrics.items()]
        return table(("FIELD", "VALUE"), fields)
    if action == "retire":
        return f"retired {outcome['retired']}; {outcome['keys']} keys are gone"
    if action == "deactivate":
        return (
            f"the name {outcome['model']} answers no more, before it was {outcome['previous']}; "
            f"`longtail models rollback --model {outcome['model']}` brings it back"
        )
    if action == "canary":
        if not outcome["percent"]:
            return f"{outcome['version']} is no longer the canary"
        ways_on = _ways_on(outcome["version"], outcome["model"])
        return (
            f"{outcome['version']} answers {outcome['percent']:g} % of the users; "
            f"`longtail models list` shows how it does\n{ways_on}"
        )
    if action == "shadow":
        if not outcome["share"]:
            return f"{outcome['version']} is no longer the shadow"
        return f"{outcome['version']} also answers {outcome['share']:g} % of the requests, unseen"
    under = "" if outcome["model"] == DEFAULT else f" under the name {outcome['model']}"
    before = outcome["previous"] or "none"
    lines = [f"active{under} is {outcome['active']}, before it was {before}"]
    if outcome["workers"]:
        lines.append(f"workers that answer with it: {outcome['workers']}")
    items = outcome["fresh_items"]
    if items["carried"] or items["lost"]:
        lines.append(f"fresh items: {items['carried']:,} carried over, {items['lost']:,} lost")
    lines += [f"rules: {warning}" for warning in outcome.get("rule_warnings", ())]
    if canary := outcome.get("canary"):
        lines += [f"the canary {canary} goes on", _ways_on(canary, outcome["model"])]
    return "\n".join(lines)


def _describe(canary: dict[str, Any] | None, model: str) -> list[str]:
    """What is known of a canary, and what can be done with it."""
    if canary is None:
        return []
    verdict = canary["verdict"]
    share = f"{canary['percent']:g} % of the users"
    share += "" if model == DEFAULT else f" as {model}"
    return [
        f"canary {canary['version']}, {share}: {verdict['word']}: {verdict['reason']}",
        _ways_on(canary["version"], model),
    ]


def _ways_on(canary: str, model: str) -> str:
    under = "" if model == DEFAULT else f" --model {model}"
    return (
        f"`longtail models promote {canary}{under}` gives it to all users, "
        f"`longtail models canary {canary} --percent 0{under}` ends it"
    )


def _megabytes(size_bytes: int | None) -> str:
    return "" if size_bytes is None else f"{size_bytes / 1e6:,.0f} MB"


def _main_metrics(model: dict[str, Any]) -> list[tuple[str, float]]:
    """The few metrics that fit on a line: hit rates and ranks, else the first ones."""
    metrics = {k: v for k, v in model["metrics"].items() if isinstance(v, int | float)}
    metrics = {k: v for k, v in metrics.items() if not k.endswith("_standard_error")}
    main = [(k, v) for k, v in metrics.items() if "ndcg_at_10" in k or "hit_rate_at_10" in k]
    return (main or list(metrics.items()))[:3]
