"""`longtail evaluate`: a build's figures, and a running service's beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from model_store.bundle import Bundle
from model_store.errors import InputError
from offline.data.interactions import Interactions
from offline.data.split import Split
from offline.evaluate.report import PAGE, REPORT
from offline.evaluate.served import ServedFigures, evaluate_service

DECIMALS = 4
SHOWN = ("hit_rate_at_10", "ndcg_at_10", "mrr_at_10", "coverage_at_10")


def evaluate(build: Path, *, url: str | None, as_json: bool) -> int:
    """Print the figures; 1 if a service's differ from the report's, else 0.

    Raises:
        InputError: the folder holds no finished build, its bundle was refit on the held-out
            interactions, or the service doesn't answer.
    """
    report = _read_report(build)
    model, figures = next(iter(report["models"].items()))
    if url is None:
        print(json.dumps(report["models"]) if as_json else _table(report))
        return 0
    served = _ask_service(build, url)
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
    print(f"{'':16}{'offline ' + model:>16}{'served':>16}")
    for name, (of_report, of_service) in rows.items():
        print(f"{name:16}{of_report:16.4f}{of_service:16.4f}")
    print("equal to four decimals" if equal else "NOT equal to four decimals")
    return 0 if equal else 1


def _read_report(build: Path) -> dict[str, Any]:
    try:
        report: dict[str, Any] = json.loads((build / "evaluate" / REPORT).read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{build}: holds no finished build ({error})") from error
    return report


def _ask_service(build: Path, url: str) -> ServedFigures:
    manifest = Bundle.open(build / "bundle", verify=False).manifest
    if manifest.configuration.get("refit"):
        raise InputError(
            f"{build}: its bundle was refit on the held-out interactions, so asking for them "
            "measures nothing; build without --refit into another folder"
        )
    interactions = Interactions.load(build / "data")
    test = Split.load(build / "data" / "split").test
    return evaluate_service(url, test, interactions.user_ids, interactions.item_ids)


def _as_json(rows: dict[str, tuple[float, float]], served: ServedFigures, *, equal: bool) -> str:
    return json.dumps(
        {
            "offline": {name: offline for name, (offline, _) in rows.items()},
            "served": {name: of_service for name, (_, of_service) in rows.items()},
            "cases": served.n_cases,
            "versions": served.versions,
            "equal": equal,
        }
    )


def _table(report: dict[str, Any]) -> str:
    lines = [f"test users, {report['split']}, full ranking; the whole report is {PAGE}"]
    lines.append(f"{'':14}" + "".join(f"{name:>18}" for name in SHOWN))
    for model, figures in report["models"].items():
        of_all = figures["test"]["all"]
        lines.append(f"{model:14}" + "".join(f"{of_all[name]:18.4f}" for name in SHOWN))
    return "\n".join(lines)
