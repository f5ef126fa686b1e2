"""The deployment is changed by clicks: a canary, a promotion and a rollback while requests run."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.app.conftest import wait_for
from tests.app.console.actions import (
    ENTER,
    ESCAPE,
    PICTURES,
    TAB,
    USERS,
    confirm,
    focus_button,
    set_share,
    take_picture,
    wait_for_no_dialog,
)
from tests.app.console.browser import CHROMIUM, Page
from tests.app.running import Load, Running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]


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
