"""What a new version goes through at a running service: shadow, canary, promotion."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from pydantic import SecretStr

from model_store.admin_api import ask
from model_store.deployments import DEFAULT
from model_store.errors import RegistryError, ServiceAway
from offline.stages.stage import Log

LOOK_S = 1.0
TOLD_EVERY_S = 30.0
LOOK_TIMEOUT_S = 10.0
"""A look at the deployment loads nothing; a comparison may load a version."""
PATIENCE_S = 120.0
"""A service that is restarted, or whose store is, can be asked again by then."""
Document = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Service:
    """The admin API of a running service.

    Attributes:
        url: without a slash at the end.
        token: of an operator.
        model: name under which versions are tried.
    """

    url: str
    token: SecretStr
    model: str = DEFAULT

    def deployment(self) -> Document:
        """Who answers, and the audit."""
        url = f"{self.url}/admin/deployment{self._under}"
        return ask("GET", url, self.token, timeout_s=LOOK_TIMEOUT_S)

    def change(self, version: str, action: str, body: Document | None = None) -> Document:
        """Do something with a version: `canary`, `shadow`, `promote` or `activate`."""
        path = f"{self.url}/admin/models/{quote(version, safe='')}/{action}"
        return ask("POST", f"{path}{self._under}", self.token, body)

    def compare_shadowed(self, a: str, b: str) -> Document:
        """How the answers of a shadow b differ from those that were given by a."""
        query = urlencode({"a": a, "b": b, "source": "shadowed"})
        return ask("GET", f"{self.url}/admin/compare?{query}", self.token)

    @property
    def _under(self) -> str:
        # Services of earlier releases know no names.
        return "" if self.model == DEFAULT else f"?{urlencode({'model': self.model})}"


class ChangedMeanwhileError(RegistryError):
    """Another version was activated during the refresh: what was compared doesn't answer now."""


@dataclass(frozen=True)
class Trial:
    """A new version at a service.

    Every method can be called again after a kill, and goes on where it was. All raise RegistryError
    where the service rejects something, and ServiceAway where it can't be asked for `PATIENCE_S`. A
    change whose reply was lost is looked for, and asked for again only where it hasn't happened.

    Attributes:
        service: where it is tried.
        running: the version that it was compared with.
        version: the new one.
        log: called with what happens.
        sleep: waits so many seconds.
        clock: seconds that never go back.
    """

    service: Service
    running: str
    version: str
    log: Log
    sleep: Callable[[float], object] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def shadow(self, share: float, seconds: float) -> Document:
        """Let it answer a share of the requests unseen for a while; how its answers differ.

        Args:
            share: in per cent.
            seconds: since it became the shadow.
        """
        found = self._deployment()
        if _version_in(found["shadow"]) != self.version:
            self._change(found, "shadow", _has_shadow, {"share": share})
            found = self._deployment()
        self.log(f"shadow: {self.version} answers {share:g} % of the requests unseen")
        while (current := found["shadow"]) and current["version"] == self.version:
            if (left_s := seconds - _seconds_since(current["since"])) <= 0:
                break
            self.sleep(min(left_s, LOOK_S))
            found = self._deployment()
        if _version_in(found["shadow"]) != self.version:
            return {"word": "ended", "reason": "somebody ended the shadow"}
        compared = self._patiently(
            lambda: self.service.compare_shadowed(self.running, self.version)
        )
        figures = _shadow_figures(compared)
        self._change(found, "shadow", _has_no_shadow, {"share": 0})
        return {"word": "done", "reason": _describe_shadow(figures), **figures}

    def begin_canary(self, percent: float) -> Document:
        """Let it answer a share of the users.

        Raises:
            RegistryError: another version is the canary.
        """
        found = self._deployment()
        canary = found["canary"]
        if canary is not None and canary["version"] != self.version:
            raise RegistryError(f"version {canary['version']!r} is the canary; end it first")
        if canary is None:
            self._change(found, "canary", _has_canary, {"percent": percent})
        self.log(f"canary: {self.version} answers {percent:g} % of the users")
        return {"percent": percent}

    def await_verdict(self, seconds: float) -> Document:
        """The verdict on the canary; one that is still open after so many seconds ends it."""
        told_s, word = -math.inf, ""
        while True:
            found = self._deployment()
            canary = found["canary"]
            if found["active"] == self.version:
                return {"word": "fine", "reason": "somebody promoted it"}
            if canary is None or canary["version"] != self.version:
                return {"word": "taken back", "reason": _why_ended(found, self.version)}
            verdict = canary["verdict"]
            if verdict["word"] == "fine":
                return {"word": "fine", "reason": verdict["reason"]}
            since_s = _seconds_since(canary["since"])
            if verdict["word"] != word or since_s - told_s >= TOLD_EVERY_S:
                told_s, word = since_s, verdict["word"]
                self.log(f"canary: {word}: {verdict['reason']}")
            left_s = seconds - since_s
            if left_s <= 0:
                self._change(found, "canary", _has_no_canary, {"percent": 0})
                reason = f"no verdict after {seconds:g} s: {verdict['reason']}"
                return {"word": "undecided", "reason": reason}
            self.sleep(min(left_s, LOOK_S))

    def promote(self) -> Document:
        """Make it the active version, as the canary that it is or directly.

        Raises:
            RegistryError: it became active, and somebody went back meanwhile.
        """
        found = self._deployment()
        if found["active"] == self.version:
            return {"active": self.version, "workers": len(found["workers"])}
        is_canary = _version_in(found["canary"]) == self.version
        done = self._change(found, "promote" if is_canary else "activate", _is_active)
        if done is not None:
            return {"active": done["active"], "workers": done["workers"]}
        found = self._deployment()
        if found["active"] != self.version:
            raise RegistryError(f"somebody went back from {self.version!r} to {found['active']!r}")
        return {"active": self.version, "workers": len(found["workers"])}

    def _change(
        self,
        before: Document,
        action: str,
        is_so: Callable[[Document, str], bool],
        body: Document | None = None,
    ) -> Document | None:
        """Change something; the reply, or None where that was lost and the change has happened.

        Args:
            before: the deployment.
            action, body: of `Service.change`.
            is_so: whether a deployment is changed so with respect to a version.
        """
        deadline = None
        while True:
            try:
                return self.service.change(self.version, action, body)
            except RegistryError as error:
                if deadline is None and not isinstance(error, ServiceAway):
                    raise
                # What was asked for first may be under way still, so that this is rejected.
                if deadline is None:
                    self.log(f"{error}; looking whether it happened")
                    deadline = self.clock() + PATIENCE_S
                is_last = self.clock() >= deadline
                self.sleep(LOOK_S)
                found = self._deployment()
                if is_so(found, self.version) or _was_done(action, self.version, before, found):
                    return None
                if is_last:
                    raise

    def _patiently(self, ask: Callable[[], T]) -> T:
        """The answer to a question, asked again where the service is away for a moment."""
        deadline = self.clock() + PATIENCE_S
        is_told = False
        while True:
            try:
                return ask()
            except ServiceAway as error:
                if self.clock() >= deadline:
                    raise
                if not is_told:
                    self.log(f"{error}; trying again for {PATIENCE_S:g} s")
                    is_told = True
            self.sleep(LOOK_S)

    def _deployment(self) -> Document:
        found = self._patiently(self.service.deployment)
        if found["active"] not in {self.running, self.version}:
            raise ChangedMeanwhileError(
                f"version {found['active']!r} became active meanwhile, and {self.version!r} was "
                f"compared with {self.running!r}"
            )
        return found


def _version_in(state: Document | None) -> str | None:
    return None if state is None else str(state["version"])


def _has_shadow(found: Document, version: str) -> bool:
    return _version_in(found["shadow"]) == version


def _has_no_shadow(found: Document, version: str) -> bool:
    return not _has_shadow(found, version)


def _has_canary(found: Document, version: str) -> bool:
    return _version_in(found["canary"]) == version


def _has_no_canary(found: Document, version: str) -> bool:
    return not _has_canary(found, version)


def _is_active(found: Document, version: str) -> bool:
    return bool(found["active"] == version)


def _was_done(action: str, version: str, before: Document, found: Document) -> bool:
    """Whether the audit tells of it since then: it may be undone by now, and is so on purpose."""
    return any(
        entry["generation"] > before["generation"]
        and entry["what"].replace(",", " ").split()[:2] == [action, version]
        for entry in found["audit"]
    )


def _seconds_since(iso: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(iso)).total_seconds()


def _why_ended(deployment: Document, version: str) -> str:
    """The newest entry of the audit that is about a canary's end."""
    for entry in deployment["audit"]:
        what = str(entry["what"])
        if version in what and ("take the canary back" in what or "end the canary" in what):
            return what
    return "somebody ended the canary"


def _shadow_figures(comparison: Document) -> Document:
    """Those of all users; a comparison names users too, and a report names nobody."""
    everybody = comparison["segments"].get("all", {})
    names = ("identical", "overlap", "rank_correlation")
    return {
        "answers": comparison["answers"],
        **{name: everybody.get(name) for name in names},
        "latency_ms": comparison["latency_ms"],
    }


def _describe_shadow(figures: Document) -> str:
    if not figures["answers"]:
        return "no requests came meanwhile"
    told = f"{figures['answers']:,} answers were compared"
    overlap = figures["overlap"]
    return told if overlap is None else f"{told}, {100 * overlap:.0f} % of their items in common"
