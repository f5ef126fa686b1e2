"""The admin token of commands with `--url`."""

from __future__ import annotations

from pydantic import SecretStr

from app.settings import Settings
from model_store.admin_api import clean_token
from model_store.errors import ConfigError


def admin_token(given: str | None, settings: Settings) -> SecretStr:
    """The token given with a flag, else that of the settings.

    Raises:
        ConfigError: there is none, or it can't be a token.
    """
    try:
        token = clean_token(given) if given else settings.admin_token
    except ValueError as error:
        raise ConfigError(f"--token: {error}") from None
    if token is None:
        raise ConfigError("--url needs the admin token: set LONGTAIL_ADMIN_TOKEN or give --token")
    return token
