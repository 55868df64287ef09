# SPDX-License-Identifier: Apache-2.0
"""The console as an operator meets it: its process, and its page in Debian's Chromium."""

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from paths import ROOT
from ros_harness import DEADLINE_S, Process, started, wait_until

pytest.importorskip("playwright", reason="the extra `test` brings playwright")
pytest.importorskip("starlette", reason="the extra `console` is not installed")

from playwright.sync_api import Browser, Page, sync_playwright

# Images of 640 x 480 do not fit into Fast DDS's shared memory by default.
os.environ.setdefault("FASTRTPS_DEFAULT_PROFILES_FILE", str(ROOT / "config" / "fastdds.xml"))


def console_command(*parameters: str) -> list[str]:
    """The command line of the console, on any free port, with parameters as NAME:=VALUE."""
    words = [word for one in ("port:=0", *parameters) for word in ("-p", one)]
    return [sys.executable, str(ROOT / "scripts" / "console"), "--ros-args", *words]


def address_of(process: Process) -> str:
    """Where a console's page is, once it says so; with its token."""
    found = wait_until(
        lambda: not process.alive or re.search(r"page[^:]*: (https?://\S+)", process.output), "the console's address"
    )
    assert process.alive, process.output
    return str(found[1])


@contextmanager
def console(*parameters: str) -> Iterator[str]:
    """Runs a console; gives its page's address."""
    with started(console_command(*parameters)) as process:
        yield address_of(process)
        assert "Traceback" not in process.output, process.output


@contextmanager
def chromium(*arguments: str) -> Iterator[Browser]:
    """A browser with further arguments; skips where there is none."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium is installed")
    sandbox = [] if os.getuid() else ["--no-sandbox"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*sandbox, *arguments])
        yield browser
        browser.close()


class Operator:
    """A person at a page."""

    def __init__(self, browser: Browser, address: str, name: str, *, width: int = 1280, height: int = 800) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": height}, locale="en")
        self.page: Page = self.context.new_page()
        self.faults: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", self._refuse_dialog)
        self.page.goto(address)
        self.until(lambda: self.page.get_attribute("body", "data-node"), "the page's connection")
        self.name = name
        self.say_name(name)

    def say_name(self, name: str) -> None:
        self.page.fill("#operator", name)
        self.page.press("#operator", "Enter")

    def close(self) -> None:
        self.context.close()

    def say(self, text: str) -> None:
        self.page.fill("#text", text)
        self.page.press("#text", "Enter")

    def ask(self, text: str) -> dict[str, Any]:
        """Says it, and waits for the whole answer."""
        before = len(self.log())
        self.say(text)
        self.until(
            lambda: len(self.log()) > before and self.log()[-1]["state"] in ("done", "lost"), f"answer to {text}"
        )
        return self.log()[-1]

    def log(self) -> list[dict[str, str]]:
        """The dialogue as the page shows it."""
        return list(
            self.page.evaluate(
                """() => [...document.querySelectorAll("#log li")].map((item) => ({
                    text: item.querySelector(".asked").lastChild.textContent.trim(),
                    answer: item.querySelector(".answer").lastChild.textContent.trim(),
                    about: [...item.querySelectorAll(".about")].map((one) => one.textContent).join(" "),
                    state: item.dataset.state, status: item.dataset.status }))"""
            )
        )

    def drawn(self) -> dict[str, Any]:
        """What the canvas shows: id of the answer (empty: the live camera), masks, image."""
        return dict(json.loads(self.page.get_attribute("#view", "data-drawn") or "{}"))

    def alarms(self) -> str:
        return self.page.inner_text("#alarm")

    def until(self, condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
        """The condition's first true value; the page's events are handled while it waits."""
        deadline = time.monotonic() + deadline_s
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"waited {deadline_s:.0f} s without result for {what}: {self.alarms()} {self.log()}"
                )
            self.page.wait_for_timeout(20)
        return value

    def wait_for_camera(self) -> None:
        self.until(lambda: self.page.get_attribute("body", "data-node") == "active", "the node", 120)
        self.until(lambda: self.drawn().get("image"), "a live image")

    def _refuse_dialog(self, dialog: Any) -> None:
        self.faults.append(f"a dialog: {dialog.message}")
        dialog.dismiss()
