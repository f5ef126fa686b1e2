"""A comparison as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from app.comparison.report import SEGMENTS, Both, Changed, Comparison, Segment

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 1.5rem }
th, td { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0;
         border-bottom: 1px solid #ddd; overflow-wrap: anywhere }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
.new { background: #e6f4ea }
.gone { background: #fce8e6 }
small { color: #666 }
"""
_SOURCES = {
    "replayed": "Both versions were asked about the same users again, without a reranker.",
    "shadowed": "Live requests that {a} answered, and {b} as its shadow, without a reranker.",
}
_SEGMENT_NAMES = {
    "all": "all",
    "head": "head: more than {n} interactions",
    "tail": "tail: 1 to {n}",
    "new": "new: no known item",
}
_ABOUT_MEASURES = (
    "Overlap is the share of items in common. Rank correlation is Spearman's, of the items in "
    "common. Rank-biased overlap (0.9) counts first ranks most: 1 means the same list, 0 nothing "
    "in common. Popularity ranks (1 for the most popular) are those of {a} for both versions, so "
    "that a positive shift means that {b} recommends less popular items."
)


def render_page(comparison: Comparison) -> str:
    """The page."""
    a, b = comparison.a, comparison.b
    title = escape(f"{a} and {b} compared")
    source = escape(_SOURCES[comparison.source].format(a=a, b=b))
    n_answers = f"{comparison.answers:,} answer{'s' * (comparison.answers != 1)}"
    parts = [
        f"<p>{source} {n_answers} of each.</p>",
        "<h2>How much the answers differ</h2>",
        _measures(comparison),
        f"<p>{escape(_ABOUT_MEASURES.format(a=a, b=b))}</p>",
        "<h2>What is recommended</h2>",
        _shifts(comparison),
    ]
    if comparison.latency_ms is not None:
        parts += ["<h2>Time for one answer</h2>", _latencies(comparison)]
    if comparison.changed:
        only_a = f'<span class="gone">only by {escape(a)}</span>'
        only_b = f'<span class="new">only by {escape(b)}</span>'
        parts += [
            "<h2>Users whose answers changed most</h2>",
            f"<p>In colour: recommended {only_a}, {only_b}.</p>",
            *(_changed(one, comparison) for one in comparison.changed),
        ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{title}</h1>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _measures(comparison: Comparison) -> str:
    header = (
        *("users", "answers", "identical", "overlap"),
        *("rank correlation", "rank-biased overlap"),
    )

    def row(segment: Segment) -> list[str]:
        return [
            f"{segment.answers:,}",
            _percent(segment.identical),
            _number(segment.overlap),
            _number(segment.rank_correlation),
            _number(segment.rank_biased_overlap),
        ]

    return _table(header, [[name, *row(one)] for name, one in _segments(comparison)])


def _shifts(comparison: Comparison) -> str:
    a, b = comparison.a, comparison.b
    header = ["users"]
    for what in ("popularity rank", comparison.age_attribute, "coverage"):
        if what is not None:
            header += [f"{what}, {a}", f"{what}, {b}", "shift"]
    rows = []
    for name, segment in _segments(comparison):
        row = [name, *_both(segment.popularity_rank, 1)]
        if comparison.age_attribute is not None:
            row += _both(segment.age or Both(a=None, b=None, shift=None), 1)
        rows.append([*row, *_both(segment.coverage, 4)])
    return _table(header, rows)


def _latencies(comparison: Comparison) -> str:
    measured = comparison.latency_ms or {}
    names = {"a": comparison.a, "b": comparison.b}
    rows = [
        [names[which], f"{one.mean:.3f}", f"{one.p50:.3f}", f"{one.p99:.3f}"]
        for which, one in measured.items()
    ]
    return _table(["ms", "mean", "p50", "p99"], rows)


def _changed(user: Changed, comparison: Comparison) -> str:
    n = user.n_interactions
    heading = (
        f"<h3>{escape(user.user_id)} <small>{n:,} interaction{'s' * (n != 1)}, rank-biased overlap "
        f"{user.rank_biased_overlap:.3f}</small></h3>"
    )
    rows = []
    for place in range(max(len(user.a), len(user.b))):
        cells = [
            _item(user.a, place, user.b, "gone", comparison),
            _item(user.b, place, user.a, "new", comparison),
        ]
        rows.append(f'<tr><td class="number">{place + 1}</td>{"".join(cells)}</tr>')
    header = f"<tr><th></th><th>{escape(comparison.a)}</th><th>{escape(comparison.b)}</th></tr>"
    return f"{heading}<table>{header}{''.join(rows)}</table>"


def _item(
    items: Sequence[str], place: int, others: Sequence[str], mark: str, comparison: Comparison
) -> str:
    if place >= len(items):
        return "<td></td>"
    item_id = items[place]
    title = comparison.titles.get(item_id)
    text = escape(item_id) if title is None else f"{escape(title)} <small>{escape(item_id)}</small>"
    attribute = "" if item_id in others else f' class="{mark}"'
    return f"<td{attribute}>{text}</td>"


def _segments(comparison: Comparison) -> list[tuple[str, Segment]]:
    return [
        (_SEGMENT_NAMES[name].format(n=comparison.tail_interactions), comparison.segments[name])
        for name in SEGMENTS
    ]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [_row(header, "th"), *(_row(row, "td") for row in rows)]
    return f"<table>{''.join(lines)}</table>"


def _row(cells: Sequence[str], tag: str) -> str:
    first, *others = cells
    numbers = "".join(f'<{tag} class="number">{escape(cell)}</{tag}>' for cell in others)
    return f"<tr><{tag}>{escape(first)}</{tag}>{numbers}</tr>"


def _both(figures: Both, digits: int) -> list[str]:
    shift = "–" if figures.shift is None else f"{figures.shift:+.{digits}f}"
    return [_number(figures.a, digits), _number(figures.b, digits), shift]


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
