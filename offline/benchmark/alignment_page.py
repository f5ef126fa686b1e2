"""The results of an alignment grid as a page that a person reads (Markdown)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from offline.benchmark.alignment_grid import Texts
from offline.benchmark.page import render_page

INTRODUCTION = """\
All rows train one recipe, with ids that start as random numbers; they differ in what stands beside
the ids:"""

ROWS = {
    Texts.NONE: "nothing",
    Texts.OWN: "vectors of the items' own texts",
    Texts.BEFORE: "their own texts and what the LLM wrote about them as it is (greedy)",
    Texts.RANDOM: "as *not aligned*, but items of the pool have one of the K texts that the LLM "
    "sampled about them at temperature 1",
    Texts.BEST: "the same with the text that makes the training examples likeliest whose history "
    "ends with the item, by the first network of the same seed, trained with texts drawn from the "
    "pool: the choice that alignment with this pool is after",
    Texts.ALIGNED: "what the LLM wrote (greedy) after alignment with the first network and seed; "
    "one alignment for all rows",
    Texts.REFERENCE: "director, cast and plot from another data set, for items with the same title "
    "and year there{share}; the others have their own texts",
}

REWARDS = """\
What alignment has to learn from: log p(y|x, s) of training examples, each text of an item read with
the same examples. Its variance lies between the texts, between the examples, or in how one text
suits one example (the rest, which is noise to alignment). *Signal* is the share of the text in the
variance between the means over {examples} examples, as a step compares them. The gain of the best
text over a random one is that on the half of the examples by which it was not chosen (in
parentheses: on those by which it was). NDCG@10 is on validation, of the recommender as it was
trained, only the texts exchanged."""

SHARES = """\
A share is of the users, whose sequences train the row; the LLM was aligned with all of them."""

RESETS = """\
LLM and recommender of the alignment, each as it is after it or set back to before (SeRALM's figure
5). Neither is trained again: the recommender is the one that rewarded, which is not that of the
rows. One seed; gains are paired by user."""

_COLUMNS = (
    *("seed", "items", "examples", "text", "example", "rest", "signal", "text's effect, nats"),
    *("best over random, nats", "random over not aligned, nats"),
    *("NDCG@10 not aligned", "random", "best"),
)


def render_alignment(document: Mapping[str, Any], plots: Sequence[str]) -> str:
    """Markdown of a grid's document; `plots` are names of files in its folder."""
    parts = [render_page(document, plots).rstrip("\n")]
    for name, data in document["data"].items():
        heading = f": {name}" if len(document["data"]) > 1 else ""
        share = data["described_items"]
        of_items = "" if share is None else f" ({share:.1%})"
        rows = [
            f"- *{row}*: {ROWS[Texts(row)].format(share=of_items)}"
            for row in document["grid"]["rows"]
            if row != Texts.REFERENCE or share is not None
        ]
        parts.append("\n".join([f"## The rows{heading}\n\n{INTRODUCTION}\n", *rows]))
        if len(document["grid"].get("shares", ())) > 1:
            parts.append(SHARES)
        if data["rewards"]:
            examples = document["grid"]["alignment"]["examples_per_item"]
            parts.append(
                f"## Rewards of the pool's texts{heading}\n\n{REWARDS.format(examples=examples)}"
                f"\n\n{_rewards(data['rewards'])}"
            )
        if data["resets"]:
            parts.append(f"## Resets{heading}\n\n{RESETS}\n\n{_resets(data['resets'])}")
        if data["shown"]:
            parts.append(f"## Texts of items chosen beforehand{heading}\n\n{_texts(data['shown'])}")
    return "\n\n".join(parts) + "\n"


def _rewards(by_seed: Mapping[str, Mapping[str, float]]) -> str:
    lines = [f"| {' | '.join(_COLUMNS)} |", f"|{' --- |' * len(_COLUMNS)}"]
    for seed, row in by_seed.items():
        columns = [
            seed,
            f"{row['items']:,.0f}",
            f"{row['examples']:,.0f}",
            *(f"{row[name]:.3%}" for name in ("share_text", "share_example", "share_rest")),
            f"{row['reliability']:.0%}",
            f"{row['text_deviation']:.4f}",
            f"{row['gain_best']:+.4f} ({row['gain_best_same']:+.4f})",
            f"{row['gain_random_over_before']:+.4f}",
            *(f"{row[name]:.4f}" for name in ("ndcg_before", "ndcg_random", "ndcg_best")),
        ]
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines)


def _resets(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| texts of the LLM | recommender | validation NDCG@10 | test NDCG@10 |"]
    lines.append("| --- | --- | --- | --- |")
    for row in rows:
        figures = [_figure(row[part]) for part in ("validation", "test")]
        lines.append(f"| {row['llm']} | {row['recommender']} | {' | '.join(figures)} |")
    return "\n".join(lines)


def _figure(part: Mapping[str, float]) -> str:
    interval = f"({part['from']:+.4f} to {part['to']:+.4f})"
    return f"{part['ndcg_at_10']:.4f}; {part['gain']:+.4f} {interval}"


def _texts(shown: Mapping[str, Mapping[str, str]]) -> str:
    blocks = []
    for title, texts in shown.items():
        lines = [f"**{title}**", ""]
        lines += [
            f"- *{row}*: {' '.join(text.split()) or '(none: its own text alone)'}"
            for row, text in texts.items()
        ]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)
