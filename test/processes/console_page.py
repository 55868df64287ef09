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
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import pytest
from paths import ROOT
from ros_harness import DEADLINE_S, Process, started, wait_until

pytest.importorskip("playwright", reason="the extra `test` brings playwright")
pytest.importorskip("starlette", reason="the extra `console` is not installed")

from playwright.sync_api import Browser, Page, WebSocketRoute, sync_playwright

from lisa_ros.nodes.console.page import LAST, packed

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


WIDTH, HEIGHT = 640, 480
FRAME = bytes(cv2.imencode(".jpg", np.full((HEIGHT, WIDTH, 3), 90, np.uint8))[1])
NODE = {"state": "active", "sentence": "ready", "model": "LISA", "waiting": 0}
CAMERA = {"state": "ok", "age_s": 0.1, "trouble": "", "topic": "/image"}

Show = Callable[..., Page]


@dataclass
class Server:
    """The connections of all pages and their commands, oldest first; it closes so many of the next at their hello."""

    sockets: list[WebSocketRoute] = field(default_factory=list)
    commands: list[dict[str, Any]] = field(default_factory=list)
    closes: int = 0

    def send(self, **message: Any) -> None:
        """Sends the newest connection a message."""
        self.sockets[-1].send(json.dumps(message))


@contextmanager
def shown_pages(browser: Browser, address: str, server: Server) -> Iterator[Show]:
    """Opens pages of a size, and sends them a dialogue, a state and further messages, as a console would."""
    contexts = []

    def opened(width: int, height: int, exchanges: list[dict[str, Any]], *more: dict[str, Any], **changed: Any) -> Page:
        touch = changed.pop("touch", False)
        context = browser.new_context(viewport={"width": width, "height": height}, locale="en", has_touch=touch)
        contexts.append(context)
        page = context.new_page()
        page.add_init_script("window.setInterval = () => 0")  # no heartbeat comes here
        cameras = changed.pop("cameras", [""])
        operator = changed.pop("operator", "ann")
        welcome = {"type": "welcome", "operator": operator, "camera": cameras[0], "cameras": cameras}
        state = {"type": "state", "node": NODE, "camera": CAMERA, "speech": False, **changed}
        dialogue = {"type": "dialogue", "operator": operator, "exchanges": exchanges, "can_undo_reset": False}

        def answer(socket: WebSocketRoute, text: str) -> None:
            received = json.loads(text)
            if received["type"] == "command":
                server.commands.append(received)
            if received["type"] == "hello":
                server.sockets.append(socket)
                if server.closes:
                    server.closes -= 1
                    socket.close()
                    return
                for message in (welcome, state, dialogue, *more):
                    socket.send(json.dumps(message))
                socket.send(LAST + packed({"kind": "live", "stamp": [1, 0], "size": [WIDTH, HEIGHT]}, FRAME))

        page.route_web_socket(
            re.compile("/page$"),
            lambda socket: socket.on_message(lambda text: isinstance(text, str) and answer(socket, text)),
        )
        page.goto(address)
        page.wait_for_selector("body[data-node]")
        page.wait_for_function("() => JSON.parse(document.getElementById('view').dataset.drawn ?? '{}').image")
        return page

    yield opened
    for context in contexts:
        context.close()


def exchange(number: int, text: str, answer: str, *objects: dict[str, Any]) -> dict[str, Any]:
    times = {"queued": 2.0, "first_mask": 120.0, "total": 151.0, "round_trip": 171.0}
    known = {"id": f"e{number}", "text": text, "answer": answer, "turn": number, "objects": list(objects)}
    rest = {"references": [], "pointing": {}, "state": "done", "status": "OK", "detail": "", "spoken": "", "heard": ""}
    return {**known, **rest, "size": [WIDTH, HEIGHT], "stamp": [1, 0], "timing_ms": times, "late": False}


def found(number: int, name: str = "the blue bottle") -> dict[str, Any]:
    column, row = number % 6 * 100, number // 6 * 80
    runs = [row * WIDTH + column, 60, (HEIGHT - row) * WIDTH - column - 60]
    reason = "The depth image has no valid value inside of the mask; the object may be too close or transparent."
    known = {"number": number, "name": name, "runs": runs, "centroid": [column, row], "score": 0.5}
    return {**known, "score_calibrated": number % 2 == 0, "distance_m": None, "no_distance": reason}
