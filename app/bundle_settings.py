"""Settings about bundles: where they are, and whose may answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, InstanceOf, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode

from model_store.bundle_cache import BundleCache
from model_store.publication import bundles_folder
from model_store.remote_bundles import (
    DEFAULT_MAX_BYTES,
    RemoteBundles,
    cache_folder,
    is_url,
    read_bundles,
)
from model_store.signatures import PublicKey, Trust, check_policy, read_keys


class BundleSettings(BaseSettings):
    """A part of the service's settings."""

    trusted_keys: Annotated[tuple[InstanceOf[PublicKey], ...], NoDecode] = Field(
        default=(),
        description="Public keys whose signature of a bundle is accepted, separated by commas, as "
        "`longtail bundle keygen` prints them.",
    )
    bundle_signatures: Literal["off", "required"] = Field(
        default="off",
        description="Whether a bundle must be signed with a trusted key to be published, activated "
        "and loaded; off, signatures are not looked at.",
    )
    bundles_cache_dir: Path = Field(
        default_factory=cache_folder,
        description="Folder of bundles that were downloaded, where LONGTAIL_BUNDLES_DIR is a URL; "
        "unset means bundles/ in LONGTAIL_STORE_DIR.",
    )
    bundles_cache_bytes: int = Field(
        default=DEFAULT_MAX_BYTES,
        ge=1,
        description="Limit on the size of that folder; versions that were used least recently go, "
        "but none that is in use.",
    )
    bundles_dir: Annotated[Path | InstanceOf[RemoteBundles], NoDecode] = Field(
        default_factory=bundles_folder,
        description="Folder that holds one folder per bundle version, or a URL of one (s3://…); "
        "unset means model_store/bundles.",
    )

    @property
    def trust(self) -> Trust:
        """Whose bundles may answer."""
        return _trust_of(self.trusted_keys, self.bundle_signatures)

    @field_validator("trusted_keys", mode="before")
    @classmethod
    def _read_keys(cls, keys: object) -> object:
        return read_keys(keys) if isinstance(keys, str) else keys

    @field_validator("bundle_signatures")
    @classmethod
    def _can_be_followed(cls, policy: str, info: ValidationInfo) -> str:
        if "trusted_keys" in info.data:
            check_policy(policy, info.data["trusted_keys"])
        return policy

    @field_validator("bundles_dir", mode="before")
    @classmethod
    def _read_place(cls, place: object, info: ValidationInfo) -> object:
        found: dict[str, Any] = info.data
        before = ("trusted_keys", "bundle_signatures", "bundles_cache_dir", "bundles_cache_bytes")
        if not isinstance(place, str) or not is_url(place) or not found.keys() >= {*before}:
            return place
        cache = BundleCache(found["bundles_cache_dir"], found["bundles_cache_bytes"])
        return read_bundles(place, cache, _trust_of(*(found[name] for name in before[:2])))


def _trust_of(keys: tuple[PublicKey, ...], policy: str) -> Trust:
    return Trust(keys, policy == "required")
