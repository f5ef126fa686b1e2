"""`longtail inspect`: what is understood of a data set, printed and as a page."""

from __future__ import annotations

from errno import EISDIR
from pathlib import Path

from model_store.errors import ConfigError
from model_store.event_rules import DEFAULT_RULES, EventRules
from model_store.files import make_folder, probe_folder, write_atomically
from offline.data.config import ALL_INTERACTIONS, DataConfig
from offline.data.dataset import read_dataset
from offline.data.namings import Naming
from offline.data.selection import select
from offline.data.split import leave_one_out
from offline.inspect.document import render_document
from offline.inspect.inspection import inspect_dataset
from offline.inspect.text import describe


def inspect_source(
    interactions: Path,
    items: Path | None,
    html: Path | None,
    naming: Naming | None = None,
    choices: DataConfig = ALL_INTERACTIONS,
    rules: EventRules = DEFAULT_RULES,
    *,
    events: Path | None = None,
    as_json: bool = False,
) -> str:
    """Read a data set and describe it; write a page too, where a file for it is named.

    Args:
        interactions, items, naming: see `read_dataset`.
        html: where to write the page.
        choices: which of the interactions are used.
        rules: what each of them means.
        events: see `read_dataset`.
        as_json: describe it as a JSON document in place of a text.

    Raises:
        InputError: a file can't be used, or nothing in it is positive.
        ConfigError: the page can't be written.
    """
    if html is not None:
        _check_writable(html)
    dataset = select(read_dataset(interactions, items, naming, events), choices, rules)
    inspection = inspect_dataset(dataset, leave_one_out(dataset.interactions).test)
    if html is not None:
        # matplotlib takes a second to load, and is not needed for text.
        from offline.inspect.page import render_page
        from offline.inspect.plots import plot_lengths, plot_popularity, plot_times

        plots = {
            "Lengths of histories": plot_lengths(dataset.interactions),
            "Interactions over time": plot_times(dataset.interactions),
            "Popularity of items": plot_popularity(dataset.interactions),
        }
        write_atomically(html, render_page(inspection, plots).encode())
    if as_json:
        return render_document(inspection, dataset.files)
    return "\n".join(dataset.files) + "\n\n" + describe(inspection)


def _check_writable(page: Path) -> None:
    """Find out whether the page can be written, before anything takes long."""
    try:
        make_folder(page.parent)
        probe_folder(page.parent, 1)
        if page.is_dir():
            raise IsADirectoryError(EISDIR, "is a folder")
    except OSError as error:
        raise ConfigError(f"--html {str(page)!r}: {error.strerror}") from error
