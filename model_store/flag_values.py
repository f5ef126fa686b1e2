"""Numbers that flags take, as types of argparse: what is wrong is one line with the value."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

MAX_NUMBER = 999_999_999


def up_to(largest: int = MAX_NUMBER) -> Callable[[str], int]:
    """Reads a whole number from 1 to `largest`."""

    def read(text: str) -> int:
        # A longer one is above any limit, and Python reads no number of thousands of digits.
        is_short = text.isascii() and text.isdigit() and len(text.lstrip("0")) < 20
        if not is_short or not 1 <= int(text) <= largest:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to {largest:,}")
        return int(text)

    return read


def percentage(text: str) -> float:
    """A number from 0 to 100.

    Raises:
        ArgumentTypeError: it is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 100")
    return number
