"""What tests of the console do on its page, and what they look for."""

from __future__ import annotations

import os
from pathlib import Path

from tests.app.console.browser import Page

USERS = [f"u{n}" for n in range(1, 13)] + [f"visitor {n}" for n in range(100)]
HOME, RIGHT, ENTER, ESCAPE, TAB = 36, 39, 13, 27, 9
# Where the pictures of docs/console.md go when they are to be made anew.
PICTURES = os.environ.get("CONSOLE_PICTURES")


def sign_in(page: Page, token: str) -> None:
    page.click("#token")
    page.evaluate("document.querySelector('#token').value = ''")
    page.type(token)
    page.click_button("Sign in")


def set_share(page: Page, steps: int, what: str = "canary") -> None:
    """Move the slider of a canary or a shadow with keys, from zero."""
    slider = f"document.querySelector('#{what}-share')"
    page.wait(f"{slider} && ({slider}.focus(), document.activeElement === {slider})")
    page.press("Home", HOME)
    for _ in range(steps):
        page.press("ArrowRight", RIGHT)


def confirm(page: Page, button: str) -> None:
    """Confirm a change, and wait for its answer: the page may show the change before."""
    page.wait("document.querySelector('dialog[open]')")
    page.click_button(button)
    wait_for_no_dialog(page)


def wait_for_no_dialog(page: Page) -> None:
    page.wait("document.querySelector('dialog') === null")


def take_picture(page: Page, name: str) -> None:
    if PICTURES:
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(Path(PICTURES) / f"console-{name}.png")


def focus_button(page: Page, text: str) -> None:
    page.wait(
        "[...document.querySelectorAll('button')].some((one) => one.innerText.startsWith("
        f"{text!r}) && (one.focus(), document.activeElement === one))"
    )


def fill(page: Page, selector: str, text: str) -> None:
    """Type a text into a field in place of what is there."""
    page.click(selector)
    page.evaluate(f"document.querySelector({selector!r}).select()")
    page.type(text)


def choose(page: Page, selector: str, value: str) -> None:
    """Choose an option of a list, as soon as it is there."""
    field = f"document.querySelector({selector!r})"
    page.wait(
        f"{field} && ({field}.value = {value!r}, {field}.value === {value!r})"
        f" && {field}.dispatchEvent(new Event('change', {{ bubbles: true }}))"
    )


# Texts whose contrast with what is behind them is below 4.5, as WCAG counts it; disabled controls
# are exempt.
FAINT = """
(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((one) => one / 255)
    .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
    .reduce((sum, one, place) => sum + one * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("body *")]
    .filter((one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
    .filter((one) => one.checkVisibility() && !one.closest(":disabled"))
    .map((one) => {
      const [a, b] = [light(parse(getComputedStyle(one).color)), light(behind(one))];
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), one.textContent];
    })
    .filter(([contrast]) => contrast < 4.5);
})()
"""
