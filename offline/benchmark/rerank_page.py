"""The results of a reranking grid as a page that a person reads (Markdown)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from offline.benchmark.numbers import number, signed
from offline.benchmark.page import describe_hardware
from offline.benchmark.rerank_cells import ADAPTIVE

PROTOCOL = """\
Full ranking over the whole catalogue without the user's history, ties against the model,
leave-one-out. A reranker reorders the base's first k' = {k} items that the user doesn't have; the
rest stays where it is. The rank of the target after that is measured. *Tail* are the fifth of the
users with the shortest histories. Gains are over the base, paired by user and seed, with their 95 %
interval (Student's); of a single seed they cover variation between users only. ± is one standard
error.

The language model is {model}. It ranks by the logits of the candidates' labels in one forward pass,
each prompt with the user's history, a similar user's and the base's prediction, where the row
doesn't say otherwise. It is asked only where the target is among the first k': elsewhere no order
of them changes the target's rank, so the figures are those of asking always. One model, tuned with
{tuned_with}, answers all rows and seeds.

*Adaptive* rows weigh the two rankings by how far in the tail a user is (Llama4Rec 4.4); α₁ and α₂
are chosen from 0 and {{.1, .3, .5, .7, .9}}² by NDCG@10 on validation, for each row and seed; the
validation figures of these rows are therefore too good. *Uniform* rows weigh both alike.
{augmented}*Controls* have another scorer in the language
model's place: the cosine of the recipe's text encoder between the history's newest items and the
candidate, or a second recommender, trained as the base with another seed. A gain that a control has
too is not the language model's."""
_AUGMENTED = """\
*Augmented* rows have a base that was trained with items that the language model inserted into the
training sequences of users with few interactions. """


def render_reranking(document: Mapping[str, Any], plots: Sequence[str]) -> str:
    """Markdown of a grid's document; `plots` are names of files in its folder."""
    grid = document["grid"]
    protocol = PROTOCOL.format(
        k=grid["layout"]["n_candidates"],
        model=_model(grid),
        tuned_with="prompts of which parts were left out at random"
        if grid["tuned_with_part_dropout"]
        else "whole prompts",
        augmented=_AUGMENTED if _has_augmented_rows(document) else "",
    )
    parts = [f"# {document['description']}", protocol, f"```\n{document['command']}\n```"]
    seeds = ", ".join(map(str, grid["seeds"]))
    hardware = describe_hardware(document["hardware"])
    parts.append(f"Recipe `{grid['recipe']}`, seeds {seeds}. {hardware}, {document['date']}.")
    for name, data in document["data"].items():
        parts.append(
            f"## {name}\n\n{data['users']:,} users, {data['items']:,} items, "
            f"{data['training_interactions']:,} training interactions.{_measured(data)}"
        )
        for part in ("test", "validation"):
            parts.append(f"### {part.capitalize()}, all users\n\n{_table(data, part, 'all')}")
            parts.append(f"### {part.capitalize()}, tail users\n\n{_table(data, part, 'tail')}")
            parts.append(
                f"### {part.capitalize()}, {ADAPTIVE} against the controls\n\n"
                f"{_against_controls(data, part)}"
            )
        parts.append(f"### Choices on validation, and cases asked about\n\n{_choices(data)}")
    parts += [f"![NDCG@10]({plot})" for plot in plots]
    return "\n\n".join(parts) + "\n"


def _model(grid: Mapping[str, Any]) -> str:
    chosen = grid["language_model"]
    adapter = f" with the adapter `{chosen['adapter']}`" if chosen["adapter"] else ", not tuned"
    return f"`{chosen['model']}`{adapter}"


def _has_augmented_rows(document: Mapping[str, Any]) -> bool:
    choices = [choice for data in document["data"].values() for choice in data["choices"]]
    return any("augmentation" in choice for choice in choices)


def _measured(data: Mapping[str, Any]) -> str:
    if data["measured_users"] == data["users"]:
        return ""
    return (
        f" Figures are of {data['measured_users']:,} users drawn at random, the same for all rows "
        "and seeds; the tail is that of all users."
    )


def _table(data: Mapping[str, Any], part: str, group: str) -> str:
    lines = [
        "| | seeds | HR@3 | NDCG@3 | HR@10 | NDCG@10 | gain in NDCG@3 | gain in NDCG@10 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, entry in data["entries"].items():
        figures = entry[part]
        if group not in figures:
            continue
        gain = figures.get("gain", {}).get(group, {})
        of_group = figures[group]
        columns = [
            name,
            figures["seeds"],
            number(of_group["hit_rate_at_3"]),
            number(of_group["ndcg_at_3"]),
            number(of_group["hit_rate_at_10"]),
            _with_error(of_group),
            *(_gain(gain[metric]) if gain else "" for metric in ("ndcg_at_3", "ndcg_at_10")),
        ]
        lines.append(f"| {' | '.join(map(str, columns))} |")
    return "\n".join(lines)


def _with_error(figures: Mapping[str, Any]) -> str:
    mean, error = figures["ndcg_at_10"], figures["ndcg_at_10_standard_error"]
    return number(mean) if math.isnan(error) else f"{number(mean)} ± {number(error)}"


def _against_controls(data: Mapping[str, Any], part: str) -> str:
    lines = ["| against | all users, NDCG@10 | tail users, NDCG@10 |", "| --- | --- | --- |"]
    for control, by_group in data["against_controls"][part].items():
        shown = [
            _gain(by_group[group]["ndcg_at_10"]) if group in by_group else ""
            for group in ("all", "tail")
        ]
        lines.append(f"| {' | '.join([control, *shown])} |")
    return "\n".join(lines)


def _choices(data: Mapping[str, Any]) -> str:
    lines = ["| seed | row | α₁ | α₂ |", "| --- | --- | --- | --- |"]
    for choice in data["choices"]:
        lines += [
            f"| {choice['seed']} | {row} | {chosen['alpha_1']:g} | {chosen['alpha_2']:g} |"
            for row, chosen in choice["weightings"].items()
        ]
    asked = [
        f"Seed {choice['seed']}: "
        + ", ".join(f"{n:,} {part} cases" for part, n in choice["asked"].items())
        + f" have the target among the first k'{_inserted(choice.get('augmentation'))}."
        for choice in data["choices"]
    ]
    return "\n".join(lines) + "\n\n" + "\n".join(asked)


def _inserted(augmentation: Mapping[str, int] | None) -> str:
    if augmentation is None:
        return ""
    return f"; {augmentation['items']:,} items inserted for {augmentation['users']:,} users"


def _gain(gain: Mapping[str, Any]) -> str:
    relative = "" if gain["relative"] is None else f", {gain['relative']:+.0%}"
    if math.isnan(gain["from"]):  # of a single case
        return signed(gain["mean"])
    return f"{signed(gain['mean'])} ({signed(gain['from'])} to {signed(gain['to'])}{relative})"
