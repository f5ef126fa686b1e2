"""`longtail experiments`: on the store, or through a service."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from pydantic import ValidationError

from app.admin_client import admin_token, asks_service, read_answer
from app.experiments.report import ExperimentReport, Figures, report_on
from app.settings import Settings, read_settings
from app.store.experiment_store import moments_of, version_commands, version_counts_of
from app.table import table
from model_store.admin_api import ask, service_url
from model_store.deployment import now
from model_store.deployments import DEFAULT
from model_store.embedded import EmbeddedStore
from model_store.errors import ConfigError
from model_store.experiment import ANSWERED, Arm, Experiment, RequestDefaults
from model_store.experiment_counts import Command, Scope
from model_store.experiment_sums import read_commands, shards_commands, shards_of
from model_store.registry import Registry
from model_store.rollout import Rollout
from model_store.store import connect, store_errors
from model_store.store_url import StoreUrl
from model_store.suggestion import did_you_mean


def run(arguments: argparse.Namespace) -> int:
    """Run one of the subcommands and print its result; returns 0.

    Raises:
        LongtailError: it could not be done.
    """
    settings = read_settings()
    experiment = _new(arguments) if arguments.action == "start" else None
    if asks_service(arguments):
        outcome = _through_service(arguments, experiment, settings)
    elif settings.redis_url:
        outcome = _on_store(arguments, experiment, settings.redis_url, settings)
    else:
        with EmbeddedStore(settings.store_dir) as store:
            outcome = _on_store(arguments, experiment, store.url, settings)
    if arguments.json:
        print(json.dumps(outcome, ensure_ascii=False, indent=2))
    else:
        print(_readable(arguments.action, outcome))
    return 0


# --- what is asked for ---------------------------------------------------------------------


def _new(arguments: argparse.Namespace) -> Experiment:
    arms = tuple(map(parse_arm, arguments.arm))
    name = arguments.name
    try:
        return Experiment(name=name, salt=arguments.salt or name, since=now(), arms=arms)
    except ValidationError as error:
        raise ConfigError(_first_fault(error)) from None


def parse_arm(text: str) -> Arm:
    """An arm as it is typed: NAME=SHARE, then `version=` and fields of requests, by commas.

    Raises:
        ConfigError: it isn't one; the message names what is wrong and what was meant.
    """
    first, *others = text.split(",")
    name, _, share = first.partition("=")
    version, defaults = None, {}
    for part in others:
        field, _, value = part.partition("=")
        if field == "version":
            version = value
        elif field in RequestDefaults.model_fields:
            defaults[field] = value
        else:
            known = ["version", *RequestDefaults.model_fields]
            hint = did_you_mean(field, known) or f" (known: {', '.join(known)})"
            raise ConfigError(f"--arm {text!r}: unknown field {field!r}{hint}")
    try:
        number = float(share.removesuffix("%"))
    except ValueError:
        raise ConfigError(f"--arm {text!r}: begins with no NAME=SHARE, as in control=50") from None
    try:
        return Arm(
            name=name,
            share=number,
            version=version,
            defaults=RequestDefaults.model_validate_strings(defaults, strict=False),
        )
    except ValidationError as error:
        raise ConfigError(f"--arm {text!r}: {_first_fault(error)}") from None


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False)[0]
    field = ".".join(map(str, fault["loc"]))
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "string_pattern_mismatch":  # of a name; a pattern is for machines
        message = f"{fault['input']!r} is not 1 to 64 of A-Z a-z 0-9 . _ -, or begins with . _ -"
    return f"{field}: {message}" if field else message


# --- who is asked ---------------------------------------------------------------------------


def _on_store(
    arguments: argparse.Namespace,
    experiment: Experiment | None,
    url: StoreUrl | str,
    settings: Settings,
) -> dict[str, Any]:
    client: Any = connect(url)
    why = f"longtail experiments {arguments.action}"

    def rollout(model: str) -> Rollout:
        return Rollout(client, settings.bundles_dir, why, _show_progress, model=model)

    if experiment is not None:
        started = rollout(arguments.model).start_experiment(experiment, force=arguments.force)
        return started.model_dump()
    registry = Registry(client, why)
    if arguments.action == "stop":
        model = registry.deployments().model_of(arguments.name)
        rollout(model).stop_experiment(arguments.name)
    deployments = registry.deployments()
    if arguments.name is None:
        return {"experiments": [one.model_dump() for one in deployments.kept_experiments]}
    found = deployments.find_experiment(arguments.name)
    names, scope = [arm.name for arm in found.arms], Scope(found.name)
    counted = moments_of(names, _read(client, read_commands(found.name, names)))
    shards = shards_of(scope, _read(client, shards_commands(found.name)))
    replies = _read(client, version_commands(scope, names, shards))
    by_version = version_counts_of(names, shards, replies)
    return report_on(found, counted, by_version.moments).model_dump()


def _read(client: Any, commands: Sequence[Command]) -> list[Any]:
    with store_errors(), client.pipeline(transaction=False) as pipe:
        for command in commands:
            pipe.execute_command(*command)
        found: list[Any] = pipe.execute()
        return found


def _show_progress(what: str, n_done: int, n_workers: int) -> None:
    if n_workers:
        print(f"{what}: {n_done} of {n_workers} workers", file=sys.stderr, flush=True)


def _through_service(
    arguments: argparse.Namespace, experiment: Experiment | None, settings: Settings
) -> dict[str, Any]:
    token = admin_token(arguments.token, settings)
    url = f"{service_url(arguments.url)}/admin/experiments"
    if experiment is not None:
        body = experiment.model_dump(include={"name", "salt", "arms"}, mode="json")
        query = {} if arguments.model == DEFAULT else {"model": arguments.model}
        query |= {"force": "true"} if arguments.force else {}
        answer = ask("POST", f"{url}?{urlencode(query)}" if query else url, token, body)
        read_answer(Experiment, answer, url)
        return answer
    if arguments.name is not None:
        url += f"/{quote(arguments.name, safe='')}"
    answer = ask("DELETE" if arguments.action == "stop" else "GET", url, token)
    if arguments.name is None:
        for one in answer["experiments"]:
            read_answer(Experiment, one, url)
    else:
        read_answer(ExperimentReport, answer, url)
    return answer


# --- what is shown --------------------------------------------------------------------------


def _readable(action: str, outcome: dict[str, Any]) -> str:
    if action == "start":
        started = Experiment.model_validate(outcome, context=ANSWERED)
        return f"experiment {started.name} runs: {started.describe()}"
    if "experiments" in outcome:
        found = outcome["experiments"]
        listed = [Experiment.model_validate(one, context=ANSWERED) for one in found]
        rows = [(one.name, one.since, one.stopped or "runs", one.describe()) for one in listed]
        return table(("NAME", "SINCE", "STOPPED", "ARMS"), rows)
    return describe(ExperimentReport.model_validate(outcome, context=ANSWERED))


def describe(report: ExperimentReport) -> str:
    """A report as lines for people."""
    rows = [
        (
            arm.name,
            f"{arm.share:g} %",
            *_shown_counts(arm),
            *_shown_effect(arm.effect),
        )
        for arm in report.arms
    ]
    header = ("ARM", "SHARE", "USERS", "EXPOSURES", "CLICKS", "CLICKS/EXPOSURE", "DIFFERENCE", "P")
    state = f"stopped {report.stopped}" if report.stopped else "running"
    lines = [f"{report.name}: since {report.since}, {state}, salt {report.salt}"]
    lines.append(table(header, rows))
    by_version = [
        (arm.name, one.version, *_shown_counts(one))
        for arm in report.arms
        for one in arm.versions
        if len(arm.versions) > 1
    ]
    if by_version:
        lines.append(table(("ARM", "VERSION", *header[2:6]), by_version))
    lines += [
        f"{arm.name}: no interval: {arm.effect['unknown']}"
        for arm in report.arms
        if arm.effect and arm.effect["unknown"]
    ]
    ratio = report.sample_ratio
    warning = "THE SPLIT IS WRONG, effects say nothing: " if ratio["noticed"] else ""
    return "\n".join([*lines, f"{warning}{ratio['reason']}"])


def _shown_counts(figures: Figures) -> tuple[str, str, str, str]:
    """Users, exposures, clicks, and clicks per exposure with their interval."""
    rate = "" if figures.rate is None else f"{figures.rate:.4f}"
    if figures.low is not None:
        rate += f" [{figures.low:.4f}, {figures.high:.4f}]"
    return f"{figures.users:,}", f"{figures.exposures:,}", f"{figures.clicks:,}", rate


def _shown_effect(effect: dict[str, float | str | None] | None) -> tuple[str, str]:
    """The difference to the control with its interval, and p."""
    if effect is None:
        return "control", ""
    difference, low, high, p = (effect[name] for name in ("difference", "low", "high", "p"))
    if difference is None:
        return "", ""
    if low is None:
        return f"{difference:+.4f}", ""
    return f"{difference:+.4f} [{low:+.4f}, {high:+.4f}]", "<0.001" if float(
        p or 0
    ) < 0.001 else f"{p:.3f}"
