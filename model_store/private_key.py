"""Private keys that sign bundles: files in PEM that only their owner may read."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING

from model_store.errors import BundleUnavailable, ConfigError
from model_store.files import write_atomically
from model_store.signatures import PACKAGE, SIGNATURE, PublicKey, Signature

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_OTHERS = 0o077


class PrivateKey:
    """An Ed25519 private key (RFC 8032), whose content is in no message."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key().public_bytes_raw())

    @classmethod
    def make(cls, path: Path) -> PrivateKey:
        """Write a new key with mode 0600, and its public key beside it, in `<path>.pub`.

        Raises:
            ConfigError: there is one of these files already, or it can't be written; none is made
                then.
        """
        try:
            from cryptography.hazmat.primitives import serialization
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        except ModuleNotFoundError:
            raise ConfigError(f"signatures need a package: {PACKAGE}") from None
        key = Ed25519PrivateKey.generate()
        content = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        made = cls(key)
        # Never over another key: it could sign nothing any more, or be found by nobody.
        files = {path.with_name(f"{path.name}.pub"): f"{made.public}\n".encode(), path: content}
        written: list[Path] = []
        try:
            for one, text in files.items():
                mode = 0o600 if one == path else 0o644
                descriptor = os.open(one, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
                written.append(one)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(text)
        except OSError as error:
            for made_before in written:
                made_before.unlink(missing_ok=True)
            raise ConfigError(f"{one}: the key can't be written ({error.strerror})") from None
        return made

    @classmethod
    def read(cls, path: Path) -> PrivateKey:
        """The key in a file.

        Raises:
            ConfigError: it isn't there, others may read it, or it is no such key.
        """
        try:
            from cryptography.exceptions import UnsupportedAlgorithm
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
            from cryptography.hazmat.primitives.serialization import load_pem_private_key
        except ModuleNotFoundError:
            raise ConfigError(f"signatures need a package: {PACKAGE}") from None
        try:
            mode = path.stat().st_mode & 0o777
            content = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{path}: the key can't be read ({error.strerror})") from None
        if mode & _OTHERS:
            raise ConfigError(f"{path}: others may read this key (mode {mode:o}); chmod 600 it")
        try:
            key = load_pem_private_key(content, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):  # whose messages may have parts of it
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigError(f"{path}: not an Ed25519 private key in PEM without a password")
        return cls(key)

    def sign(self, folder: Path, manifest: str) -> None:
        """Write the signature of the manifest in a bundle's folder, whole or not at all.

        Raises:
            BundleUnavailable: the folder can't be read or written.
        """
        try:
            raw = self._key.sign((folder / manifest).read_bytes())
            signature = Signature(key=self.public.id, signature=base64.b64encode(raw).decode())
            write_atomically(folder / SIGNATURE, (signature.model_dump_json() + "\n").encode())
        except OSError as error:
            raise BundleUnavailable(f"{folder}: can't be signed ({error.strerror})") from error
