"""What the console shows to whom: people, clicks, experiments, comparisons, the catalogue."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from model_store.store import connect
from model_store.tokens import Tokens
from tests.app.conftest import wait_for
from tests.app.console.actions import (
    ENTER,
    FAINT,
    USERS,
    choose,
    confirm,
    fill,
    focus_button,
    set_share,
    sign_in,
    take_picture,
)
from tests.app.console.browser import CHROMIUM, Page
from tests.app.running import Running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]

PANELS = ("Deployment", "Experiments", "Compare", "Live", "Person", "Catalogue", "Health")


def test_a_wrong_token_shows_nothing_and_is_forgotten(browser: Page) -> None:
    sign_in(browser, "wrong")
    browser.wait_for_text("the admin token is wrong")
    assert browser.evaluate("sessionStorage.length") == 0
    assert browser.evaluate("document.querySelector('nav')") is None


def test_a_key_of_a_caller_opens_nothing_and_is_forgotten(running: Running, browser: Page) -> None:
    with connect(running.store_url()) as client:
        _, key = Tokens(client).create("call", "a shop")
    sign_in(browser, key)
    browser.wait_for_text("the token has the role 'call'; this needs 'read'")
    assert browser.evaluate("sessionStorage.length") == 0
    assert browser.evaluate("document.querySelector('nav')") is None


def ask_until_shown(page: Page, button: str, text: str) -> None:
    """A worker may not know a change yet, and a busy store may leave a history out."""

    def is_shown() -> bool:
        page.click_button(button)
        time.sleep(0.3)
        return bool(page.evaluate(f"document.body.innerText.includes({json.dumps(text)})"))

    wait_for(is_shown)


def test_titles_and_users_are_text_whatever_they_hold(running: Running, page: Page) -> None:
    markup = "<img src=x onerror='window.hacked = 1'>"
    before = running.ask("GET", "/admin/items?q=i3")[1]["items"][0]["title"]
    new = {"items": [{"item_id": "i3", "attributes": {"title": markup}}]}
    assert running.ask("PUT", "/admin/items", new)[0] == 200
    running.ask("POST", "/events", {"user_id": markup, "item_id": "i3"})
    page.click_button("Catalogue")
    fill(page, "#search", "onerror")
    ask_until_shown(page, "Search", markup)
    page.click_button("Person")
    fill(page, "#user-id", markup)
    ask_until_shown(page, "Show", f"{markup} i3")
    assert page.evaluate("document.querySelector('main img, main script')") is None
    assert page.evaluate("window.hacked") is None
    new["items"][0]["attributes"] = {"title": before}
    assert running.ask("PUT", "/admin/items", new)[0] == 200


def test_a_person_is_shown_under_two_versions(running: Running, page: Page) -> None:
    set_share(page, 1)
    page.click_button("Start at 1 %")
    confirm(page, "Start at 1 %")
    page.wait_for_text("canary made-2 at 1 %")
    page.click_button("Person")
    page.wait("document.querySelector('#version-b')?.value === 'made-2'")
    page.click("#user-id")
    page.type("u3")
    page.press("Enter", ENTER)
    page.wait("document.querySelectorAll('.columns .card').length === 3")
    text = page.evaluate("document.querySelector('.columns').innerText")
    expected = running.ask("GET", "/admin/users/u3/recommendations?version=made-2")[1]
    assert all(item["fields"]["title"] in text for item in expected["items"])
    assert "because of" in text
    page.show_as(width=1280, height=560)
    take_picture(page, "person")
    page.click_button("Deployment")
    page.click_button("End the canary")
    confirm(page, "End the canary")
    page.wait_for_text("The canary has ended")


def test_clicks_are_shown_by_version(running: Running, page: Page) -> None:
    set_share(page, 5)
    page.click_button("Start at 50 %")
    confirm(page, "Start at 50 %")
    page.wait_for_text("canary made-2 at 50 %")
    table = "document.querySelector('[aria-label=\"Clicks per exposure by version\"]')"
    clicks: dict[str, int] = {"made-1": 0, "made-2": 0}
    for place, user in enumerate(USERS):
        answer = running.ask("POST", "/recommend", {"user_id": user, "k": 5})[1]
        version = answer["model_version"]
        if place % 4 < {"made-1": 2, "made-2": 3}[version]:  # ten clicks of each, however drawn
            clicks[version] += 1
            click = {"item_id": answer["items"][0]["item_id"], "request_id": answer["request_id"]}
            assert running.ask("POST", "/events", {"user_id": user, **click})[0] == 200

    def told() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = running.ask("GET", "/admin/clicks")[1]["versions"]
        return found

    wait_for(lambda: {one["version"]: one["clicks"] for one in told()} == clicks)
    wait_for(lambda: sum(one["exposures"] for one in told()) == len(USERS))
    for one in told():
        ends = [f"{one[end]:.4f}" for end in ("rate", "low", "high")]
        figures = f"{one['exposures']}\\t{one['clicks']}\\t{'{} [{}, {}]'.format(*ends)}"
        page.wait(f"{table}?.innerText.includes('{one['version']}\\t{one['users']}\\t{figures}')")
    effect = told()[1]["effect"]
    ends = [f"{abs(effect[end]):.4f}" for end in ("difference", "low", "high")]
    shown = page.evaluate(f"{table}.innerText")
    assert re.search(r".{} \[.{}, .{}\]".format(*ends), shown), (ends, shown)
    page.show_as(width=1280, height=1_000)
    take_picture(page, "clicks")
    page.click_button("End the canary")
    confirm(page, "End the canary")
    page.wait_for_text("The canary has ended")


def test_the_catalogue_is_searched(page: Page) -> None:
    page.click_button("Catalogue")
    page.click("#search")
    page.type("i12")
    page.press("Enter", ENTER)
    page.wait_for_text("1 item in made-1")


def test_an_experiment_is_started_looked_at_and_stopped(running: Running, page: Page) -> None:
    page.click_button("Experiments")
    page.wait_for_text("No experiment runs")
    fill(page, "#experiment-name", "shorter")
    fill(page, "#arm-1-share", "40")
    page.click("fieldset:nth-of-type(2) summary")
    fill(page, "#arm-1-k", "3")
    page.press("Enter", ENTER)
    page.wait_for_text("Arms of the users: control 50 %; varied 40 % (k 3)")
    page.wait_for_text("10 % of the users are in no arm")
    confirm(page, "Start")
    page.wait_for_text("The experiment shorter runs")
    page.wait_for_text("0 of 0")  # nobody has been shown anything
    asked = [running.ask("POST", "/recommend", {"user_id": user, "k": 5})[1] for user in USERS]
    clicks = [(one["user_id"], one["items"][0]["item_id"], one["request_id"]) for one in asked]
    names = ("user_id", "item_id", "request_id")
    events = [dict(zip(names, click, strict=True)) for click in clicks[::3]]
    assert running.ask("POST", "/events", {"events": events})[0] == 200
    n_users = len([one for one in asked if "arm" in one])
    page.wait_for_text(f"{n_users} users so far")
    [experiment] = running.ask("GET", "/admin/deployment")[1]["experiments"]
    assert (experiment["name"], experiment["stopped"]) == ("shorter", None)
    report = running.ask("GET", "/admin/experiments/shorter")[1]
    [control, varied] = report["arms"]
    figures = page.evaluate("document.querySelector('[aria-label=\"Figures by arm\"]').innerText")
    for arm in (control, varied):
        assert f"{arm['exposures']}\t{arm['clicks']}\t{arm['rate']:.4f}" in figures
    ends = [f"{abs(varied['effect'][end]):.4f}" for end in ("difference", "low", "high")]
    assert re.search(r".{} \[.{}, .{}\]".format(*ends), figures), (ends, figures)
    page.wait_for_text(report["sample_ratio"]["reason"])
    page.show_as(width=1280, height=620)
    take_picture(page, "experiments")
    focus_button(page, "Stop shorter")
    page.press("Enter", ENTER)
    page.wait_for_text("Its figures are kept for 30 days")
    confirm(page, "Stop")
    page.wait_for_text("The experiment shorter has ended")
    assert "arm" not in running.ask("POST", "/recommend", {"user_id": "u1"})[1]
    # What it has shown is still there, and the form is back.
    page.wait_for_text(f"{n_users} users so far")
    page.wait("document.querySelector('#experiment-name')")


def test_two_versions_are_compared(running: Running, page: Page) -> None:
    page.click_button("Compare")
    choose(page, "#compare-b", "made-2")
    page.click("form button")
    page.wait_for_text("How much the answers differ")
    report = running.ask("GET", "/admin/compare?a=made-1&b=made-2")[1]
    text = page.evaluate("document.querySelector('#content').innerText")
    assert f"{report['answers']} answers of each" in text
    for segment in report["segments"].values():
        overlap = segment["overlap"]
        assert f"{segment['answers']}\t" in text
        assert overlap is None or f"{overlap:.3f}" in text
    first = report["changed"][0]
    for version, items in (("made-1", first["a"]), ("made-2", first["b"])):
        list_ = f"document.querySelector('[aria-label=\"{first['user_id']} under {version}\"]')"
        shown = page.evaluate(f"{list_}.innerText")
        assert [item for item in items if report["titles"].get(item, item) not in shown] == []
    page.show_as(width=1280, height=700)
    take_picture(page, "compare")
    choose(page, "#compare-b", "made-1")
    page.click("form button")
    page.wait_for_text("is the version that it is to be compared with")


def test_the_role_read_sees_all_and_is_offered_no_change(running: Running, page: Page) -> None:
    """No button that the service would deny; all the panels can be read."""
    with connect(running.store_url()) as client:
        _, token = Tokens(client).create("read", "a reader")
    page.click_button("Sign out")
    sign_in(page, token)
    page.wait_for_text("a reader, role read")
    allowed = {"Sign out", "Show", "Compare", "Search"}
    for panel in PANELS:
        page.click_button(panel)
        page.wait(f"document.querySelector('nav [aria-current]').innerText === {panel!r}")
        page.wait("document.querySelector('#content').innerText.includes('Loading') ? null : true")
        buttons = page.evaluate(
            "[...document.querySelectorAll('button')].map((one) => one.innerText)"
        )
        assert set(buttons) <= allowed, panel
        assert page.evaluate("document.querySelectorAll('input[type=range]').length") == 0, panel
        assert page.evaluate("document.querySelectorAll('.failure').length") == 0, panel
    page.click_button("Compare")
    choose(page, "#compare-b", "made-2")
    page.click("form button")
    page.wait_for_text("How much the answers differ")
    page.click_button("Person")
    fill(page, "#user-id", "u3")
    page.press("Enter", ENTER)
    page.wait("document.querySelectorAll('.columns .card').length === 2")
    page.click_button("Sign out")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_panel_fits_a_phone_and_has_contrast(page: Page, scheme: str) -> None:
    page.show_as(width=360, height=740, scheme=scheme)
    for panel in (*PANELS[1:], PANELS[0]):
        page.click_button(panel)
        page.wait(f"document.querySelector('nav [aria-current]').innerText === {panel!r}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, panel
        assert page.evaluate(FAINT) == [], panel
    take_picture(page, f"phone-{scheme}")


def test_rates_and_percentiles_are_those_of_the_counters(page: Page) -> None:
    before = """
longtail_requests_total{route="/recommend",served_by="model",status="200",version="a"} 100.0
longtail_request_seconds_bucket{le="0.001",route="/recommend",version="a"} 10.0
longtail_request_seconds_bucket{le="+Inf",route="/recommend",version="a"} 10.0"""
    after = """
# HELP longtail_requests_total Requests answered.
longtail_requests_total{route="/recommend",served_by="model",status="200",version="a"} 140.0
longtail_requests_total{route="/recommend",served_by="",status="500",version="a"} 10.0
longtail_requests_total{route="/events",served_by="",status="200",version=""} 7.0
longtail_batch_entries_total{status="200",served_by="model",version="b"} 20.0
longtail_batch_entries_total{status="200",served_by="model",version="constructor"} 30.0
longtail_request_seconds_bucket{le="0.001",route="/recommend",version="a"} 60.0
longtail_request_seconds_bucket{le="0.002",route="/recommend",version="a"} 100.0
longtail_request_seconds_bucket{le="+Inf",route="/recommend",version="a"} 112.0
longtail_degraded_total{what="features"} 4.0"""
    found = page.evaluate(
        "import(new URL('console/metrics.js', location.href)).then(({ between, readCounters }) =>"
        f"between(readCounters({json.dumps(before)}, 10), readCounters({json.dumps(after)}, 20)))"
    )
    assert found["answers"] == {"a": 5, "b": 2, "constructor": 3}
    assert found["errorShare"] == {"a": 20, "b": 0, "constructor": 0}
    assert found["degraded"] == {"features": 0.4}
    assert found["p50"]["a"] == pytest.approx(1 + 1 / 50)
    assert found["p95"]["a"] == pytest.approx(1 + (0.95 * 102 - 50) / 50)
    assert found["p99"]["a"] == 2  # above the last bound
