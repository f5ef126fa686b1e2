"""The console in a browser: a canary, a promotion and a rollback by clicks, while requests run."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model_store.attributes import ItemAttributes
from model_store.bundle import Bundle
from model_store.publication import publish
from model_store.store import connect
from model_store.tokens import Tokens
from tests.app.browser import CHROMIUM, Page, browsing
from tests.app.conftest import TOKEN, wait_for
from tests.app.console_actions import (
    ENTER,
    ESCAPE,
    FAINT,
    PICTURES,
    TAB,
    choose,
    confirm,
    fill,
    focus_button,
    set_share,
    sign_in,
    take_picture,
    wait_for_no_dialog,
)
from tests.app.running import Load, Running, serving
from tests.synthetic_bundle import Catalogue, make_bundle, make_catalogue

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]

PANELS = ("Deployment", "Experiments", "Compare", "Live", "Person", "Catalogue", "Health")
USERS = [f"u{n}" for n in range(1, 13)] + [f"visitor {n}" for n in range(100)]


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
    with browsing(tmp_path_factory.mktemp("browser")) as page:
        page.show_as(width=1280, height=800)
        page.open(f"http://127.0.0.1:{running.port}/console")
        yield page


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


def take_pictures_of_traffic(page: Page) -> None:
    time.sleep(30)  # so that the charts show something
    take_picture(page, "deployment")
    page.click_button("Live")
    page.wait("document.querySelector('.u-legend')")
    take_picture(page, "live")
    page.show_as(width=1280, height=800, scheme="dark")
    time.sleep(3)
    take_picture(page, "live-dark")
    page.show_as(width=1280, height=800)
    page.click_button("Deployment")


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


def test_a_canary_a_promotion_and_a_rollback_while_requests_run(
    running: Running, page: Page
) -> None:
    def audit() -> str:
        return running.ask("GET", "/admin/deployment")[1]["audit"][0]["what"]

    with Load(running.port, user_ids=USERS) as load, Load(running.port, user_ids=USERS) as other:
        set_share(page, 3)
        page.click_button("Start at 10 %")
        page.wait_for_text("Every worker loads and checks the version first")
        take_picture(page, "confirm")
        confirm(page, "Start at 10 %")
        page.wait_for_text("canary made-2 at 10 %")
        set_share(page, 4)
        page.click_button("Change the share")
        confirm(page, "Set to 50 %")
        page.wait_for_text("canary made-2 at 50 %")
        assert audit() == "canary made-2 at 50 %"
        n_before = len(load.answers)
        # The verdict counts answers; how many decides its words.
        page.wait(
            "/[0-9] answers of the canary|after [0-9,]+ answers/"
            ".test(document.querySelector('.cards').innerText)"
        )
        wait_for(lambda: len(load.answers) > n_before + len(USERS))
        if PICTURES:
            take_pictures_of_traffic(page)
        versions = {answer["model_version"] for _, answer in load.answers[n_before:]}
        assert versions == {"made-1", "made-2"}
        # With keys only: the dialog is opened and confirmed without a mouse.
        focus_button(page, "Promote made-2")
        page.press("Enter", ENTER)
        page.wait_for_text("The canary made-2 answers all users in place of made-1, not 50 %")
        page.press("Tab", TAB)
        page.press("Enter", ENTER)
        wait_for_no_dialog(page)
        page.wait_for_text("made-2 is the active version now, in 2 workers")
        page.wait_for_text("promote made-2, before made-1")
        assert audit() == "promote made-2, before made-1"
        page.click_button("Roll back to made-1")
        confirm(page, "Roll back")
        page.wait_for_text("made-1 is the active version now, in 2 workers")
        page.wait_for_text("before made-2")
        assert audit().endswith("made-1, before made-2")
        n_before = len(load.answers)
        wait_for(lambda: len(load.answers) > n_before + 50)
        assert {answer["model_version"] for _, answer in load.answers[n_before:]} == {"made-1"}
    answers = load.answers + other.answers
    assert {status for status, _ in answers} == {200}
    changes = [entry["what"] for entry in running.ask("GET", "/admin/deployment")[1]["audit"]]
    shown = page.evaluate("document.querySelector('[aria-label=\"Audit trail\"]').innerText")
    assert all(change in shown for change in changes)


def test_the_deployment_of_a_name_is_chosen_changed_and_ended(running: Running, page: Page) -> None:
    def record(model: str = "second") -> dict[str, Any]:
        answer: dict[str, Any] = running.ask("GET", f"/admin/deployment?model={model}")[1]
        return answer

    default = record("default")
    assert running.ask("POST", "/admin/models/made-2/activate?model=second")[0] == 200
    page.wait("document.querySelector('#model-name option[value=second]')")
    page.evaluate(
        "(one => { one.value = 'second'; one.dispatchEvent(new Event('change')); })"
        "(document.querySelector('#model-name'))"
    )
    page.wait("document.querySelector('.version').innerText === 'made-2'")
    page.wait_for_text("2 of 2 workers answer with it")
    page.click("[aria-label='Activate made-1 …']")
    page.wait_for_text("It is about requests with the model second alone.")
    confirm(page, "Activate")
    page.wait_for_text("made-1 is the active version now, in 2 workers")
    assert record()["audit"][0]["what"] == "activate made-1, before made-2"
    page.click_button("Roll back to made-2")
    confirm(page, "Roll back")
    page.wait_for_text("made-2 is the active version now, in 2 workers")
    set_share(page, 3)
    page.click_button("Start at 10 %")
    confirm(page, "Start at 10 %")
    page.wait_for_text("canary made-1 at 10 %")
    assert record()["canary"]["version"] == "made-1"
    page.click_button("End the name second")
    page.wait_for_text("The canary made-1 ends.")
    confirm(page, "End it")
    page.wait_for_text("second answers no more; it was made-2.")
    assert record()["active"] is None
    page.evaluate(
        "(one => { one.value = 'default'; one.dispatchEvent(new Event('change')); })"
        "(document.querySelector('#model-name'))"
    )
    page.wait("document.querySelector('#model-name') === null")
    assert record("default")["generation"] == default["generation"]


# While slowMs is set, what the deployment is arrives so many milliseconds after it was read.
_SLOW_REPLIES = """
(() => {
  const send = window.fetch;
  Object.assign(window, { slowMs: 0, round: 0, nHeld: 0, nLate: 0 });
  window.fetch = async (url, options) => {
    const { slowMs: ms, round } = window;
    const reply = await send(url, options);
    if (ms && (options?.method ?? "GET") === "GET" && String(url).includes("/admin/deployment")) {
      window.nHeld += round === window.round;
      await new Promise((go) => setTimeout(go, ms));
      window.nLate += round === window.round;
    }
    return reply;
  };
})()
"""


def test_what_is_told_of_a_change_is_shown_and_stays(running: Running, page: Page) -> None:
    page.evaluate(_SLOW_REPLIES)
    try:
        page.evaluate("window.slowMs = 1500")
        page.click("[aria-label='Activate made-2 …']")
        confirm(page, "Activate")
        page.wait_for_text("made-2 is the active version now")
        assert page.evaluate("document.querySelector('.version').innerText") == "made-2"
        # A question from before the change is answered after those that came later.
        page.evaluate(
            "(window.slowMs = 4000, window.round += 1, window.nHeld = 0, window.nLate = 0)"
        )
        page.wait("window.nHeld > 0")
        page.evaluate("window.slowMs = 0")
        page.click_button("Roll back to made-1")
        confirm(page, "Roll back")
        page.wait_for_text("made-1 is the active version now")
        page.wait("window.nLate === window.nHeld")
        time.sleep(0.3)  # until the page would show it
        assert page.evaluate("document.querySelector('.version').innerText") == "made-1"
    finally:
        if running.ask("GET", "/admin/deployment")[1]["active"] != "made-1":
            running.ask("POST", "/admin/models/made-1/activate")


def test_a_change_that_is_cancelled_changes_nothing(running: Running, page: Page) -> None:
    before = running.ask("GET", "/admin/deployment")[1]["generation"]
    page.click("[aria-label='Activate made-2 …']")
    page.wait_for_text("Activate made-2?")
    page.press("Escape", ESCAPE)
    page.wait("document.querySelector('dialog') === null")
    focused = page.evaluate("document.activeElement.ariaLabel")
    assert focused == "Activate made-2 …"
    assert running.ask("GET", "/admin/deployment")[1]["generation"] == before


def test_what_somebody_else_changed_is_not_overwritten(running: Running, page: Page) -> None:
    page.click("[aria-label='Activate made-2 …']")
    page.wait_for_text("Activate made-2?")
    running.ask("POST", "/admin/models/made-2/canary", {"percent": 1})
    page.click_button("Activate")
    page.wait_for_text("It did not happen: the deployment record was changed meanwhile")
    page.wait_for_text("the last change: canary made-2 at 1 %")
    page.press("Escape", ESCAPE)
    wait_for_no_dialog(page)
    assert running.ask("GET", "/admin/deployment")[1]["active"] == "made-1"
    running.ask("POST", "/admin/models/made-2/canary", {"percent": 0})


def test_of_an_answer_that_is_lost_nothing_is_promised(running: Running, page: Page) -> None:
    page.evaluate("(window.reallyFetch = fetch, window.fetch = async () => { throw new Error(); })")
    page.click("[aria-label='Activate made-2 …']")
    page.click_button("Activate")
    page.wait_for_text("It may not have happened; look before you try again:")
    page.evaluate("window.fetch = window.reallyFetch")
    page.press("Escape", ESCAPE)
    wait_for_no_dialog(page)


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


def test_a_version_that_lacks_attributes_is_forced_only_after_the_reason_is_shown(
    running: Running, page: Page
) -> None:
    page.click("[aria-label='Activate titles-only …']")
    page.click_button("Activate")
    page.wait_for_text("lacks attributes of 'made-1'")
    assert running.ask("GET", "/admin/deployment")[1]["active"] == "made-1"
    confirm(page, "Activate anyway")
    page.wait_for_text("titles-only is the active version now")
    page.click_button("Roll back to made-1")
    confirm(page, "Roll back")
    page.wait_for_text("made-1 is the active version now")
    page.wait_for_text("before titles-only")  # until then it offers what could be tried before


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
        if place % {"made-1": 4, "made-2": 3}[version] == 0:
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


def test_a_shadow_is_started_and_ended(running: Running, page: Page) -> None:
    version = page.wait("document.querySelector('#shadow-version')?.value ?? null")
    set_share(page, 6, "shadow")
    page.click_button("Start at 100 %")
    confirm(page, "Shadow 100 %")
    page.wait_for_text(f"{version} shadows 100 % of the requests")
    assert running.ask("GET", "/admin/deployment")[1]["shadow"]["version"] == version
    page.click_button("End the shadow")
    confirm(page, "End the shadow")
    page.wait_for_text("The shadow has ended")
    assert running.ask("GET", "/admin/deployment")[1]["shadow"] is None


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


def test_the_page_has_no_errors_of_its_own(browser: Page) -> None:
    ours = [error for error in browser.errors if "'network'" not in error]
    assert ours == []


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
