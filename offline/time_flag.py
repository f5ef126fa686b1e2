"""Times that flags take: 30s, 5m, 2h."""

from __future__ import annotations

import argparse
import re

_UNITS_S = {"s": 1, "m": 60, "h": 3600}


def seconds(text: str) -> float:
    """Seconds of a time such as 30s, 5m or 2h, as a type of argparse.

    Raises:
        ArgumentTypeError: it is none.
    """
    found = re.fullmatch(r"([0-9]{1,9})([smh])", text)
    if found is None or not int(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 30s, 5m or 2h")
    return float(int(found[1]) * _UNITS_S[found[2]])
