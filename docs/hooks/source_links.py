"""Links to files outside docs/ become plain text in the site, which doesn't hold them."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from posixpath import normpath
from typing import Any

LINK = re.compile(r"\[([^\]\n]+)\]\((\.\./[^)\s]*)\)")


def on_page_markdown(markdown: str, *, page: Any, **_: object) -> str:
    """Called by MkDocs for each page."""
    folder = PurePosixPath(page.file.src_uri).parent

    def without_link(match: re.Match[str]) -> str:
        is_outside = normpath(str(folder / match[2])).startswith("..")
        return match[1] if is_outside else match[0]

    return LINK.sub(without_link, markdown)
