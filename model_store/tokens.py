"""Tokens of operators and keys of callers; the store holds their digests, never themselves.

A token is `lt_<id>_<secret>`. The id is public: it names the token in lists and logs, and finds its
record. The secret has 256 random bits. A plain SHA-256 of the whole is therefore right at rest: a
slow, salted hash protects what people make up and what dictionaries hold, and these can't be
guessed however fast one guesses.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import redis
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from model_store import keys
from model_store.errors import InputError
from model_store.store import store_errors

log = logging.getLogger(__name__)

Role = Literal["read", "operate", "call"]
"""read: GET under /admin; operate: everything there; call: what callers ask for."""

_TOKEN = re.compile(r"lt_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
_ID_BYTES, _SECRET_BYTES = 4, 32
MAX_NOTE_CHARACTERS = 100
MAX_PASSED_OVER = 100


class TokenRecord(BaseModel):
    """What the store knows of a token."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(pattern=r"^[0-9a-f]{8}$")
    digest: str = Field(repr=False, description="SHA-256 of the token, in hexadecimal digits")
    role: Role
    note: str = Field("", description="its user or purpose, for people")
    created: str = Field(description="ISO time, UTC")
    expires: AwareDatetime | None = None
    per_minute: int | None = Field(None, ge=1, description="quota of a caller; null: none")

    def matches(self, token: str) -> bool:
        """Whether this is the record of a token; takes the same time for every wrong one."""
        return hmac.compare_digest(digest_of(token).encode(), self.digest.encode())

    @property
    def has_expired(self) -> bool:
        """Whether its time is over."""
        return self.expires is not None and datetime.now(UTC) >= self.expires


class Tokens:
    """The tokens in the store, for commands.

    All methods raise StoreAway when the store can't be reached.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client: Any = client

    def create(
        self,
        role: Role,
        note: str = "",
        expires_after: timedelta | None = None,
        per_minute: int | None = None,
    ) -> tuple[TokenRecord, str]:
        """A new token: its record, and the token itself, which nothing can show again.

        Raises:
            InputError: the note is too long, or not of one line; a quota that isn't of a caller.
        """
        if per_minute is not None and role != "call":
            raise InputError(f"--per-minute: is for the role call, not for {role}")
        if len(note) > MAX_NOTE_CHARACTERS or not note.isprintable():
            raise InputError(
                f"--note: has more than {MAX_NOTE_CHARACTERS} characters, or more than one line"
            )
        number = secrets.token_hex(_ID_BYTES)
        token = f"lt_{number}_{secrets.token_urlsafe(_SECRET_BYTES)}"
        now = datetime.now(UTC).replace(microsecond=0)
        record = TokenRecord(
            id=number,
            digest=digest_of(token),
            role=role,
            note=note,
            created=now.isoformat(),
            expires=now + expires_after if expires_after is not None else None,
            per_minute=per_minute,
        )
        with store_errors():
            self._client.hset(keys.TOKENS, number, record.model_dump_json())
        return record, token

    def records(self) -> list[TokenRecord]:
        """All tokens that are not revoked, oldest first; those that have expired too."""
        with store_errors():
            entries = self._client.hgetall(keys.TOKENS)
        found = map(TokenReader().read, entries.values())
        return sorted((one for one in found if one), key=lambda one: (one.created, one.id))

    def revoke(self, number: str) -> None:
        """Remove a token; services reject it from their next request on.

        Args:
            number: its id.

        Raises:
            InputError: there is none with this id.
        """
        with store_errors():
            n_removed = self._client.hdel(keys.TOKENS, number)
        if not n_removed:
            # Not shown: a person may have given the whole token.
            raise InputError("there is no token with this id; `longtail tokens list` shows them")


def digest_of(token: str) -> str:
    """SHA-256 of a token, in hexadecimal digits."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def id_of(token: str) -> str | None:
    """The id in a token; None if it is none of those that `longtail tokens` makes."""
    found = _TOKEN.fullmatch(token)
    return found[1] if found else None


class TokenReader:
    """Reads records; what is none is ignored, with one warning for each.

    Services read all of them every second.
    """

    def __init__(self) -> None:
        self._passed_over: set[bytes] = set()

    def read(self, entry: bytes | None) -> TokenRecord | None:
        """The record in the store; None where there is none, or it can't be read."""
        if entry is None:
            return None
        try:
            return TokenRecord.model_validate_json(entry)
        except ValidationError as error:
            if entry not in self._passed_over:
                if len(self._passed_over) >= MAX_PASSED_OVER:
                    self._passed_over.clear()
                self._passed_over.add(entry)
                problem = error.errors(include_url=False, include_input=False)[0]["msg"]
                line = "%s: ignoring an entry that is no token's record (%s)"
                log.warning(line, keys.TOKENS, problem)
            return None
