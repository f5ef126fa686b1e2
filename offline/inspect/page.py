"""An inspection as one HTML file that needs nothing else."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape

from offline.inspect.inspection import Inspection
from offline.inspect.text import facts, rows_lost, sample_rows, shorten
from offline.inspect.warnings import warnings_about_data

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 1.5rem }
th, td { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0;
         border-bottom: 1px solid #ddd; overflow-wrap: anywhere }
.warning { background: #fff3cd; border-left: 4px solid #d39e00; padding: .5rem 1rem }
img { max-width: 100% }
"""


def render_page(inspection: Inspection, plots: Mapping[str, bytes]) -> str:
    """The page.

    Args:
        inspection: of the data set.
        plots: PNG files by their titles.
    """
    parts = [f'<p class="warning">{escape(text)}</p>' for text in warnings_about_data(inspection)]
    parts += ["<h2>What was understood</h2>", _table([list(fact) for fact in facts(inspection)])]
    for file in inspection.files:
        rows = [
            [reading.column, reading.meaning, reading.kind or "", reading.detail]
            for reading in inspection.readings
            if reading.file == file
        ]
        parts += [f"<h2>{escape(file)}</h2>", _table(rows, ["column", "taken for", "kind", ""])]
    parts += ["<h2>Not used, or changed</h2>", _list(rows_lost(inspection))]
    header, *rows = sample_rows(inspection.samples)
    parts += ["<h2>Some interactions</h2>", _table(rows, header)]
    if inspection.items:
        items = [[shorten(value) for value in item.values()] for item in inspection.items]
        parts += ["<h2>Some items</h2>", _table(items, list(inspection.items[0]))]
    for title, png in plots.items():
        source = f"data:image/png;base64,{b64encode(png).decode()}"
        parts += [f"<h2>{escape(title)}</h2>", f'<img alt="{escape(title)}" src="{source}">']
    title = escape(", ".join(inspection.files))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{title}</h1>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _table(rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> str:
    lines = [_row(header, "th")] if header else []
    lines += [_row(row, "td") for row in rows]
    return f"<table>{''.join(lines)}</table>"


def _row(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"
