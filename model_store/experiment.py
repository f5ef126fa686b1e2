"""Experiments: arms of users who are answered by another version or with other defaults.

Assignment is by hash of the user's id and the experiment's salt, so an arm needs no storage: every
worker finds the same one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    model_validator,
)

from model_store.manifest import check_version
from model_store.suggestion import did_you_mean

KEPT_DAYS = 30
"""How long the figures of an experiment are kept after its end."""
MAX_ARMS = 16
ANSWERED = {"is_answer": True}
"""Context of validation for what a service answers, which may be of a later release."""

# They stand in keys of the store, in headers and in URLs.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _suggest(cls, given: Any, info: ValidationInfo) -> Any:
        """Reject unknown names with the one that was meant; those of an answer are left out."""
        if info.context == ANSWERED and isinstance(given, Mapping):
            return {name: value for name, value in given.items() if name in cls.model_fields}
        for name in given if isinstance(given, Mapping) else ():
            if name not in cls.model_fields:
                meant = did_you_mean(str(name), cls.model_fields)
                known = ", ".join(cls.model_fields)
                raise ValueError(f"unknown field {str(name)[:64]!r}{meant} (known: {known})")
        return given


class RequestDefaults(_Part):
    """Fields of `POST /recommend` for requests that don't set them; null leaves one as it is.

    A test holds the limits against those of the request.
    """

    k: int | None = Field(None, ge=1, le=1_000)
    exclude_seen: bool | None = None
    diversity: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    rerank: Literal["auto", "never", "always"] | None = None
    deadline_ms: int | None = Field(None, ge=1, le=10_000)

    def given(self) -> dict[str, Any]:
        """Those that have a value, by name."""
        return self.model_dump(exclude_none=True)


class Arm(_Part):
    """A share of the users, and what is different for them."""

    name: Name
    share: float = Field(gt=0, le=100, allow_inf_nan=False, description="Of the users, in percent.")
    version: str | None = Field(None, description="Null: whichever is active.")
    defaults: RequestDefaults = Field(
        default=RequestDefaults(),
        description="Fields of `POST /recommend` for requests that don't set them.",
    )

    @model_validator(mode="after")
    def _has_sound_version(self) -> Self:
        if self.version is not None:
            check_version(self.version)
        return self

    def describe(self) -> str:
        """For example "b 50 % (version 2026-11-21-2, rerank never)"."""
        parts = [f"version {self.version}"] if self.version else []
        parts += [f"{name} {_shown(value)}" for name, value in self.defaults.given().items()]
        return f"{self.name} {self.share:g} %" + (f" ({', '.join(parts)})" if parts else "")


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value}"


Arms = Annotated[tuple[Arm, ...], Field(min_length=2, max_length=MAX_ARMS, strict=False)]


class Experiment(BaseModel):
    """Arms that are compared; the first one is the control."""

    model_config = ConfigDict(frozen=True)

    name: Name
    salt: Name = Field(
        description="Hashed with a user's id; two experiments with one salt have the same users "
        "in the same buckets.",
    )
    since: str = Field(description="ISO time, UTC.")
    stopped: str | None = Field(None, description="ISO time, UTC; null while it runs.")
    arms: Arms = Field(description="The first one is the control.")

    @model_validator(mode="after")
    def _is_a_split(self) -> Self:
        check_arms(self.arms)
        return self

    @property
    def versions(self) -> tuple[str, ...]:
        """Versions that its arms name."""
        named = (arm.version for arm in self.arms if arm.version)
        return tuple(dict.fromkeys(named))

    @property
    def kept_until(self) -> datetime | None:
        """When its figures are forgotten; None while it runs."""
        if self.stopped is None:
            return None
        return datetime.fromisoformat(self.stopped) + timedelta(days=KEPT_DAYS)

    def is_kept(self) -> bool:
        """Whether it runs, or ended not too long ago."""
        until = self.kept_until
        return until is None or datetime.now(UTC) < until

    def describe(self) -> str:
        """Its arms in one line."""
        return ", ".join(arm.describe() for arm in self.arms)


def check_arms(arms: tuple[Arm, ...]) -> None:
    """Raises ValueError where two arms have a name in common, or the shares exceed 100 %."""
    names = [arm.name for arm in arms]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"two arms are named {twice!r}")
    if (total := round(sum(arm.share for arm in arms), 6)) > 100:
        raise ValueError(f"the arms' shares add up to {total:g} %, more than 100 %")
