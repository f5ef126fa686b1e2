"""A service of two workers with three versions, and its console in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from model_store.attributes import ItemAttributes
from model_store.bundle import Bundle
from model_store.publication import publish
from model_store.store import connect
from tests.app.conftest import TOKEN
from tests.app.console.actions import (
    sign_in,
)
from tests.app.console.browser import Page, browsing
from tests.app.running import Running, serving
from tests.synthetic_bundle import Catalogue, make_bundle, make_catalogue


@pytest.fixture(scope="module")
def running(
    synthetic_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """Two workers; besides the active version there are another one, and one with titles only."""
    folder = tmp_path_factory.mktemp("console")
    catalogues = {
        "made-2": make_catalogue(seed=8),
        "titles-only": with_titles_only(make_catalogue(seed=9)),
    }
    options = {"LONGTAIL_EXPOSURE_SHARE": "1"}
    with serving(folder, synthetic_bundle.folder, "--workers", "2", **options) as running:
        bundles = Path(running.environment["LONGTAIL_BUNDLES_DIR"])
        with connect(running.store_url()) as client:
            for version, catalogue in catalogues.items():
                bundle = make_bundle(folder / version, version=version, catalogue=catalogue)
                publish(bundle, bundles, client)
        yield running


def with_titles_only(catalogue: Catalogue) -> Catalogue:
    titles = catalogue.attributes.get("title")
    assert titles is not None
    attributes = ItemAttributes([titles], catalogue.attributes.n_items)
    return replace(catalogue, attributes=attributes)


@pytest.fixture(scope="module")
def browser(running: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page before anybody signs in; at the end it must have had no errors of its own."""
    with browsing(tmp_path_factory.mktemp("browser")) as page:
        page.show_as(width=1280, height=800)
        page.open(f"http://127.0.0.1:{running.port}/console")
        yield page
        assert [error for error in page.errors if "'network'" not in error] == []


@pytest.fixture
def page(browser: Page) -> Iterator[Page]:
    """The page of an operator who has signed in, on its first panel."""
    browser.open(browser.evaluate("location.origin") + "/console")  # nothing of a test before
    browser.wait("document.querySelector('#token, nav')")
    if browser.evaluate("document.querySelector('#token') !== null"):
        sign_in(browser, TOKEN)
    browser.click_button("Deployment")
    browser.wait_for_text("Audit trail")
    yield browser
    browser.show_as(width=1280, height=800)
