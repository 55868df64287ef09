# SPDX-License-Identifier: Apache-2.0
"""The page after a change of operator or camera, after a restart of the console, and after many answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from console_page import Operator, console
from playwright.sync_api import Browser
from ros_harness import free_port

EXCHANGE = """const exchange = (id, more) => ({ id, text: "the mug", references: [], pointing: {}, state: "answering",
  status: "", detail: "", answer: "It is here.", heard: "", objects: [{}], turn: 0, timing_ms: {}, ...more });
const log = document.createElement("div");
log.append(document.createElement("ol"));
document.body.append(log);
const { Dialogue } = await import("/static/dialogue.js");
const dialogue = new Dialogue(log, {});
"""
MANY_COMMANDS = f"""async () => {{ {EXCHANGE}
  for (let i = 0; i < 60; i++) dialogue.put(exchange(`c${{i}}`));
  const kept = [dialogue.items.size, dialogue.exchanges.size, log.querySelectorAll("li").length];
  return [...kept, log.querySelector("li").dataset.id];
}}"""
THE_END_OF_AN_ANSWER = f"""async () => {{ {EXCHANGE}
  dialogue.put(exchange("c1"));
  const button = log.querySelector("[data-action=show]");
  button.focus();
  dialogue.put(exchange("c1", {{ state: "done", status: "NO_OBJECT", turn: 3 }}));
  const item = log.querySelector("li");
  const actions = [...item.querySelectorAll("button")].map((one) => one.dataset.action);
  return [document.activeElement === button, actions.join(" "), item.dataset.state, item.dataset.status,
    item.textContent.includes("turn 3"), item.textContent.includes("No object")];
}}"""
MANY_IMAGES = """async () => {
  const { View } = await import("/static/view.js");
  const view = new View(document.createElement("canvas"), document.createElement("p"), {});
  const blob = await new Promise((ready) => document.getElementById("view").toBlob(ready));
  view.exchange = { id: "c0" };
  for (let i = 0; i < 20; i++) await view.keepFrame(`c${i}`, blob);
  return [...view.bitmaps.keys()].join(" ");
}"""

CONNECTION_LOST_BY_A_COMMAND = """() => {
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (data) {
    if (!data.includes('"command"')) return send.call(this, data);
    WebSocket.prototype.send = send;
    this.close();
  };
}"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with console("cameras:=[front, wrist]") as address:
        yield address


def point(operator: Operator) -> None:
    """Sets a point on the image by the keyboard."""
    operator.page.focus("#view")
    operator.page.keyboard.press("ArrowRight")
    operator.page.keyboard.press("Enter")
    assert "point" in chips(operator)


def chips(operator: Operator) -> str:
    return str(operator.page.inner_text("#chips")).strip()


def test_what_was_pointed_at_stays_with_its_operator_and_camera(browser: Browser, address: str) -> None:
    ann = Operator(browser, address, "ann")
    ann.until(lambda: ann.page.evaluate("() => localStorage.getItem('operator')") == "ann", "ann's dialogue")
    point(ann)
    ann.say_name("ben")
    ann.until(lambda: not chips(ann), "another operator's page")
    point(ann)
    ann.page.select_option("#camera", "wrist")
    ann.until(lambda: not chips(ann), "another camera's page")
    assert ann.faults == []
    ann.close()


def test_a_name_that_is_refused_changes_nothing(browser: Browser, address: str) -> None:
    ann = Operator(browser, address, "ann")
    ann.until(lambda: ann.page.evaluate("() => localStorage.getItem('operator')") == "ann", "ann's dialogue")
    ann.say_name("ann\N{ZERO WIDTH NON-JOINER}")
    ann.until(lambda: "cannot be used" in ann.alarms(), "the refusal")
    ann.page.select_option("#camera", "wrist")
    ann.until(lambda: ann.page.evaluate("() => localStorage.getItem('camera')") == "wrist", "the other camera")
    assert ann.page.evaluate("() => localStorage.getItem('operator')") == "ann"
    ann.close()


def test_what_was_not_sent_comes_back_with_what_was_pointed_at(browser: Browser, address: str) -> None:
    ann = Operator(browser, address, "ann")
    ann.until(lambda: ann.page.evaluate("() => localStorage.getItem('operator')") == "ann", "ann's dialogue")
    point(ann)
    ann.say("what is this?")  # there is no node
    ann.until(lambda: "Not sent: the LISA node is not running" in ann.alarms(), "the alarm")
    assert ann.page.input_value("#text") == "what is this?" and "point" in chips(ann)
    ann.page.evaluate(CONNECTION_LOST_BY_A_COMMAND)
    ann.page.press("#text", "Enter")
    assert ann.page.input_value("#text") == chips(ann) == ""
    ann.until(lambda: "The connection was lost while a command was sent" in ann.alarms(), "the alarm")
    assert ann.page.input_value("#text") == "what is this?" and "point" in chips(ann)
    assert ann.faults == []
    ann.close()


def test_a_camera_that_is_not_there_is_said(browser: Browser, address: str) -> None:
    page = browser.new_page()  # an operator's name would clear the note
    page.goto(f"{address}?camera=typo")
    page.wait_for_selector("#alarm:has-text('has no camera “typo”; this page shows “front”')")
    page.close()


def test_memory_of_the_page_does_not_grow_with_answers(browser: Browser, address: str) -> None:
    ann = Operator(browser, address, "ann")
    assert ann.page.evaluate(MANY_COMMANDS) == [50, 50, 50, "c10"]
    kept = ann.page.evaluate(MANY_IMAGES)
    assert kept == " ".join(["c0", *(f"c{number}" for number in range(12, 20))]), "the shown one and the newest 8"
    ann.close()


def test_the_end_of_an_answer_is_shown_though_its_item_has_the_focus(browser: Browser, address: str) -> None:
    ann = Operator(browser, address, "ann")
    assert ann.page.evaluate(THE_END_OF_AN_ANSWER) == [True, "show refer", "done", "NO_OBJECT", True, True]
    ann.close()


def test_a_console_with_another_token_says_so_and_its_link_lets_the_page_in_again(browser: Browser) -> None:
    at = f"port:={free_port()}"
    with console(at, "token:=the-first-token") as first:
        ann = Operator(browser, first, "ann")
        point(ann)
    ann.until(lambda: "connection to the console is lost" in ann.alarms(), "the connection's alarm")
    with console(at, "token:=the-first-token"):
        ann.until(lambda: "connection" not in ann.alarms(), "the new connection")
        assert "point" in chips(ann)
    with console(at, "token:=another-token") as second:
        ann.until(lambda: "Open the link that it printed" in ann.alarms(), "the token's alarm")
        page = ann.context.new_page()
        page.goto(second)
        ann.until(lambda: "link" not in ann.alarms(), "the end of the alarm")
    ann.until(lambda: "connection to the console is lost" in ann.alarms(), "the connection's alarm")
    assert ann.faults == []
    ann.close()
