"""Numbers of answers in six significant digits, about what float32 holds."""

from __future__ import annotations

from collections.abc import Iterable

_write = "%.6g".__mod__


def six_digits(numbers: Iterable[float]) -> list[float]:
    """Each number, rounded. Their order stays, but for numbers that become equal."""
    return [float(_write(number)) for number in numbers]
