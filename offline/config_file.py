"""Reads small TOML declarations (recipes, grids): bundled ones by name, others by path."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from model_store.errors import ConfigError
from model_store.redaction import redacted
from model_store.suggestion import did_you_mean

Config = TypeVar("Config", bound=BaseModel)


def read_config_file(kind: str, shape: type[Config], name: str, folder: Path) -> Config:
    """A declaration by its name, or from a `.toml` file.

    Args:
        kind: kind of declaration, for messages.
        shape: its model.
        name: name of a file in `folder` without `.toml`, or a path with it.
        folder: the bundled declarations.

    Raises:
        ConfigError: there is none, or a key or value in it is wrong.
    """
    path = Path(name) if name.endswith(".toml") else folder / f"{name}.toml"
    try:
        return shape.model_validate(read_toml(path))
    except FileNotFoundError:
        names = config_names(folder)
        raise ConfigError(
            f"{kind} {name!r}: there is none of this name{did_you_mean(name, names)} (known: "
            f"{', '.join(names)}; or the path of a .toml file)"
        ) from None
    except OSError as error:
        raise ConfigError(f"{kind} {name!r}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{kind} {name!r}: not TOML: {error}") from None
    except ValidationError as error:
        raise ConfigError(f"{kind} {name!r}: {describe_first(error)}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file, also of one that begins with a byte order mark.

    Raises:
        OSError: it can't be read.
        TOMLDecodeError, UnicodeDecodeError: it isn't TOML.
    """
    return tomllib.loads(path.read_text(encoding="utf-8-sig"))


def config_names(folder: Path) -> list[str]:
    """Names of the declarations in a folder."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def describe_first(error: ValidationError) -> str:
    """The first error, with its key and value if it has one."""
    first = error.errors()[0]
    key = ".".join(_written(first["loc"]))
    if first["type"] == "missing":  # its input is the whole table
        return f"{key} is missing"
    reason = first["msg"].removeprefix("Value error, ")
    if isinstance(first["input"], dict):  # of a whole table, which the reason is about
        return f"{key}: {reason}" if key else reason
    return f"{key} = {_shown(first['input'])}: {reason}" if key else reason


def _shown(value: object) -> str:
    return repr(redacted(value) if isinstance(value, str) and "://" in value else value)


def _written(location: tuple[int | str, ...]) -> list[str]:
    """A key as in the file; pydantic inserts the chosen backbone or model."""
    parts = [str(part) for part in location]
    return parts[:1] + parts[2:] if parts[:1] in (["recommender"], ["direct"]) else parts
