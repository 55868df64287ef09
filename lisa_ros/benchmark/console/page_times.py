# SPDX-License-Identifier: Apache-2.0
"""Times at one page in Chromium: from a key to the command's arrival, from a mask on its topic to its drawing."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from action_msgs.msg import GoalStatusArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_action_status_default
from sensor_msgs.msg import Image

from lisa_ros.benchmark.node.bars import Bar
from lisa_ros.demo.failure import DemoError
from lisa_ros.demo.spun_node import spun_node
from lisa_ros.segmentation.errors import how_to_install

PRESS_MS = 50.0
DRAWN_MS = 150.0
_WARMING_UP = 3
_PAUSE_S = 0.3

_WATCH = """
window.pressedMs = window.drawnMs = 0;
document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    window.pressedMs = performance.timeOrigin + event.timeStamp;
    window.drawnMs = 0;
}, true);
new MutationObserver(() => {
    const drawn = JSON.parse(document.getElementById("view").dataset.drawn);
    if (!window.pressedMs || window.drawnMs || !drawn.masks || !drawn.image) return;
    window.drawnMs = -1;
    requestAnimationFrame(() => { window.drawnMs = performance.timeOrigin + performance.now(); });
}).observe(document, { attributes: true, subtree: true, attributeFilter: ["data-drawn"] });
"""
"""Notes when Enter was pressed, and the first frame of the screen after a mask was drawn on its image."""


class NoBrowserError(RuntimeError):
    """Chromium or playwright is not installed; the text is one sentence."""


@dataclass(frozen=True)
class PageTimes:
    """Milliseconds of each command.

    Attributes:
        press: from the Enter key to the moment at which the node accepted the command; sending it is a part of this.
        drawn: from the mask's arrival on ~/mask at another node to the screen's next frame after it was drawn; below
            zero where the page, which gets masks as the action's feedback, was first.
    """

    press: list[float]
    drawn: list[float]


def page_bars(times: PageTimes) -> list[Bar]:
    """The bars of the times."""
    found = []
    for name, values, limit in (
        ("Enter key to command accepted by the node, median", times.press, PRESS_MS),
        ("mask published to mask drawn, median", times.drawn, DRAWN_MS),
    ):
        measured = f"{median(values):.0f} ms, at most {max(values):.0f} ms ({len(values)} commands)"
        found.append(Bar(name, measured, f"<= {limit:g} ms", median(values) <= limit))
    return found


class _Watcher:
    """When the node accepted a command and when its mask came, seconds since 1970."""

    def __init__(self, node: Node) -> None:
        self.accepted_s = self.mask_s = 0.0
        node.create_subscription(Image, "lisa/mask", self._on_mask, QoSProfile(depth=10), raw=True)
        statuses = "lisa/segment/_action/status"
        node.create_subscription(GoalStatusArray, statuses, self._on_status, qos_profile_action_status_default)

    def _on_mask(self, _: bytes) -> None:
        self.mask_s = time.time()

    def _on_status(self, message: GoalStatusArray) -> None:
        stamps = [status.goal_info.stamp for status in message.status_list]
        self.accepted_s = max([self.accepted_s, *(stamp.sec + stamp.nanosec / 1e9 for stamp in stamps)])


def measure_page(namespace: str, address: str, texts: Sequence[str], commands: int, timeout_s: float) -> PageTimes:
    """Types commands into a page, one after the other.

    Args:
        namespace: of the node and the console.
        address: of the page.
        texts: typed in turns; each must find an object.
        commands: how many are measured; a few before them are not.
        timeout_s: longest wait for the page or an answer.

    Raises:
        NoBrowserError: there is no Chromium, or no playwright.
        DemoError: an answer did not come in time.
    """
    times = PageTimes([], [])
    with _chromium_page(timeout_s) as page, spun_node("watcher", namespace=namespace) as node:
        watcher = _Watcher(node)
        page.add_init_script(_WATCH)
        page.goto(address)
        page.wait_for_selector("body[data-node=active][data-camera=ok]")
        for number in range(_WARMING_UP + commands):
            # Without earlier turns, the model finds what it finds alone.
            page.fill("#operator", f"operator {number}")
            page.press("#operator", "Enter")
            page.wait_for_selector("#log li", state="detached")
            press_ms, drawn_ms = _typed(page, watcher, texts[number % len(texts)], timeout_s)
            if number >= _WARMING_UP:
                times.press.append(press_ms)
                times.drawn.append(drawn_ms)
    return times


def _typed(page: Any, watcher: _Watcher, text: str, timeout_s: float) -> tuple[float, float]:
    """Types one command, and returns its two times in milliseconds."""
    page.fill("#text", text)
    watcher.mask_s = 0.0
    page.press("#text", "Enter")
    until_s = time.monotonic() + timeout_s
    while not (watcher.mask_s and page.evaluate("window.drawnMs") > 0):
        if time.monotonic() > until_s:
            missing = "drawn" if watcher.mask_s else "published"
            said = page.inner_text("#alarm") or page.inner_text("#log li:last-child")
            raise DemoError(f"No mask of {text!r} was {missing} within {timeout_s:g} s. The page says: {said}")
        time.sleep(0.02)
    pressed_ms, drawn_ms = page.evaluate("[window.pressedMs, window.drawnMs]")
    page.wait_for_selector("#log li:last-child[data-state=done]")
    time.sleep(_PAUSE_S)
    return 1000 * watcher.accepted_s - pressed_ms, drawn_ms - 1000 * watcher.mask_s


@contextmanager
def _chromium_page(timeout_s: float) -> Iterator[Any]:
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise NoBrowserError(
            f"The times at a page were not measured: playwright is missing; {how_to_install('test')}."
        ) from error
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise NoBrowserError("The times at a page were not measured: neither chromium nor google-chrome is in PATH.")
    sandbox = [] if os.getuid() else ["--no-sandbox"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=sandbox)
        page = browser.new_page(viewport={"width": 1280, "height": 800}, locale="en")
        page.set_default_timeout(1000 * timeout_s)
        try:
            yield page
        except Error as error:
            raise DemoError(f"The page did not do what was expected of it: {error.message.splitlines()[0]}") from error
        finally:
            browser.close()
