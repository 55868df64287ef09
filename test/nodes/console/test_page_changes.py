# SPDX-License-Identifier: Apache-2.0
"""The page after a change of operator or camera, after a restart of the console, and after many answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from console_page import Operator, Server, Show, console, exchange
from playwright.sync_api import Browser, Page, Route
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
ANSWER_WITHOUT_FOCUS = f"""async () => {{ {EXCHANGE}
  dialogue.put(exchange("c1"));
  const item = log.querySelector("li");
  dialogue.put(exchange("c1", {{ state: "done", status: "NO_OBJECT", objects: [] }}));
  const same = log.querySelector("li") === item;
  return [same, item.dataset.state, item.textContent.includes("No object"), item.querySelectorAll("button").length];
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


NOT_ANSWERED = """async () => {
  let closed = 0;
  window.WebSocket = class {
    static CONNECTING = 0;
    static OPEN = 1;
    readyState = 0;
    close() { closed += 1; this.readyState = 3; this.onclose({ code: 1006 }); }
  };
  const { Link } = await import("/static/link.js");
  const states = [];
  new Link({ state: (name) => states.push(name) });
  const now = performance.now.bind(performance);
  await new Promise((ready) => setTimeout(ready, 500));
  const before = closed;
  performance.now = () => now() + 11000;
  await new Promise((ready) => setTimeout(ready, 500));
  return [before, closed, states.join(" ")];
}"""
CHANGES_OF_ALARMS = """() => {
  window.changes = 0;
  new MutationObserver(() => (changes += 1)).observe(document.getElementById("alarm"), { childList: true });
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
    ann.until(lambda: "The connection was lost while commands were sent" in ann.alarms(), "the alarm")
    assert ann.page.input_value("#text") == "what is this?" and "point" in chips(ann)
    assert ann.faults == []
    ann.close()


def say(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")


def test_all_commands_of_a_lost_connection_come_back_in_order_and_none_is_sent_twice(
    show: Show, server: Server
) -> None:
    page = show(1280, 800, [])
    for text in ("one", "two", "three", "four"):
        say(page, text)
    assert page.input_value("#text") == ""
    tags = [one["tag"] for one in server.commands]
    server.closes = 1  # and the next connection is lost before the dialogue comes
    server.sockets[-1].close()
    page.wait_for_selector("#alarm:has-text('The connection was lost while commands were sent')")
    assert len(server.sockets) == 3 and page.input_value("#text") == "one"
    confirmed = {**exchange(1, "one", ""), "state": "sent", "tag": tags[0]}
    server.send(type="exchange", exchange=confirmed)  # the lost connection brought it all the same
    page.wait_for_function("() => document.getElementById('text').value === 'two'")
    page.press("#text", "Enter")
    assert page.input_value("#text") == "three"
    server.sockets[-1].close()  # the second is lost again, and the third stays in the form
    page.wait_for_selector("#alarm:has-text('The connection was lost while commands were sent')")
    say(page, "three and more")  # another command
    for text in ("two", "four"):
        assert page.input_value("#text") == text
        page.press("#text", "Enter")
    assert page.input_value("#text") == ""
    again = server.commands[4:]
    assert [one["text"] for one in again] == ["two", "three and more", "two", "four"]
    assert [one["tag"] for one in again if one["text"] != "three and more"] == [tags[1], tags[1], tags[3]]
    assert again[1]["tag"] not in tags


def test_commands_that_the_console_refuses_all_come_back(show: Show, server: Server) -> None:
    page = show(1280, 800, [])
    for text in ("one", "two", "three"):
        say(page, text)
    page.type("#text", "another")
    for one in server.commands:
        server.send(type="not_sent", tag=one["tag"], code="node_lost")
    page.wait_for_selector("#alarm:has-text('Not sent')")
    for text in ("another", "one"):
        assert page.input_value("#text") == text
        page.press("#text", "Enter")
    page.fill("#text", "")  # "two" is skipped
    page.click("#send")
    assert page.input_value("#text") == "three"
    server.send(type="already_sent", tag=server.commands[2]["tag"])
    page.wait_for_function("() => document.getElementById('text').value === ''")


def test_each_tab_keeps_its_operator_and_camera(browser: Browser, address: str) -> None:
    """After a reload, or when a tablet had closed the tab in the background."""
    ann = Operator(browser, address, "ann")
    ann.until(lambda: ann.page.evaluate("() => localStorage.getItem('operator')") == "ann", "ann's dialogue")
    page = ann.context.new_page()
    page.goto(address)
    page.wait_for_function("() => document.getElementById('operator').value === 'ann'")
    page.fill("#operator", "ben")
    page.press("#operator", "Enter")
    page.select_option("#camera", "wrist")
    page.wait_for_function("() => ['operator', 'camera'].map((name) => localStorage[name]).join() === 'ben,wrist'")
    ann.page.reload()
    ann.until(lambda: ann.page.get_attribute("body", "data-node"), "the page's connection")
    assert (ann.page.input_value("#operator"), ann.page.input_value("#camera")) == ("ann", "front")
    page.reload()
    page.wait_for_selector("body[data-node]")
    assert (page.input_value("#operator"), page.input_value("#camera")) == ("ben", "wrist")
    ann.close()


def test_a_page_whose_texts_are_lost_on_the_way_asks_again(browser: Browser, address: str) -> None:
    page = browser.new_page()
    lost: list[Route] = []

    def lose_first(route: Route) -> None:
        if lost:
            route.continue_()
        else:
            lost.append(route)
            route.abort()

    page.route("**/texts", lose_first)
    page.goto(address)
    page.wait_for_selector("body[data-node]")
    assert page.inner_text("h1") == "LISA console" and lost
    page.close()


def test_a_connection_that_nobody_answers_is_tried_again(browser: Browser, address: str) -> None:
    ann = Operator(browser, address, "ann")
    before, after, states = ann.page.evaluate(NOT_ANSWERED)
    assert before == 0 and after >= 1 and states == "lost"
    ann.close()


def test_too_many_pages_are_said_once(browser: Browser) -> None:
    """The alarm came and went five times a second, each time read aloud by a screen reader."""
    with console("max_pages:=1") as address:
        first, second = browser.new_page(), browser.new_page()
        first.goto(address)
        first.wait_for_selector("body[data-node]")
        second.goto(address)
        second.wait_for_selector("#alarm:has-text('Too many pages are open')")
        second.evaluate(CHANGES_OF_ALARMS)
        second.wait_for_timeout(3000)
        assert second.evaluate("() => window.changes") == 0
        first.close()
        second.wait_for_selector("body[data-node]")
        second.wait_for_function("() => !document.getElementById('alarm').textContent.includes('Too many')")


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


def test_an_answer_whose_text_stays_is_not_read_again(browser: Browser, address: str) -> None:
    ann = Operator(browser, address, "ann")
    assert ann.page.evaluate(ANSWER_WITHOUT_FOCUS) == [True, "done", True, 0]
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
