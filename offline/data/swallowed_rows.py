"""Finds records in which two stray quotes may have made one row of several.

Where fields stand in quotes, a quote at the beginning of a field and another one at the end of a
later row's field are well-formed, and what is between them is one field over several lines. It may
be meant so: a description has line breaks. But its lines don't have the columns of the table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# Longer fields are texts, which say nothing about their column.
_MAX_TOKEN_CHARACTERS = 40


def holds_rows(fields: Sequence[str], lines: Sequence[str], separator: str) -> bool:
    """Whether a line within a record reads as a row of the same table.

    It has as many fields as the record, and in each column in which the record has an id, a number
    or a time, something of the same shape; with no such column nothing can be said, and it hasn't.

    Args:
        fields: of the record.
        lines: of the record but the first one.
        separator: between fields.
    """
    rows = [line.split(separator) for line in lines if line.count(separator) == len(fields) - 1]
    if not rows:
        return False
    shapes = {column: _shape(field) for column, field in enumerate(fields) if _is_token(field)}
    return bool(shapes) and any(
        all(_shape(row[column]) == shape for column, shape in shapes.items()) for row in rows
    )


def _is_token(field: str) -> bool:
    is_short = len(field) <= _MAX_TOKEN_CHARACTERS
    return is_short and "\n" not in field and re.search(r"\d", field) is not None


def _shape(field: str) -> str:
    """Digits as one 0, letters as one a."""
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "0", field.strip('"')))
