"""The rules that hold at present, as models need them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from app.deployment.last_active import LastActive
from app.model.background import BackgroundThread
from app.model.model import Model
from app.model.rule_book import compile_set
from model_store.rules import RuleSet

log = logging.getLogger(__name__)

MAX_WARNINGS = 20
OF_NO_RECORD = -1  # revision of rules before the record has been read


class RulesInForce:
    """Those of the record, and without it the last ones.

    Args:
        last_active: remembers them on this machine.
    """

    def __init__(self, last_active: LastActive) -> None:
        self._last_active = last_active
        self._rules = RuleSet(revision=OF_NO_RECORD)
        self._is_recalled = False

    async def recall(self) -> None:
        """Go on with those that were in force here last, until the record can be read."""
        if self._is_recalled or self._rules.rules:
            return
        self._is_recalled = True
        rules = await asyncio.to_thread(self._last_active.read_rules)
        if rules is not None and rules.rules:
            log.warning("going on with %s, as of %s", rules.describe(), rules.since)
            self._rules = rules.model_copy(update={"revision": OF_NO_RECORD})

    def follow(self, rules: RuleSet | None) -> bool:
        """Have the record's rules from now on; None: it is lost. Returns whether they are new."""
        if rules is None:
            rules = self._rules.model_copy(update={"revision": OF_NO_RECORD})
        is_new = rules.stamp != self._rules.stamp
        self._rules = rules
        return is_new

    async def remember(self) -> None:
        """Keep them on this machine."""
        await asyncio.to_thread(self._last_active.write_rules, self._rules)

    def are_of(self, model: Model) -> bool:
        """Whether a model has them, and no others."""
        stamp = self._rules.stamp if self._rules.rules else None
        return stamp == (None if model.rules is None else model.rules.stamp)

    async def applied_to(self, model: Model, thread: BackgroundThread) -> Model:
        """The model with them; a thread compiles them."""
        rules = self._rules
        if not rules.rules:
            return model if model.rules is None else model.with_rules(None)
        return model.with_rules(await thread.run(lambda: compile_set(rules, model)))


def warnings_by_version(loaded: Mapping[str, Model]) -> dict[str, tuple[str, ...]]:
    """Rules that do nothing for a version, or not all they say: the first of them, by version."""
    return {
        version: tuple(model.rules.warnings[:MAX_WARNINGS])
        for version, model in loaded.items()
        if model.rules is not None and model.rules.warnings
    }
