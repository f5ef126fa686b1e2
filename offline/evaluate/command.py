"""`longtail evaluate`: a bundle's figures, compared with those of a running service."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from model_store.bundle import Bundle
from model_store.deployments import DEFAULT
from model_store.embedded import running_store
from model_store.errors import ConfigError, InputError
from model_store.publication import bundles_folder
from model_store.registry import Registry
from model_store.remote_bundles import find_bundle
from model_store.store import connect
from model_store.store_url import store_url_from
from offline.data.interactions import Interactions
from offline.data.split import SPLITS, Cases
from offline.evaluate.reranked import as_rows, describe, evaluate_reranked
from offline.evaluate.served import (
    ServedFigures,
    check_held_out,
    evaluate_service,
    served_version,
)
from offline.evaluate.served_ratings import evaluate_ratings
from offline.evaluate.verdict import describe_repeats, share_of_repeats, weaknesses

DECIMALS = 4
SHOWN = ("hit_rate_at_10", "ndcg_at_10", "mrr_at_10", "coverage_at_10")


def evaluate(
    bundle_folder: Path | None,
    *,
    url: str | None,
    as_json: bool,
    model: str = DEFAULT,
    rerank: bool = False,
    rps: float | None = None,
) -> int:
    """Print the figures; returns 1 if a service's differ from the report's, else 0.

    Args:
        bundle_folder: the bundle; None for the one that the service at `url` serves or, without
            `url`, for the active version.
        url: of a running service.
        as_json: for machines.
        model: name under which the version is active, in all requests.
        rerank: ask the service for tail users with reranking; nothing is compared then.
        rps: requests a second to the service, at most; None: one after another.

    Raises:
        BundleError: there is no such bundle.
        ConfigError: `rerank` or `rps` without a service, `rps` is not above 0, `rerank` of a bundle
            that predicts ratings, or of another name, or a name for a bundle that is given.
        InputError: the bundle was refit on the held-out interactions, or the service doesn't
            answer, or no version is active.
    """
    if rps is not None and (url is None or not 0 < rps < math.inf):
        wrong = "needs --url" if url is None else "expected a number above 0"
        raise ConfigError(f"--rps {rps:g}: {wrong}")
    if model != DEFAULT and bundle_folder is not None and url is None:
        raise ConfigError(f"--model {model}: goes with --url, or without --bundle")
    bundle = Bundle.open(bundle_folder or _served_bundle(url, model), verify=False)
    if rerank and (model != DEFAULT or bundle.manifest.kind == "rating"):
        raise ConfigError("--rerank measures the default's recommendations alone")
    if bundle.manifest.kind == "rating":
        return evaluate_ratings(bundle, url, model=model, rps=rps, as_json=as_json)
    report = bundle.report()
    network, figures = next(iter(report["models"].items()))
    if rerank:
        return _print_reranked(bundle, url, rps, as_json=as_json)
    if url is None:
        print(json.dumps(report["models"]) if as_json else _show(report))
        return 0
    served = _ask_service(bundle, url, model, rps)
    offline = figures["test"]["all"]
    rows = {
        "hit_rate_at_10": (offline["hit_rate_at_10"], served.hit_rate),
        "ndcg_at_10": (offline["ndcg_at_10"], served.ndcg),
    }
    equal = all(round(a, DECIMALS) == round(b, DECIMALS) for a, b in rows.values())
    if as_json:
        print(_as_json(rows, served, equal=equal))
        return 0 if equal else 1
    print(f"{served.n_cases} test users, versions that answered: {', '.join(served.versions)}")
    print(f"{'':16}{'offline ' + network:>16}{'served':>16}")
    for name, (of_report, of_service) in rows.items():
        print(f"{name:16}{of_report:16.4f}{of_service:16.4f}")
    _print_notes(report, served)
    print("equal to four decimals" if equal else "NOT equal to four decimals")
    return 0 if equal else 1


def _print_notes(report: dict[str, Any], served: ServedFigures) -> None:
    """What a reader has to know about the cases, where there is something to know."""
    if repeats := share_of_repeats(report):
        print(describe_repeats(repeats))
    if served.n_cut:
        print(
            f"{served.n_cut} users have more interactions than a request holds: they were asked "
            "for with the newest ones"
        )


def _print_reranked(bundle: Bundle, url: str | None, rps: float | None, *, as_json: bool) -> int:
    if url is None:
        raise ConfigError("--rerank needs --url: reranking is measured through a service")
    interactions, test = _test_cases(bundle)
    passes = evaluate_reranked(url, test, interactions.user_ids, interactions.item_ids, rps=rps)
    print(json.dumps(as_rows(passes)) if as_json else describe(passes))
    return 0


def _served_bundle(url: str | None, model: str) -> Path:
    if url is not None:
        return find_bundle(bundles_folder(), served_version(url, model), None)
    with running_store(store_url_from()) as store_url:
        registry = Registry(connect(store_url), model=model)
        version, used = registry.active(), registry.deployments().versions
    if version is None:
        raise InputError("no version is active; name a bundle with --bundle")
    return find_bundle(bundles_folder(), version, used)


def _ask_service(bundle: Bundle, url: str, model: str, rps: float | None) -> ServedFigures:
    interactions, test = _test_cases(bundle)
    user_ids, item_ids = interactions.user_ids, interactions.item_ids
    return evaluate_service(url, test, user_ids, item_ids, model=model, rps=rps)


def _test_cases(bundle: Bundle) -> tuple[Interactions, Cases]:
    """The bundle's interactions, and the test cases that were held out from them.

    Raises:
        InputError: the bundle was refit on them.
    """
    check_held_out(bundle)
    histories = bundle.histories()
    interactions = Interactions(
        histories.user_ids,
        bundle.item_ids,
        histories.offsets,
        histories.items,
        histories.timestamps,
        ratings=None,
    )
    return interactions, SPLITS[bundle.manifest.configuration["split"]](interactions).test


def _as_json(rows: dict[str, tuple[float, float]], served: ServedFigures, *, equal: bool) -> str:
    return json.dumps(
        {
            "offline": {name: offline for name, (offline, _) in rows.items()},
            "served": {name: of_service for name, (_, of_service) in rows.items()},
            "cases": served.n_cases,
            "cases_with_cut_history": served.n_cut,
            "versions": served.versions,
            "equal": equal,
        }
    )


def _show(report: dict[str, Any]) -> str:
    """The table of a report, the share of repeats if there are any, and weaknesses."""
    repeats = share_of_repeats(report)
    notes = [describe_repeats(repeats)] if repeats else []
    warnings = [f"WARNING: {weakness}" for weakness in weaknesses(report)]
    return "\n".join([_table(report), *notes, *warnings])


def _table(report: dict[str, Any]) -> str:
    lines = [f"test users, {report['split']}, full ranking, ties against the model"]
    lines.append(f"{'':14}" + "".join(f"{name:>18}" for name in SHOWN))
    for model, figures in report["models"].items():
        of_all = figures["test"]["all"]
        lines.append(f"{model:14}" + "".join(f"{of_all[name]:18.4f}" for name in SHOWN))
    return "\n".join(lines)
