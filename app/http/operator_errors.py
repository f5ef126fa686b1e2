"""Errors of operators' commands as problems."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from app.http.problems import Problem
from model_store.errors import (
    BundleError,
    RegistryError,
    StoreError,
    UnknownExperiment,
    UnknownModel,
    UnknownVersion,
)

T = TypeVar("T")


async def asked(action: Awaitable[T]) -> T:
    """Await an operator's command; its errors become problems."""
    try:
        return await action
    except (UnknownVersion, UnknownModel, UnknownExperiment) as error:
        raise Problem(404, str(error)) from error
    except RegistryError as error:
        raise Problem(409, str(error)) from error
    except BundleError as error:
        raise Problem(424, f"{error}; the running version stays") from error
    except StoreError as error:
        raise Problem(503, str(error), headers={"Retry-After": "1"}) from error
