"""The admin token of commands with `--url`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, SecretStr, ValidationError

from app.settings import Settings
from model_store.admin_api import clean_token, foreign
from model_store.errors import ConfigError
from model_store.experiment import ANSWERED

Shape = TypeVar("Shape", bound=BaseModel)


def read_answer(shape: type[Shape], answer: Mapping[str, Any], url: str) -> Shape:
    """The answer of a service as a model, without fields that only a later release knows.

    Raises:
        RegistryError: it is none, as of another service.
    """
    try:
        return shape.model_validate(answer, context=ANSWERED)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        raise foreign(url, ".".join(map(str, fault["loc"]))) from None


def asks_service(arguments: argparse.Namespace) -> bool:
    """Whether a command asks a running service, in the place of the store.

    Args:
        arguments: with `url` and `token`; some commands have neither.

    Raises:
        ConfigError: a token is given, and no service that it is for.
    """
    url = getattr(arguments, "url", None)
    if url is None and getattr(arguments, "token", None) is not None:
        raise ConfigError("--token goes with --url: without a service, the store is asked")
    return url is not None


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
