"""Error replies of the store: their kind, and one line about the remedy.

An error reply begins with a code (`READONLY You can't write against a read only replica.`).
"""

from __future__ import annotations

import re

_CODE = re.compile(r"^([A-Z]{2,})\b")
# Before Redis 7 a general error contained the reason why a script failed.
_IN_SCRIPT = re.compile(r"@user_script.*?-([A-Z]{2,})\b")

READ_ONLY = "READONLY"

# These concern the whole store. Any other error concerns one key or one command.
_WHOLE_STORE = frozenset(
    {
        READ_ONLY,
        *("OOM", "MISCONF", "NOREPLICAS", "LOADING", "BUSY", "MASTERDOWN"),
        *("NOAUTH", "WRONGPASS", "NOPERM"),
        *("MOVED", "ASK", "CROSSSLOT", "CLUSTERDOWN", "TRYAGAIN"),
    }
)

_SETTINGS = {
    "NOAUTH": "it wants a password: give LONGTAIL_REDIS_PASSWORD",
    "WRONGPASS": "LONGTAIL_REDIS_PASSWORD, or the user or password in LONGTAIL_REDIS_URL, is wrong",
    "NOPERM": "the user in LONGTAIL_REDIS_URL lacks a permission",
    "MOVED": "LONGTAIL_REDIS_URL names one node of a cluster; name it as redis+cluster://",
}


def code_of(message: str) -> str:
    """The code of an error reply; empty where it has none."""
    found = _CODE.match(message)
    code = found[1] if found else ""
    if code == "ERR" and (inner := _IN_SCRIPT.search(message)):
        return inner[1]
    return code


def concerns_all(message: str) -> bool:
    """Whether an error reply is about the whole store, and not about one key."""
    return code_of(message) in _WHOLE_STORE or message.startswith("ERR unknown command")


def explain(message: str) -> str:
    """One line about an error reply, with the setting that fixes it where there is one."""
    line = " ".join(message.split())
    setting = _SETTINGS.get(code_of(message))
    return f"the store answered with an error: {line}" + (f" ({setting})" if setting else "")
