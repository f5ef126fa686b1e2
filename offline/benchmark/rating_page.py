"""The results of a grid of ratings as a page that a person reads (Markdown)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from offline.benchmark.numbers import number, signed
from offline.benchmark.page import describe_hardware
from offline.rating.page import describe_completion

PROTOCOL = """\
Held-out ratings, predicted by models of the training ratings alone and clipped to their scale;
figures are means over seeds. {split} Choices are made on validation. *Tail*: the ratings of the
fifth of the users with the fewest training ratings. Differences of RMSE are paired by user and
seed, with their 95 % interval (Student's); below zero is better. ± is one standard error."""
LANGUAGE_MODEL = """\
The language model is `{model}`, tuned for each seed on at most {examples:,} of its training
ratings. A prompt shows the newest {history} items that the user rated in training, with their
ratings; its rating of another item is the expected value over the five rating tokens, in one
forward pass (Llama4Rec 4.4.1). *Aggregated* rows mix two models' predictions by equations 6 and 7;
α₁ and α₂ are chosen from 0 and {{.1, .3, .5, .7, .9}}² by RMSE on validation, so that their
validation figures are too good. Biased MF in the language model's place is a control: a gain that
it has too is not the language model's."""
_SPLITS = {
    "random": "Of all ratings, a tenth drawn by the seed is for choices and a tenth for figures.",
    "leave_one_out": "Of each user the last rating is for figures and the one before for choices.",
    "global_time": "The last tenth of the ratings by time is for figures, the one before for "
    "choices.",
}


def render_ratings(document: Mapping[str, Any], plots: Sequence[str]) -> str:
    """Markdown of a grid's document; `plots` are names of files in its folder."""
    grid = document["grid"]
    parts = [
        f"# {document['description']}",
        PROTOCOL.format(split=_SPLITS[grid["split"]]),
        *([_describe_model(grid["language_model"])] if grid["language_model"] else []),
        f"```\n{document['command']}\n```",
        f"Measured on {describe_hardware(document['hardware'])}, {document['date']}.",
    ]
    for name, data in document["data"].items():
        counts = data["ratings"]
        parts.append(
            f"## {name}\n\n{data['users']:,} users, {data['items']:,} items; "
            f"{counts['train']:,} ratings to learn from, {counts['validation']:,} for choices, "
            f"{counts['test']:,} for figures.{_measured(data)}"
        )
        parts += [
            f"### {part.capitalize()}\n\n{_table(data['entries'], part)}"
            for part in ("test", "validation")
        ]
        if grid["language_model"]:
            parts.append(_choices(data["entries"]))
        parts += [
            f"*{entry}*. {describe_completion(training['completion'])}"
            for entry, trainings in data["entries"].items()
            for training in trainings["training"][:1]
            if "completion" in training
        ]
    parts += [f"![RMSE]({plot})" for plot in plots]
    return "\n\n".join(parts) + "\n"


def _describe_model(choices: Mapping[str, Any]) -> str:
    return LANGUAGE_MODEL.format(
        model=choices["tuning"]["model"],
        examples=choices["max_examples"],
        history=choices["n_history"],
    )


def _measured(data: Mapping[str, Any]) -> str:
    if data["measured_users"] == data["users"]:
        return ""
    return (
        f" Figures are of {data['measured_users']:,} users drawn at random, the same for all rows; "
        "the tail is that of all users."
    )


def _choices(entries: Mapping[str, Any]) -> str:
    lines = [
        "### Choices on validation",
        "",
        "| row | seed | α₁ | α₂ |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {name} | {training['seed']} | {training['alpha_1']:g} | {training['alpha_2']:g} |"
        for name, entry in entries.items()
        for training in entry["training"]
        if "alpha_1" in training
    ]
    return "\n".join(lines)


def _table(entries: Mapping[str, Any], part: str) -> str:
    lines = [
        "| | seeds | RMSE | MAE | RMSE over | by | tail RMSE | tail MAE | by |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, entry in entries.items():
        figures = entry[part]
        whole, tail = figures["all"], figures.get("tail")
        columns = [
            name,
            str(figures["seeds"]),
            f"{number(whole['rmse'])} ± {number(whole['rmse_standard_error'])}",
            number(whole["mae"]),
            figures["against"] or "",
            _difference(whole.get("difference")),
            *([number(tail["rmse"]), number(tail["mae"])] if tail else ["", ""]),
            _difference(tail.get("difference") if tail else None),
        ]
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines)


def _difference(difference: Mapping[str, Any] | None) -> str:
    if not difference:
        return ""
    interval = f"{signed(difference['from'])} to {signed(difference['to'])}"
    return f"{signed(difference['rmse'])} ({interval})"
