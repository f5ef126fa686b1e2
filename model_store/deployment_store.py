"""The deployment records in the store: read all at once, and each changed in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import redis

from model_store import keys
from model_store.deployment import Deployment, who
from model_store.deployments import DEFAULT, MAX_DEACTIVATED, Deployments, DeploymentsReader
from model_store.experiment_counts import removal_commands
from model_store.store import store_errors

T = TypeVar("T")

_WATCHED = (keys.DEPLOYMENT, keys.ACTIVE, keys.PREVIOUS, keys.DEPLOYMENTS, keys.MODELS)


class DeploymentStore:
    """Where the records lie, and how they are written.

    Args:
        client: of the store.
        why: origin of changes for the audit.
        by: author of changes, where it isn't the user of this process.
    """

    def __init__(self, client: redis.Redis, why: str, by: str | None = None) -> None:
        self._client: Any = client
        self._why = why
        self.by = by or who()
        self._reader = DeploymentsReader()

    def read(self, client: Any = None) -> Deployments:
        """All records, over the client or within a transaction.

        Raises:
            StoreAway: the store can't be reached.
        """
        client = client or self._client
        with store_errors():
            document, active = client.get(keys.DEPLOYMENT), client.get(keys.ACTIVE)
            try:
                previous = client.lrange(keys.PREVIOUS, 0, -1)
            except redis.ResponseError:  # a key of another type; the record goes on without
                previous = []
            named = client.hgetall(keys.DEPLOYMENTS)
        return self._reader.read(document, active, previous, named)

    def transact(self, switch: Callable[[Any], T], *others: str) -> T:
        """Run a change as one transaction; again, if another process changed a record meanwhile.

        Args:
            switch: reads by the pipe it is given, then calls its `multi()` and writes.
            others: further keys that it reads.
        """
        with store_errors():
            watched = (*_WATCHED, *others)
            outcome: T = self._client.transaction(switch, *watched, value_from_callable=True)
        return outcome

    def write(
        self, pipe: Any, model: str, found: Deployments, after: Deployment, what: str
    ) -> Deployment:
        """Write the next generation of a name's record within a transaction, and return it.

        Args:
            pipe: of the transaction.
            model: the name.
            found: the records before.
            after: the new record, without its generation and audit.
            what: name of the change, for the audit.
        """
        before = found.of(model)
        after = after.changed_from(before, what, self.by, self._why)
        if model == DEFAULT:
            pipe.set(keys.DEPLOYMENT, after.model_dump_json())
            pipe.delete(keys.ACTIVE, keys.PREVIOUS)
            return after
        pipe.hset(keys.DEPLOYMENTS, model, after.model_dump_json())
        if not before.generation:
            _forget_oldest(pipe, found)
        return after


def _forget_oldest(pipe: Any, found: Deployments) -> None:
    """Make space for a new name: of many that were deactivated, the first are forgotten."""
    gone = [model for model, record in found.named.items() if record.is_deactivated]
    gone.sort(key=lambda model: found.of(model).audit[0].at, reverse=True)
    if excess := gone[MAX_DEACTIVATED - 1 :]:
        pipe.hdel(keys.DEPLOYMENTS, *excess)
    # A worker that was behind may have counted after the deactivation.
    for command in (one for model in excess for one in removal_commands(model)):
        pipe.execute_command(*command)
