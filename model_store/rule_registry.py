"""Changes of the rules in the deployment record, and the rules that were in force before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from model_store import keys
from model_store.deployment import Deployment
from model_store.errors import RegistryError, StoreError
from model_store.registry import Registry
from model_store.rules import Rule, RuleSet
from model_store.store import store_errors

MAX_EARLIER_RULES = 20


class RuleRegistry(Registry):
    """The registry, as one changes rules in it."""

    def set_rules(self, rules: Sequence[Rule]) -> Deployment:
        """Replace the rules; returns the new record. Those before are kept for a rollback."""
        before = self.deployment()
        if before.ruled(rules, self._by) is before:
            return before
        left = before.rules

        def decide(before: Deployment, *_others: object) -> Deployment:
            nonlocal left
            left = before.rules
            return before.ruled(rules, self._by)

        def keep(pipe: Any) -> None:
            pipe.lpush(keys.RULES, left.model_dump_json())
            pipe.ltrim(keys.RULES, 0, MAX_EARLIER_RULES - 1)

        what = f"apply {RuleSet(rules=tuple(rules)).describe()}"
        return self._change(decide, what, keep)[1]

    def roll_back_rules(self) -> Deployment:
        """Apply the rules that were in force before; returns the new record.

        Raises:
            RegistryError: there were none before, or they were changed just now.
        """
        seen, earlier = self.deployment().rules, self.earlier_rules()
        if not earlier:
            raise RegistryError("there are no earlier rules to roll back to")

        def decide(before: Deployment, *_others: object) -> Deployment:
            if before.rules.revision != seen.revision:
                raise RegistryError("the rules were changed meanwhile; look before going on")
            return before.model_copy(update={"rules": earlier[0]})

        what = f"roll the rules back to {earlier[0].describe()}"
        return self._change(decide, what, lambda pipe: pipe.lpop(keys.RULES))[1]

    def earlier_rules(self) -> list[RuleSet]:
        """The rules that a rollback would lead to, newest first."""
        with store_errors():
            documents = self._client.lrange(keys.RULES, 0, -1)
        try:
            return [RuleSet.model_validate_json(document) for document in documents]
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]["msg"]
            raise StoreError(f"{keys.RULES}: holds no rules ({fault})") from None
