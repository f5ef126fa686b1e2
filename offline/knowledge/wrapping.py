"""Takes an answer out of what a model wraps it in: a code fence, JSON, quotes, a greeting."""

from __future__ import annotations

import json
import re

_FENCE = re.compile(r"\A\s*```[\w-]*[ \t]*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)
_QUOTES = {'"': '"', "“": "”", "«": "»", "„": "“"}
# "Sure! Here is the description:" on a line of its own, before the answer.
_GREETING = re.compile(
    r"\A\s*(?:sure|certainly|of course|absolutely|okay|ok|here is|here's|here’s)\b[^\n]{0,100}"
    r":[ \t]*\n+(?=\S)",
    re.IGNORECASE,
)


def unwrapped(text: str) -> str:
    """The answer itself; a text that isn't wrapped stays as it is."""
    without = _GREETING.sub("", text)
    if fenced := _FENCE.match(without):
        without = fenced[1]
    without = _of_json(without)
    inner = without.strip()
    if len(inner) > 1 and _QUOTES.get(inner[0]) == inner[-1]:
        between = inner[1:-1]
        if inner[0] not in between and inner[-1] not in between:
            return between
    return without


def _of_json(text: str) -> str:
    """The one text of an object such as {"description": "..."}; any other text as it is."""
    if not text.lstrip().startswith("{"):
        return text
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return text
    match document:
        case dict() if len(document) == 1:
            (value,) = document.values()
            return value if isinstance(value, str) else text
    return text
