"""Names of brokers, topics and groups as flags take them."""

from __future__ import annotations

import argparse
import re

from model_store.errors import ConfigError

_BROKER = re.compile(r"([\w.-]+|\[[0-9a-fA-F:.]+\]):([0-9]{1,5})")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")


def brokers(text: str) -> str:
    """HOST:PORT[,HOST:PORT ...].

    Raises:
        ArgumentTypeError: it isn't; one with an @ may hold a password and is not shown.
    """
    for one in text.split(","):
        found = _BROKER.fullmatch(one)
        if found is None or not 0 < int(found[2]) <= 65_535:
            shown = "it" if "@" in text else repr(one)
            raise argparse.ArgumentTypeError(
                f"{shown} is no address HOST:PORT such as localhost:9092"
            )
    return text


def check_topic(flag: str, name: str) -> str:
    """The name of a topic.

    Raises:
        ConfigError: Kafka has no such names.
    """
    if not _NAME.fullmatch(name) or name in {".", ".."}:
        raise ConfigError(
            f"{flag} {name!r}: is no name of a topic: 1 to 249 of A-Z, a-z, 0-9, '.', '_' and '-'"
        )
    return name


def check_group(name: str) -> str:
    """The name of a group of consumers.

    Raises:
        ConfigError: it is blank.
    """
    if not name.strip():
        raise ConfigError("--group: the name of the group is empty")
    return name
