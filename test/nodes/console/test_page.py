# SPDX-License-Identifier: Apache-2.0
"""The page in a real browser, with the simulated camera and lisa_node with the embedded model."""

import base64
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from console_page import Operator, console
from node_probe import STARTED_S
from numpy.typing import NDArray
from paths import ROOT
from playwright.sync_api import Browser
from rclpy.node import Node
from ros_harness import ros_context, started, talking_node, wait_until
from sensor_msgs.msg import Image

from lisa_ros.client import LisaClient, Status
from lisa_ros.msg import Segmentation
from lisa_ros.nodes.common.conversions import rgb_image_from
from lisa_ros.nodes.console.feed import encode_jpeg

OBJECT = "the blue bottle"

ROW_OF_A_SCORE_WITHOUT_CALIBRATION = """async () => {
  const { fillObjects } = await import("/static/dialogue.js");
  const object = { number: 1, score: 0.25, score_calibrated: false, centroid: [1, 2], distance_m: null };
  const body = document.createElement("tbody");
  fillObjects(body, { turn: 1, objects: [object] }, () => {});
  return body.textContent;
}"""
"""The embedded model's scores are calibrated, so the page's own code is given an object of another model."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    camera = [
        sys.executable,
        str(ROOT / "scripts" / "sim_camera"),
        "--ros-args",
        "-p",
        "seed:=92",
        "-p",
        "rate_hz:=8.0",
    ]
    lisa = [sys.executable, str(ROOT / "scripts" / "lisa_node"), "--ros-args", "-p", "dialogue_file:=''"]
    with started(camera), started(lisa), console() as address:
        wait_until(has_image, "the node's first image", STARTED_S)
        yield address


def has_image() -> bool:
    """Whether the node answers about an image: the page shows the camera's images perhaps before the node has one."""
    with ros_context() as context, LisaClient(context=context) as client:
        client.segment(OBJECT, operator="before", dialogue="none", timeout_s=STARTED_S)
        wait_until(client.is_complete, "the answer")
        return client.result().status not in (Status.NO_IMAGE, Status.NO_NODE)


@pytest.fixture(scope="module")
def planner() -> Iterator[Node]:
    with talking_node("planner") as node:
        node.answers, node.frames = [], []
        node.create_subscription(Segmentation, "/lisa/segmentation", node.answers.append, 10)
        node.create_subscription(Image, "/lisa/frame/image", node.frames.append, 10)
        yield node


def canvas(operator: Operator) -> NDArray[np.uint8]:
    url = operator.page.evaluate("() => document.getElementById('view').toDataURL('image/png')")
    file = np.frombuffer(base64.b64decode(url.split(",")[1]), np.uint8)
    return np.asarray(cv2.cvtColor(cv2.imdecode(file, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), dtype=np.uint8)


def shown_on(canvas: NDArray[np.uint8], message: Image) -> NDArray[np.bool_]:
    """Pixels that differ from the image as the page gets it."""
    jpeg, _ = encode_jpeg(message, message.width)
    frame = cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return np.abs(canvas.astype(int) - frame).max(axis=2) > 40


def test_two_operators_see_their_own_answers_where_the_node_found_them(
    browser: Browser, address: str, planner: Node
) -> None:
    ann, ben = Operator(browser, address, "ann"), Operator(browser, address, "ben")
    for operator in (ann, ben):
        operator.wait_for_camera()
    ann.page.evaluate(
        """() => { window.seen = []; new MutationObserver(() => window.seen.push(
            document.querySelector("#log li:last-child .answer")?.lastChild.textContent))
            .observe(document.getElementById("log"), { childList: true, subtree: true, characterData: true }); }"""
    )
    said = ann.ask(OBJECT)
    assert (said["status"], said["text"]) == ("OK", OBJECT) and "bottle" in said["answer"]
    assert len(set(ann.page.evaluate("() => window.seen"))) > 2, "the text did not come in parts"
    ann.until(lambda: ann.drawn()["masks"] and ann.drawn()["image"], "the mask on its frame")
    ann.until(lambda: planner.answers and planner.frames, "the node's own answer")
    answer, frame = planner.answers[-1], rgb_image_from(planner.frames[-1])
    assert answer.header == planner.frames[-1].header
    mask = np.frombuffer(answer.objects[0].mask.data, np.uint8).reshape(frame.shape[:2]) > 0
    u, v = answer.objects[0].centroid_pixel.x, answer.objects[0].centroid_pixel.y
    columns, rows = np.meshgrid(np.arange(frame.shape[1]), np.arange(frame.shape[0]))
    beside_label = np.hypot(columns - u, rows - v) > 30
    drawn = shown_on(canvas(ann), planner.frames[-1]) & beside_label
    expected = mask & beside_label
    assert (drawn & expected).sum() / (drawn | expected).sum() > 0.9
    assert f"{round(u)}, {round(v)}" in ann.page.inner_text("#objects")
    assert "not known" in ann.page.inner_text("#objects") or " m" in ann.page.inner_text("#objects")
    assert answer.objects[0].score_calibrated and "(not calibrated)" not in ann.page.inner_text("#objects")
    assert "0.25 (not calibrated)" in ann.page.evaluate(ROW_OF_A_SCORE_WITHOUT_CALIBRATION)

    assert OBJECT not in ben.page.inner_text("main")
    second = Operator(browser, address, "ann")
    second.until(lambda: [one["text"] for one in second.log()] == [OBJECT], "the dialogue on another page")
    second.page.click("#log li:last-child [data-action=show]")
    second.until(lambda: second.drawn()["masks"] == 1 and second.drawn()["image"], "the mask on another page")
    for operator in (ann, ben, second):
        assert operator.faults == []
        operator.close()


def test_an_object_is_tapped_and_a_point_is_set(browser: Browser, address: str) -> None:
    cleo = Operator(browser, address, "cleo")
    cleo.wait_for_camera()
    cleo.ask(OBJECT)
    cleo.until(lambda: cleo.drawn()["masks"], "the mask")
    bottle = cleo.page.inner_text("#objects td:nth-child(4)").split(",")
    box = cleo.page.locator("#view").bounding_box()
    assert box is not None

    def click(u: float, v: float) -> None:
        cleo.page.mouse.click(box["x"] + (u + 0.5) / 640 * box["width"], box["y"] + (v + 0.5) / 480 * box["height"])

    click(float(bottle[0]), float(bottle[1]))
    assert cleo.page.inner_text("#chips").strip().startswith("turn 1")
    said = cleo.ask("the one left of this")
    assert "refers to turn 1" in said["about"]
    cleo.page.click("#live")
    click(320, 240)
    assert "point (320, 240)" in cleo.page.inner_text("#chips")
    said = cleo.ask("this object")
    assert "points at point (320, 240)" in said["about"]
    # The embedded checkpoint says that it cannot; test_robustness has a model that takes points.
    assert said["status"] == "REJECTED" and "was not trained with them" in said["about"]
    cleo.close()


def test_a_dialogue_survives_a_reload_and_a_reset_is_undone(browser: Browser, address: str) -> None:
    dora = Operator(browser, address, "dora")
    dora.wait_for_camera()
    dora.ask(OBJECT)
    dora.page.reload()
    dora.until(lambda: [one["text"] for one in dora.log()] == [OBJECT], "the dialogue after a reload")
    dora.page.click("#reset")
    dora.until(lambda: not dora.log(), "the reset")
    assert "was deleted" in dora.alarms()
    second = Operator(browser, address, "dora")
    second.until(lambda: second.page.is_visible("#undo"), "the undo on a second page")
    second.page.click("#undo")
    dora.until(lambda: "was deleted" not in dora.alarms(), "the end of the note")
    second.close()
    dora.until(lambda: [one["text"] for one in dora.log()] == [OBJECT], "the undo")
    assert dora.ask("the green cube")["about"].startswith("turn 2")
    dora.close()


@pytest.mark.parametrize(("width", "height"), [(360, 740), (1920, 1080), (3840, 2160)])
def test_the_page_fits_and_has_no_serious_fault_of_accessibility(
    browser: Browser, address: str, width: int, height: int, tmp_path: Path
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    emil = Operator(browser, address, f"emil {width}", width=width, height=height)
    emil.wait_for_camera()
    emil.ask(OBJECT)
    emil.until(lambda: emil.drawn()["masks"] and emil.drawn()["image"], "the mask")
    for theme in ("light", "dark"):
        emil.page.select_option("#theme", theme)
        found = axe.run(emil.page).response["violations"]
        grave = [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]
        assert grave == []
        emil.page.screenshot(path=str(tmp_path / f"{width}_{theme}.png"), full_page=width < 400)
    assert emil.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    assert emil.faults == []
    emil.close()


def test_the_keyboard_is_enough(browser: Browser, address: str) -> None:
    fay = Operator(browser, address, "fay")
    fay.wait_for_camera()
    keyboard = fay.page.keyboard
    fay.page.focus("body")
    reached = []
    for _ in range(40):
        keyboard.press("Tab")
        reached.append(str(fay.page.evaluate("() => document.activeElement.id || document.activeElement.tagName")))
    assert {"operator", "theme", "live", "box", "view", "reset", "text", "send"} <= set(reached)
    fay.page.focus("#view")
    keyboard.press("ArrowRight")
    keyboard.press("Shift+ArrowDown")
    keyboard.press("Enter")
    assert "point (330, 241)" in fay.page.inner_text("#chips")
    assert fay.page.inner_text("#pointer") == "Column 330, row 241."
    keyboard.press("b")
    keyboard.press("ArrowRight")
    keyboard.press("ArrowDown")
    keyboard.press("b")
    assert "box (330, 241), 11 \u00d7 11" in fay.page.inner_text("#chips")
    keyboard.press("Escape")
    assert fay.page.inner_text("#chips").strip() == ""
    fay.page.focus("#text")
    keyboard.type(OBJECT)
    keyboard.press("Enter")
    fay.until(lambda: fay.log() and fay.log()[-1]["state"] == "done", "the answer")
    fay.page.focus("#log li:last-child [data-action=refer]")
    keyboard.press("Space")
    assert "turn 1" in fay.page.inner_text("#chips")
    fay.close()
