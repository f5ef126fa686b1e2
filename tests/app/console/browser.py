"""A headless Chromium, driven over its own protocol; needs no driver and no library.

With --remote-debugging-pipe it reads commands from file descriptor 3 and writes replies to 4: JSON
documents that end with a zero byte.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--disable-gpu"),
    *(
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--hide-scrollbars",
        "--force-color-profile=srgb",
    ),
)
_IN_SECONDS = 60.0


class Page:
    """A page of the browser; elements are named by CSS selectors."""

    def __init__(self, commands: int, replies: int) -> None:
        self._commands = commands
        self._replies = replies
        self._waiting = b""
        self._last = 0
        self._session: str | None = None
        self.errors: list[str] = []
        """Exceptions and console errors of the page, and what its policy blocked."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def open(self, url: str) -> None:
        """Load a page."""
        self._call("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript."""
        reply = self._call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in reply, reply
        return reply["result"].get("value")

    def wait(self, expression: str) -> Any:
        """The value of an expression as soon as it is neither null nor false."""
        deadline = time.monotonic() + _IN_SECONDS
        while (value := self.evaluate(expression)) in (None, False):
            if time.monotonic() > deadline:
                text = self.evaluate("document.body.innerText")
                raise AssertionError(f"{expression}\n{text}\n{self.errors}")
            time.sleep(0.05)
        return value

    def wait_for_text(self, text: str) -> None:
        """Wait until a text is shown."""
        self.wait(f"document.body.innerText.includes({json.dumps(text)})")

    def click(self, selector: str) -> None:
        """Click on an element as a mouse does, as soon as it is there and can be clicked."""
        find = f"document.querySelector({json.dumps(selector)})"
        self._click(find)

    def click_button(self, text: str) -> None:
        """Click on the button, or the link of the navigation, whose text begins so."""
        wanted = json.dumps(text)
        # While a dialog is open, nothing else can be clicked.
        self._click(
            "[...(document.querySelector('dialog[open]') ?? document)"
            ".querySelectorAll('button, nav a, summary')]"
            f".find((one) => one.innerText.trim().startsWith({wanted}))"
        )

    def _click(self, find: str) -> None:
        """Click where the element is, and again where an answer has just moved it away."""
        deadline = time.monotonic() + _IN_SECONDS
        is_clicked: bool | None = False
        while is_clicked is False:  # None: the click has opened another page
            assert time.monotonic() < deadline, f"{find} can't be clicked"
            x, y = self.wait(
                f"(() => {{ const one = {find}; if (!one || one.disabled) return null;"
                "one.scrollIntoView({ block: 'center' }); const box = one.getBoundingClientRect();"
                "if (!box.width) return null; window.isClicked = false;"
                "const note = () => { window.isClicked = true; };"
                "one.addEventListener('click', note, { capture: true, once: true });"
                "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
            )
            at = {"x": x, "y": y, "button": "left", "clickCount": 1}
            for kind in ("mousePressed", "mouseReleased"):
                self._call("Input.dispatchMouseEvent", type=kind, **at)
            is_clicked = self.evaluate("window.isClicked")

    def type(self, text: str) -> None:
        """Type into the focused element."""
        self._call("Input.insertText", text=text)

    def press(self, key: str, code: int) -> None:
        """Press a key, by its name and its number on Windows."""
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            named = {"key": key, "code": key, "windowsVirtualKeyCode": code}
            self._call(
                "Input.dispatchKeyEvent", type=kind, **named, **(text if kind == "keyDown" else {})
            )

    def show_as(self, *, width: int, height: int, scheme: str = "light") -> None:
        """Take the size of a screen, and a colour scheme."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._call("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, path: Path) -> None:
        """Write what is shown as a PNG."""
        shot = self._call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last += 1
        command = {"id": self._last, "method": method, "params": parameters}
        if self._session is not None:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while True:
            message = self._read()
            if message.get("id") == self._last:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._waiting:
            part = os.read(self._replies, 1 << 16)
            assert part, "the browser has ended"
            self._waiting += part
        message, _, self._waiting = self._waiting.partition(b"\0")
        document: dict[str, Any] = json.loads(message)
        return document

    def _note(self, event: dict[str, Any]) -> None:
        match event.get("method"):
            case "Runtime.exceptionThrown":
                self.errors.append(str(event["params"]["exceptionDetails"])[:1_000])
            case "Log.entryAdded" if event["params"]["entry"]["level"] == "error":
                self.errors.append(str(event["params"]["entry"])[:1_000])


@contextmanager
def browsing(folder: Path) -> Iterator[Page]:
    """A browser with a fresh profile in a folder; it is gone at the end."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *_FLAGS, f"--user-data-dir={folder / 'profile'}"]
    # A shell gives the pipes the numbers that the browser expects.
    script = 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null'
    with (
        (folder / "chromium.log").open("w") as log,
        subprocess.Popen(
            ["sh", "-c", script, "sh", *command],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Page(process.stdin.fileno(), process.stdout.fileno())
        finally:
            # Without its pipe it ends, and with it all its processes.
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
