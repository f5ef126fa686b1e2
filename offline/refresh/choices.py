"""The choices of a refresh, as its flags give them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model_store.deployments import DEFAULT, check_name
from model_store.errors import ConfigError
from model_store.private_key import PrivateKey
from model_store.signatures import POLICY_SETTING, trust_from
from offline.inputs import Source
from offline.refresh.defaults import CANARY_LIMIT_S, CONFIDENCE, HOLDOUT, MARGIN, SHADOW_SHARE
from offline.refresh.trials import Service


def folder_of(built: Path, model: str) -> Path:
    """Where the refreshes of a name are, in the folder of a build: each name has its own."""
    return built / ("refresh" if model == DEFAULT else f"refresh-{model}")


@dataclass(frozen=True)
class Choices:
    """What to refresh, by which test, and how far to go.

    Attributes:
        source: the files and the archive of events.
        root: folder of the refreshes: stages, reports, weights.
        built: folder of the build whose bundle was published first.
        model: name under which the version answers that is refreshed.
        exposures: an archive of answers, of which those that were drawn at random tell; None: there
            is none.
        holdout: share of the new events that compare; as many choose the epoch.
        margin: tolerated loss, as a share of the running model's figure.
        confidence: of the one-sided test.
        epochs: of the training, at most; None: the recipe's.
        shadow_s: time as the shadow; None: it is no shadow.
        shadow_share: of the requests, in per cent.
        canary_percent: of the users; None: it is no canary.
        canary_limit_s: a canary without a verdict ends after that.
        promote: make it the active version.
        service: where it is tried and promoted; None: on the store, and without a trial.
        key: file of the private key that signs the bundle; None: it is not signed.
        keep: how many of the versions that refreshes published stay, the newest ones; None: all.
    """

    source: Source
    root: Path
    built: Path
    model: str = DEFAULT
    exposures: Path | None = None
    holdout: float = HOLDOUT
    margin: float = MARGIN
    confidence: float = CONFIDENCE
    epochs: int | None = None
    shadow_s: float | None = None
    shadow_share: float = SHADOW_SHARE
    canary_percent: float | None = None
    canary_limit_s: float = CANARY_LIMIT_S
    promote: bool = False
    service: Service | None = None
    key: Path | None = None
    keep: int | None = None

    def check(self) -> None:
        """Check what can be checked before anything is done.

        Raises:
            ConfigError: a value is out of range, a trial is wanted without a service, or a bundle
                that has to be signed would not be.
            RegistryError: there can't be such a name.
        """
        check_name(self.model)
        if not 0 < self.holdout < 0.5:
            raise ConfigError(f"--holdout {self.holdout:g} is not above 0 and below 0.5")
        if not 0 < self.margin < 1:
            raise ConfigError(f"--margin {self.margin:g} is not between 0 and 1")
        if not 0.5 < self.confidence < 1:
            raise ConfigError(f"--confidence {self.confidence:g} is not between 0.5 and 1")
        if self.epochs is not None and self.epochs < 1:
            raise ConfigError(f"--epochs {self.epochs} is below 1")
        if self.keep is not None and self.keep < 2:
            raise ConfigError(f"--keep {self.keep}: below 2, there would be none to go back to")
        for flag, value in (("canary", self.canary_percent), ("shadow", self.shadow_s)):
            if value is not None and self.service is None:
                raise ConfigError(f"--{flag} needs a running service: give its --url")
        for flag, share in (("canary", self.canary_percent), ("shadow-share", self.shadow_share)):
            if share is not None and not 0 < share <= 100:
                raise ConfigError(f"--{flag} {share:g} is not above 0 and at most 100")
        if self.source.events is None:
            raise ConfigError("--events FOLDER: a refresh needs an archive of events")
        if self.key is not None:
            PrivateKey.read(self.key)
        elif trust_from().is_required:
            raise ConfigError(
                f"{POLICY_SETTING}=required: a bundle without a signature can't be published; "
                "give --key FILE"
            )
