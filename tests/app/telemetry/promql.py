"""What a PromQL expression names: metrics, labels and values of labels. No parser of all of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

FUNCTIONS = frozenset(
    {
        *("sum", "min", "max", "avg", "count", "rate", "increase", "histogram_quantile", "time"),
        *("vector", "by", "without", "on", "ignoring", "group_left", "group_right"),
        *("and", "or", "unless", "bool"),
    }
)
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*(?:\{([^}]*)\})?")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_RANGE = re.compile(r"\[[^\]]*\]")
_MATCHER = re.compile(r"""([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"([^"]*)"\s*(?:,\s*|$)""")


@dataclass(frozen=True)
class Selector:
    """A metric with its matchers: label, operator, value."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...]


def selectors_of(expression: str) -> list[Selector]:
    """All selectors; a word that is neither a function nor a metric is one as well."""
    left = _RANGE.sub("", _GROUPING.sub("", expression))
    found = []
    for name, matchers in _SELECTOR.findall(left):
        if name not in FUNCTIONS:
            found.append(Selector(name, _matchers_of(matchers)))
    return found


def _matchers_of(text: str) -> tuple[tuple[str, str, str], ...]:
    found = _MATCHER.findall(text.strip())
    assert _MATCHER.sub("", text.strip()) == "", f"no matchers: {text}"
    return tuple(found)


def grouping_labels_of(expression: str) -> set[str]:
    """Labels in `by (…)`, `on (…)` and the like."""
    groups = _GROUPING.findall(expression)
    return {label.strip() for group in groups for label in group.split(",") if label.strip()}
