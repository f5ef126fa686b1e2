"""`longtail rules`: on the store, or through a service."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.admin_client import admin_token, asks_service, read_answer
from app.model.filters import FilterIndex
from app.model.rule_book import Items, RuleBook
from app.settings import Settings, read_settings
from app.table import table
from model_store import keys
from model_store.admin_api import ask, service_url
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.errors import InputError, RegistryError
from model_store.registry import Registry
from model_store.rollout import Rollout, Ruled
from model_store.rules import Boost, Bury, Cap, Hide, Pin, Rule, Rules
from model_store.store import connect, store_errors
from model_store.store_url import StoreUrl

MAX_FILE_BYTES = 2 * 1024 * 1024


def run(arguments: argparse.Namespace) -> int:
    """Run one of the subcommands and print its result; returns 0.

    Raises:
        LongtailError: it could not be done.
    """
    settings = read_settings()
    rules = read_rules(arguments.file) if arguments.action == "apply" else None
    if asks_service(arguments):
        ruled = _through_service(arguments, rules, settings)
    elif settings.redis_url:
        ruled = _on_store(arguments.action, rules, settings.redis_url, settings)
    else:
        with EmbeddedStore(settings.store_dir) as store:
            ruled = _on_store(arguments.action, rules, store.url, settings)
    if arguments.json:
        document = ruled.model_dump(mode="json", exclude_none=True)
        print(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        print(describe(arguments.action, ruled))
    return 0


# --- what is asked for ---------------------------------------------------------------------


def read_rules(path: Path) -> Rules:
    """The rules of a file, also of one that `longtail rules show --json` wrote.

    Raises:
        InputError: it can't be read, or holds no rules; the message names the first fault.
    """
    try:
        content = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        if len(content) > MAX_FILE_BYTES:
            raise InputError(f"{path}: {len(content):,} bytes are more than {MAX_FILE_BYTES:,}")
        document = json.loads(content)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    if isinstance(document, dict):
        document = {name: document[name] for name in document if name not in _SHOWN_BESIDES}
    try:
        return Rules.model_validate(document)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"])) or "the file"
        message = fault["msg"].removeprefix("Value error, ")
        raise InputError(f"{path}: {where}: {message}") from None


_SHOWN_BESIDES = ("revision", "since", "who", "generation", "workers", "warnings", "earlier")


# --- who is asked ---------------------------------------------------------------------------


def _on_store(action: str, rules: Rules | None, url: StoreUrl | str, settings: Settings) -> Ruled:
    client: Any = connect(url)
    rollout = Rollout(client, settings.bundles_dir, f"longtail rules {action}")
    if rules is not None:
        faults = RuleBook(0, rules.rules, _active_items(client, settings)).faults
        if faults:
            shown = json.dumps(faults[0].value, ensure_ascii=False)
            raise InputError(f"{faults[0]} (got {shown})")
        return rollout.set_rules(rules.rules)
    return rollout.roll_back_rules() if action == "rollback" else rollout.rules()


def _active_items(client: Any, settings: Settings) -> Items:
    """Items of the active version.

    Raises:
        RegistryError: no version is active.
        BundleError: its bundle can't be read.
    """
    registry = Registry(client)
    active = registry.active()
    if active is None:
        raise RegistryError("no version is active whose items rules could be about")
    folder = registry.folder_of(active, settings.bundles_dir)
    bundle = Bundle.open(folder, verify=False)
    with store_errors():
        fresh = [one.decode() for one in client.lrange(keys.fresh_key(active), 0, -1)]
    ids = bundle.item_ids.extended(
        one for one in dict.fromkeys(fresh) if one not in bundle.item_ids
    )
    return Items(ids, bundle.attributes, FilterIndex(bundle.attributes))


def _through_service(
    arguments: argparse.Namespace, rules: Rules | None, settings: Settings
) -> Ruled:
    token = admin_token(arguments.token, settings)
    url = f"{service_url(arguments.url)}/admin/rules"
    if rules is not None:
        answer = ask("PUT", url, token, rules.model_dump(mode="json", exclude_none=True))
    elif arguments.action == "rollback":
        answer = ask("POST", f"{url}/rollback", token)
    else:
        answer = ask("GET", url, token)
    return read_answer(Ruled, answer, url)


# --- what is shown --------------------------------------------------------------------------


def describe(action: str, ruled: Ruled) -> str:
    """The rules in force as lines for people."""
    applied = f" (revision {ruled.revision}, {ruled.since} by {ruled.who})" if ruled.since else ""
    what = f"{ruled.describe()}{applied}"
    lines = [what if action == "show" else f"in force: {what}"]
    if action == "show" and ruled.rules:
        rows = [(one.name, one.action, _effect_of(one), _condition_of(one)) for one in ruled.rules]
        lines.append(table(("NAME", "ACTION", "WHAT", "WHEN"), rows))
    if action != "show" and ruled.workers:
        lines.append(f"workers that follow them: {ruled.workers}")
    lines += [f"warning: {warning}" for warning in ruled.warnings]
    if ruled.earlier:
        before = ruled.earlier[0]
        lines.append(f"before: {before.rules}; `longtail rules rollback` goes back to them")
    return "\n".join(lines)


def _effect_of(rule: Rule) -> str:
    match rule:
        case Pin():
            return f"{rule.item_id} at rank {rule.rank}"
        case Cap():
            return f"at most {rule.at_most} of each {rule.attribute}"
        case Hide() | Boost() | Bury():
            given = {name: filter_.given() for name, filter_ in (rule.filters or {}).items()}
            parts = [json.dumps(given, ensure_ascii=False)] if given else []
            parts += [f"{len(rule.item_ids)} items"] if rule.item_ids else []
            factor = "" if isinstance(rule, Hide) else f", by {rule.factor:g}"
            return " or ".join(parts) + factor


def _condition_of(rule: Rule) -> str:
    parts = [f"from {rule.begins}"] if rule.begins else []
    parts += [f"until {rule.until}"] if rule.until else []
    parts += [f"{name}={value}" for name, value in (rule.context or {}).items()]
    parts += [f"arms {', '.join(rule.arms)}"] if rule.arms else []
    return ", ".join(parts) or "always"
