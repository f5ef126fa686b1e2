"""Evaluation of a rating bundle: its report, and `POST /ratings` for every held-out rating."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from model_store.bundle import Bundle
from model_store.errors import InputError
from model_store.held_out import HeldOutRatings
from model_store.redaction import redacted
from offline.evaluate.served import ask, check_held_out, connect, name_fields
from offline.progress import track
from offline.rating.figures import RatingFigures

DECIMALS = 4
MAX_RATED = 1_000
"""Items of a request."""


@dataclass(frozen=True)
class ServedRatings:
    """The figures of a service, and the versions that answered."""

    figures: RatingFigures
    versions: tuple[str, ...]


def evaluate_ratings(
    bundle: Bundle, url: str | None, *, model: str, rps: float | None, as_json: bool
) -> int:
    """Print the figures of a bundle of kind rating; returns 1 if a service's differ, else 0.

    Args:
        bundle: of that kind.
        url: of a running service; None: the report's figures alone.
        model: name under which the version is active there.
        rps: requests a second to the service, at most; None: one after another.
        as_json: for machines.

    Raises:
        InputError: the bundle was refit on the held-out ratings or holds none of them, or the
            service doesn't answer.
    """
    report = bundle.report()
    if url is None:
        print(json.dumps(report["models"]) if as_json else _table(report))
        return 0
    check_held_out(bundle)
    held_out = HeldOutRatings.of(bundle)
    if held_out is None:
        raise InputError(f"{bundle.folder}: holds no held-out ratings to ask for; build it again")
    network, figures = next(iter(report["models"].items()))
    offline = figures["test"]["all"]
    served = ask_for_ratings(url, held_out, bundle, model=model, rps=rps)
    rows = {
        "rmse": (offline["rmse"], served.figures.rmse),
        "mae": (offline["mae"], served.figures.mae),
    }
    equal = all(round(a, DECIMALS) == round(b, DECIMALS) for a, b in rows.values())
    if as_json:
        print(json.dumps({
            "offline": {name: of_report for name, (of_report, _) in rows.items()},
            "served": {name: of_service for name, (_, of_service) in rows.items()},
            "ratings": served.figures.n,
            "versions": served.versions,
            "equal": equal,
        }))  # fmt: skip
        return 0 if equal else 1
    print(f"{served.figures.n} test ratings, versions that answered: {', '.join(served.versions)}")
    print(f"{'':16}{'offline ' + network:>16}{'served':>16}")
    for name, (of_report, of_service) in rows.items():
        print(f"{name:16}{of_report:16.4f}{of_service:16.4f}")
    print("equal to four decimals" if equal else "NOT equal to four decimals")
    return 0 if equal else 1


def ask_for_ratings(
    url: str, held_out: HeldOutRatings, bundle: Bundle, *, model: str, rps: float | None = None
) -> ServedRatings:
    """RMSE and MAE of a service on ratings; each user is asked for by id, without a history.

    Args:
        url: of the service.
        held_out: the ratings.
        bundle: says which users and items they are of.
        model: name under which the version is active.
        rps: requests a second, at most; None: one as soon as the one before is answered.

    Raises:
        InputError: the service can't be reached, or answers a request with an error.
    """
    user_ids, item_ids = bundle.histories().user_ids, bundle.item_ids
    predicted = np.full(len(held_out), np.nan, np.float32)
    versions: set[str] = set()
    places = _requests(held_out)
    with connect(url) as client:
        started_s = time.monotonic()
        for n, own in enumerate(track(places, f"asking {redacted(url)}", unit="requests")):
            if rps is not None:
                time.sleep(max(0.0, started_s + n / rps - time.monotonic()))
            asked = {
                "user_id": user_ids[int(held_out.users[own[0]]) - 1],
                "item_ids": [item_ids.id_of(int(held_out.items[place])) for place in own],
                **name_fields(model),
            }
            answer = ask(client, "/ratings", asked)
            versions.add(answer["model_version"])
            predicted[list(own)] = [one["rating"] for one in answer["ratings"]]
    return ServedRatings(RatingFigures.of(predicted, held_out.values), tuple(sorted(versions)))


def _requests(held_out: HeldOutRatings) -> list[tuple[int, ...]]:
    """Positions of the ratings that are asked for together: some of one user."""
    order = np.argsort(held_out.users, kind="stable")
    starts = np.flatnonzero(np.diff(held_out.users[order], prepend=-1))
    users = np.split(order, starts[1:])
    return [
        tuple(own[start : start + MAX_RATED].tolist())
        for own in users
        for start in range(0, len(own), MAX_RATED)
    ]


def _table(report: dict[str, Any]) -> str:
    lines = [f"test ratings, {report['split']}", f"{'':18}{'rmse':>10}{'mae':>10}"]
    for model, figures in report["models"].items():
        of_all = figures["test"]["all"]
        lines.append(f"{model:18}{of_all['rmse']:10.4f}{of_all['mae']:10.4f}")
    return "\n".join(lines)
