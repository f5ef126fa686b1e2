"""What answered last on this machine, to go on with when the store can't be read."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_store.deployments import DEFAULT
from model_store.files import write_atomically
from model_store.manifest import check_version
from model_store.rules import RuleSet

log = logging.getLogger(__name__)

ACTIVE_FILE = "active.json"
RULES_FILE = "rules.json"


class LastActive:
    """Keeps the versions by name, and the rules in force, in files of the bundles folder.

    Services that share the folder follow one record, and write the same.

    Attributes:
        waiting: versions that were remembered, by names under which none has answered here since.
            They stay in the copy: a process that ends before it has loaded all takes none away.
        is_read: whether they are known.
    """

    def __init__(self, bundles_dir: Path) -> None:
        self.waiting: dict[str, str] = {}
        self.is_read = False
        self._answering: Mapping[str, str] = {}
        self._path = bundles_dir / ACTIVE_FILE
        self._rules_path = bundles_dir / RULES_FILE

    def write(self, versions: Mapping[str, str]) -> None:
        """Remember the versions that answer now, by name, beside those that wait."""
        self._answering = dict(versions)
        for model in self.waiting.keys() & versions.keys():
            del self.waiting[model]
        named = self.waiting | self._answering
        document: dict[str, Any] = {}
        if DEFAULT in named:
            document["version"] = named.pop(DEFAULT)
        _write(self._path, json.dumps(document | ({"names": named} if named else {})).encode())

    def read(self) -> dict[str, str]:
        """The versions by name, as far as any are known."""
        found = self._read_versions()
        self.waiting = {model: one for model, one in found.items() if model not in self._answering}
        self.is_read = True
        return found

    def _read_versions(self) -> dict[str, str]:
        try:
            document: Any = json.loads(self._path.read_bytes())
            found = {str(model): str(one) for model, one in document.get("names", {}).items()}
            if "version" in document:
                found[DEFAULT] = str(document["version"])
            return {check_version(model): check_version(one) for model, one in found.items()}
        except (OSError, ValueError, AttributeError, TypeError, RecursionError):
            return {}

    def write_rules(self, rules: RuleSet) -> None:
        """Remember the rules in force, or that there are none."""
        if not rules.rules:
            with contextlib.suppress(OSError):
                self._rules_path.unlink(missing_ok=True)
            return
        document = rules.model_dump_json(by_alias=True, exclude_none=True)
        _write(self._rules_path, document.encode())

    def read_rules(self) -> RuleSet | None:
        """The rules, None where none are known."""
        try:
            return RuleSet.model_validate_json(self._rules_path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            log.warning("%s can't be read, so no rule holds: %s", self._rules_path, error)
            return None


def _write(path: Path, content: bytes) -> None:
    try:
        write_atomically(path, content)
    except OSError as error:
        log.warning("%s can't be written: %s", path, error)
