"""What is done with a version that a refresh has published: shadow, canary, promotion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from model_store.deployments import DEFAULT
from model_store.embedded import running_store
from model_store.errors import BundleError, RegistryError, ServiceAway
from model_store.publication import bundles_folder
from model_store.rollout import Rollout
from model_store.store import connect
from model_store.store_url import store_url_from
from offline.refresh.choices import Choices
from offline.refresh.journal import Journal
from offline.refresh.running import active_version
from offline.refresh.trials import Trial
from offline.stages.stage import Log

WHY = "longtail refresh"
Document = dict[str, Any]


@dataclass(frozen=True)
class Introduction:
    """Brings a published version to users, as far as that is wanted.

    Its steps are in the journal: one that was killed goes on where it was.

    Attributes:
        choices: how far it goes, and where.
        journal: of the refresh, which has published a version.
        log: called with lines of progress.
    """

    choices: Choices
    journal: Journal
    log: Log

    def run(self) -> tuple[str, str]:
        """The outcome, promoted or published, and its reason.

        Raises:
            ServiceAway: the service can't be asked now; the next run goes on.
            StoreAway: neither can the store.
        """
        service = self.choices.service
        try:
            if service is None:
                return self._promote_on_store()
            running = self.journal.plan["running"]
            return self._try_at_service(Trial(service, running, self._version, self.log))
        except ServiceAway as error:
            # The next run goes on: nobody else would end its canary.
            begun = "published, and its trial goes on with the next `longtail refresh`"
            raise ServiceAway(f"{error}; version {self._version} is {begun}") from error
        except (RegistryError, BundleError) as error:
            return "published", f"{self._passed}; published, and no more: {error}"

    @property
    def _version(self) -> str:
        return str(self.journal.done["publish"]["version"])

    @property
    def _passed(self) -> str:
        """Why the version was published."""
        return str(self.journal.done["comparison"]["reason"])

    @property
    def _way_on(self) -> str:
        model = self.choices.model
        under = "" if model == DEFAULT else f" --model {model}"
        return f"`longtail models activate {self._version}{under}` makes it active"

    def _promote_on_store(self) -> tuple[str, str]:
        if not self.choices.promote:
            return "published", f"{self._passed}; {self._way_on}"
        self.journal.step("promote", self._activate)
        self.log(f"active: {self._version}")
        return "promoted", self._passed

    def _activate(self) -> Document:
        model = self.choices.model
        with running_store(store_url_from()) as url:
            client = connect(url)
            active = active_version(client, model)
            if active not in {self.journal.plan["running"], self._version}:
                raise RegistryError(f"version {active!r} became active meanwhile")
            rollout = Rollout(client, bundles_folder(), WHY, model=model)
            rolled = rollout.activate(self._version)
        return {"active": rolled.active, "workers": rolled.workers}

    def _try_at_service(self, trial: Trial) -> tuple[str, str]:
        choices, step = self.choices, self.journal.step
        reason = self._passed
        if (seconds := choices.shadow_s) is not None:
            found = step("shadow", lambda: trial.shadow(choices.shadow_share, seconds))
            self.log(f"shadow: {found['reason']}")
        if (percent := choices.canary_percent) is not None:
            step("canary_begun", lambda: trial.begin_canary(percent))
            found = step("canary", lambda: trial.await_verdict(choices.canary_limit_s))
            self.log(f"canary: {found['word']}: {found['reason']}")
            if found["word"] != "fine":
                return "published", f"{reason}; canary {found['word']}: {found['reason']}"
            reason += f"; canary fine: {found['reason']}"
        if not choices.promote:
            return "published", f"{reason}; {self._way_on}"
        step("promote", trial.promote)
        self.log(f"active: {self._version}")
        return "promoted", reason
