"""`longtail evaluate --logged`: clicks per exposure, and what another bundle would have got."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from model_store.bundle import Bundle
from model_store.errors import ConfigError, InputError
from model_store.event_rules import DEFAULT_EVENTS
from offline.logged.answers import positive, read_answers, read_events
from offline.logged.click_model import fit_clicks
from offline.logged.estimates import Estimate, estimates_of
from offline.logged.explored import explored_of
from offline.logged.page import show_estimates, show_rates
from offline.logged.rates import Rate, click_rates, segments_of
from offline.logged.target import Target
from offline.progress import Progress


def evaluate_logged(
    events_folder: Path,
    exposures_folder: Path,
    bundle_folder: Path | None,
    *,
    temperature: float = 0.0,
    as_json: bool = False,
) -> int:
    """Print clicks per exposure and, for a bundle, estimates of those that it would have got.

    Args:
        events_folder: of the archive of events.
        exposures_folder: of the archive of exposures.
        bundle_folder: whose clicks per exposure are estimated; None: none are.
        temperature: of the bundle's policy: 0 for its ranking, above 0 for rankings drawn by its
            scores.
        as_json: for machines.

    Returns:
        0; 1 where a bundle is given and no estimate can be told.

    Raises:
        InputError: an archive has nothing, or nothing that was drawn after the bundle's data.
        ConfigError: the temperature is below 0 or given without a bundle, or the bundle predicts
            ratings.
        BundleError: there is no such bundle.
    """
    if not (math.isfinite(temperature) and temperature >= 0):
        raise ConfigError(f"--temperature {temperature:g}: expected 0 or more")
    if temperature and bundle_folder is None:
        raise ConfigError("--temperature is of a bundle's policy; name one with --bundle")
    bundle = None if bundle_folder is None else Bundle.open(bundle_folder, verify=False)
    if bundle is not None and bundle.manifest.kind == "rating":
        raise ConfigError(f"--bundle {bundle_folder}: predicts ratings, and is no ranking policy")
    rules = (DEFAULT_EVENTS if bundle is None else bundle.manifest.events).rules
    events = read_events(events_folder)
    answers = read_answers(exposures_folder, events, rules)
    before = _known_before(answers, positive(events, rules), bundle)
    rates = click_rates(answers, segments_of(answers, before))
    estimates: list[Estimate] = []
    if bundle is not None:
        estimates = _estimates(bundle, answers, events, exposures_folder, temperature)
    if as_json:
        print(json.dumps(_document(rates, estimates), allow_nan=False))
    else:
        print(show_rates(rates))
        if bundle is not None:
            print(f"\n{show_estimates(bundle.version, temperature, estimates)}")
    return int(bundle is not None and not any(one.values for one in estimates))


def _known_before(
    answers: pl.DataFrame, liked: pl.DataFrame, bundle: Bundle | None
) -> pl.DataFrame:
    """How many positive events each user had before the first answer; see `segments_of`.

    A bundle may have been built on some of the archive, so the larger of both numbers counts.
    """
    first = answers.group_by("user_id").agg(first_s=pl.col("timestamp").min())
    counts = (
        liked.join(first, on="user_id")
        .filter(pl.col("arrived_us") < pl.col("first_s") * 1e6)
        .group_by("user_id")
        .agg(n=pl.len().cast(pl.Int64))
    )
    if bundle is None:
        return counts
    first_s: dict[str, float] = dict(first.iter_rows())
    own = [
        (user, int(known.timestamps.searchsorted(first_s[user])))
        for user, known in bundle.users()
        if user in first_s
    ]
    schema = {"user_id": pl.String, "n": pl.Int64}
    both = pl.concat([counts, pl.DataFrame(own, schema=schema, orient="row")])
    return both.group_by("user_id").agg(pl.col("n").max())


def _estimates(
    bundle: Bundle,
    answers: pl.DataFrame,
    events: pl.DataFrame,
    exposures_folder: Path,
    temperature: float,
) -> list[Estimate]:
    newest_s = float(max(bundle.histories().timestamps, default=0.0))
    later = answers.filter(pl.col("timestamp") > newest_s)
    drawn = [int((rows["log_propensities"].list.len() > 0).sum() or 0) for rows in (answers, later)]
    if not drawn[1]:
        which = " that are newer than the bundle's data" if drawn[0] else ""
        raise InputError(
            f"{exposures_folder}: of {len(answers):,} answers none{which} were drawn with logged "
            f"propensities, so that nothing can be told about {bundle.folder}"
        )
    explored = explored_of(later, bundle.item_ids)
    clicks = fit_clicks(explored, len(bundle.item_ids))
    target = Target(bundle, events, temperature)
    with Progress("ranking for the logged answers", len(explored), "answer") as progress:
        behaviour = target.behave(explored, clicks.multipliers, progress.advance)
    return estimates_of(explored, behaviour, clicks)


def _document(rates: list[Rate], estimates: list[Estimate]) -> dict[str, Any]:
    return {
        "clicks_per_exposure": [_without_nan(asdict(one)) for one in rates],
        "estimates": [_without_nan(asdict(one)) for one in estimates],
    }


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
