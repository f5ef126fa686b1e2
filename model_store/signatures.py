"""Signatures of bundles: Ed25519 (RFC 8032) over the exact bytes of a manifest.

The manifest has the sha256 of every other file, so the signature covers the whole bundle. It stands
beside the manifest, in `manifest.sig`: the name of the key and the signature, as JSON. The library
is loaded only where a signature is made or checked.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model_store.errors import BundleError, BundleUnavailable, ConfigError

SIGNATURE = "manifest.sig"
KEYS_SETTING, POLICY_SETTING = "LONGTAIL_TRUSTED_KEYS", "LONGTAIL_BUNDLE_SIGNATURES"
PACKAGE = "pip install 'longtail[signatures]'"
MAX_SIGNATURE_BYTES = 1_000
_PREFIX = "ed25519:"
_KEY_BYTES = 32


@dataclass(frozen=True)
class PublicKey:
    """A public key; `ed25519:` and its 32 bytes in base64, as text."""

    raw: bytes

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Read the text of a key.

        Raises:
            ValueError: it is none.
        """
        try:
            raw = base64.b64decode(text.strip().removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            raw = b""
        if not text.strip().startswith(_PREFIX) or len(raw) != _KEY_BYTES:
            raise ValueError(f"a public key is {_PREFIX} and {_KEY_BYTES} bytes in base64")
        return cls(raw)

    @property
    def id(self) -> str:
        """A short name: the first 16 hex digits of its sha256."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    def __str__(self) -> str:
        return _PREFIX + base64.b64encode(self.raw).decode()

    def has_signed(self, content: bytes, signature: bytes) -> bool:
        """Whether a signature of some bytes is by this key.

        Raises:
            ConfigError: the library isn't installed.
        """
        try:
            from cryptography.exceptions import InvalidSignature
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        except ModuleNotFoundError:
            raise ConfigError(f"signatures need a package: {PACKAGE}") from None
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, content)
        except (InvalidSignature, ValueError):
            return False
        return True


class Signature(BaseModel):
    """The content of `manifest.sig`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    algorithm: Literal["ed25519"] = "ed25519"
    key: str = Field(pattern=r"^[0-9a-f]{16}$", description="id of the public key")
    signature: str = Field(pattern=r"^[A-Za-z0-9+/]{86}==$", description="64 bytes in base64")


@dataclass(frozen=True)
class Trust:
    """Whose bundles may answer.

    Attributes:
        keys: public keys of trusted signers.
        is_required: bundles without a signature of one of them are rejected.
    """

    keys: tuple[PublicKey, ...] = ()
    is_required: bool = False

    def check(self, folder: Path, version: str, manifest: bytes) -> None:
        """Check the signature in a folder, where one is required.

        Args:
            folder: the bundle's.
            version: of the bundle, for messages.
            manifest: the bytes that are used as the manifest.

        Raises:
            BundleUnavailable: the signature can't be read now.
            BundleError: the signature isn't there, is of another key, or of another manifest.
        """
        if self.is_required:
            self.find_signer(version, manifest, read_signature(folder))

    def find_signer(self, version: str, manifest: bytes, signature: bytes | None) -> PublicKey:
        """The trusted key that signed a manifest.

        Args:
            version: of the bundle, for messages.
            manifest: its exact bytes.
            signature: the bytes of its `manifest.sig`; None where there is none.

        Raises:
            BundleError: no trusted key has; the message names the version and the fault.
        """
        if signature is None:
            raise _untrusted(version, f"there is no {SIGNATURE}")
        try:
            document = Signature.model_validate_json(signature)
        except ValidationError:
            raise _untrusted(version, f"its {SIGNATURE} can't be read as one") from None
        known = [key for key in self.keys if key.id == document.key]
        if not known:
            raise _untrusted(version, f"the key {document.key} is not trusted")
        raw = base64.b64decode(document.signature)
        for key in known:
            if key.has_signed(manifest, raw):
                return key
        raise _untrusted(
            version, f"the key {document.key} signed another manifest; this one was changed since"
        )


ANY_SIGNER = Trust()
"""Signatures are not looked at."""


def _untrusted(version: str, why: str) -> BundleError:
    return BundleError(f"version {version!r} has no trusted signature: {why}")


def read_signature(folder: Path) -> bytes | None:
    """The content of a bundle's `manifest.sig`, None where there is none.

    Raises:
        BundleUnavailable: it can't be read now.
    """
    path = folder / SIGNATURE
    try:
        with path.open("rb") as file:
            return file.read(MAX_SIGNATURE_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BundleUnavailable(f"{path}: can't be read now ({error.strerror})") from error


def read_keys(text: str) -> tuple[PublicKey, ...]:
    """Public keys, separated by commas.

    Raises:
        ValueError: one of them is none.
    """
    return tuple(PublicKey.parse(part) for part in text.split(",") if part.strip())


def trust_from(environment: Mapping[str, str] | None = None) -> Trust:
    """What the environment's settings say.

    Raises:
        ConfigError: they can't be used.
    """
    found = os.environ if environment is None else environment
    text, policy = found.get(KEYS_SETTING, ""), found.get(POLICY_SETTING) or "off"
    try:
        keys = read_keys(text)
    except ValueError as error:
        raise ConfigError(f"{KEYS_SETTING}={text!r}: {error}") from None
    try:
        check_policy(policy, keys)
    except ValueError as error:
        raise ConfigError(f"{POLICY_SETTING}={policy!r}: {error}") from None
    return Trust(keys, policy == "required")


def check_policy(policy: str, keys: tuple[PublicKey, ...]) -> None:
    """Check that a policy on signatures can be followed.

    Raises:
        ValueError: there is no such policy, or signatures are required and no key is trusted, or
            nothing is installed to check them with.
    """
    if policy not in {"off", "required"}:
        raise ValueError("must be off or required")
    if policy == "required" and not keys:
        raise ValueError(f"no key is trusted: {KEYS_SETTING} is unset")
    if policy == "required":
        try:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import (
                Ed25519PublicKey,  # noqa: F401
            )
        except ModuleNotFoundError:
            raise ValueError(f"needs a package: {PACKAGE}") from None
