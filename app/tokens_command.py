"""`longtail tokens`: makes, lists and revokes tokens of operators and keys of callers."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from app.settings import read_settings
from app.table import table
from model_store.embedded import EmbeddedStore
from model_store.store import connect
from model_store.tokens import TokenRecord, Tokens


def run(arguments: argparse.Namespace) -> int:
    """Run one of the subcommands and print its result; returns 0.

    Raises:
        LongtailError: it could not be done.
    """
    with _tokens() as tokens:
        if arguments.action == "create":
            days = arguments.days
            record, token = tokens.create(
                arguments.role,
                arguments.note,
                timedelta(days=days) if days else None,
                arguments.per_minute,
            )
            print(f"token {_described(record)}; it is shown this once:", file=sys.stderr)
            print(token)
        elif arguments.action == "revoke":
            tokens.revoke(arguments.id)
            print(f"revoked {arguments.id}")
        else:
            _list(tokens.records(), as_json=arguments.json)
    return 0


@contextmanager
def _tokens() -> Iterator[Tokens]:
    settings = read_settings()
    if settings.redis_url:
        yield Tokens(connect(settings.redis_url))
        return
    with EmbeddedStore(settings.store_dir) as store:
        yield Tokens(connect(store.url))


def _list(records: list[TokenRecord], *, as_json: bool) -> None:
    if as_json:
        shown = [record.model_dump(mode="json", exclude={"digest"}) for record in records]
        print(json.dumps({"tokens": shown}, ensure_ascii=False, indent=2))
        return
    rows = [
        (one.id, one.role, str(one.per_minute or ""), one.created, _expiry(one), one.note)
        for one in records
    ]
    print(table(("ID", "ROLE", "PER MINUTE", "CREATED", "EXPIRES", "NOTE"), rows))


def _described(record: TokenRecord) -> str:
    return f"{record.id} with the role {record.role}, expires: {_expiry(record)}"


def _expiry(record: TokenRecord) -> str:
    if record.expires is None:
        return "never"
    return record.expires.isoformat() + (" (expired)" if record.has_expired else "")
