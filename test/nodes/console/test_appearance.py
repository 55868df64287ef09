# SPDX-License-Identifier: Apache-2.0
"""What the page shows of texts in any script, of many objects and of trouble: the console's own files in Chromium.

The messages are made here, as a console would send them, so that every state can be shown without a node.
"""

import json
import re
from collections.abc import Iterator

import pytest
from console_page import CAMERA, HEIGHT, NODE, WIDTH, Server, Show, console, exchange, found
from paths import ROOT
from playwright.sync_api import Browser, Page

from lisa_ros.nodes.console.page import LAST, MORE, packed

ARABIC = "أعطني الزجاجة الزرقاء (3)."
HEBREW_THEN_ENGLISH = "שלום, the blue bottle"
UNBROKEN = "object_of_a_class_without_any_space_in_its_very_long_name" * 2


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with console() as address:
        yield address


def left_of(page: Page, selector: str, text: str) -> float:
    """Where the first letter of a text stands, pixels from the page's left edge."""
    return float(
        page.evaluate(
            """([selector, text]) => {
                const walker = document.createTreeWalker(document.querySelector(selector), NodeFilter.SHOW_TEXT);
                for (let node = walker.nextNode(); node; node = walker.nextNode()) {
                    const at = node.data.indexOf(text);
                    if (at < 0) continue;
                    const range = document.createRange();
                    range.setStart(node, at);
                    range.setEnd(node, at + 1);
                    return range.getBoundingClientRect().left;
                }
            }""",
            [selector, text],
        )
    )


def test_a_name_read_from_the_right_stays_in_front_of_its_command_and_sentences_end_where_they_end(show: Show) -> None:
    page = show(1280, 800, [exchange(1, HEBREW_THEN_ENGLISH, ARABIC, found(1, "瓶子 🍾"))], operator="أحمد")
    asked, answered = "#log .asked", "#log .answer"
    assert left_of(page, asked, "أ") < left_of(page, asked, "the") < left_of(page, asked, "ש")
    assert left_of(page, answered, ".") < left_of(page, answered, "أ")
    page.click("#log [data-action=show]")
    caption = "#view-caption"
    parts = [left_of(page, caption, part) for part in ("Masks", "the blue", "ש", "The image")]
    assert parts == sorted(parts)
    assert page.inner_text("#objects td:nth-child(2)") == "瓶子 🍾"
    page.fill("#text", ARABIC)
    assert page.evaluate("() => getComputedStyle(document.getElementById('text')).direction") == "rtl"


@pytest.mark.parametrize(
    ("width", "height"), [(320, 640), (360, 740), (800, 1280), (1024, 600), (1280, 800), (3840, 2160)]
)
def test_thirty_objects_and_unbroken_words_fit_and_the_command_stays_near(show: Show, width: int, height: int) -> None:
    objects = [found(number, (UNBROKEN, "a mug")[number % 2]) for number in range(1, 31)]
    cameras = ["front", "wrist_" + UNBROKEN]
    page = show(width, height, [exchange(1, "x" * 2000, "y" * 5000, *objects)], cameras=cameras)
    page.click("#log [data-action=show]")
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    table = page.evaluate(
        "() => { const box = document.querySelector('.table'); return [box.scrollWidth, box.clientWidth]; }"
    )
    assert table[0] <= table[1]
    assert page.locator("#objects tr").count() == 30
    image, command = (page.locator(selector).bounding_box() for selector in ("#view", "#text"))
    assert image and command and command["y"] - image["y"] < 1.3 * height
    page.fill("#text", "a long command " * 50)
    page.locator("#aloud").scroll_into_view_if_needed()
    form, last = (page.locator(selector).bounding_box() for selector in (".said", "#aloud"))
    assert form and last and last["y"] + last["height"] <= form["y"] + form["height"]
    page.evaluate("() => document.querySelector('#log [data-action=show]').click()")
    image = page.locator("#view").bounding_box()
    assert image
    # The image is seen after "Show", also where it is far above the button.
    assert image["y"] >= -1 and image["y"] + image["height"] <= height + 1


def test_no_button_of_the_table_is_out_of_sight_at_any_width(show: Show) -> None:
    """At 200 % zoom, "Refer" was cut off."""
    page = show(640, 400, [exchange(1, "mugs", "It is", found(1), found(2))])
    for width in range(320, 1300, 40):
        page.set_viewport_size({"width": width, "height": 700})
        clipped = (
            "() => { const table = document.querySelector('.table'); return table.scrollWidth - table.clientWidth; }"
        )
        assert page.evaluate(clipped) <= 0, width


def test_forced_colours_leave_what_objects_and_alarms_are_seen_by(show: Show) -> None:
    page = show(1280, 800, [exchange(1, "a mug", "It is there.", found(1))], camera={**CAMERA, "state": "lost"})
    page.emulate_media(forced_colors="active")
    page.click("#log [data-action=show]")
    style = "([selector, name]) => getComputedStyle(document.querySelector(selector))[name]"
    assert page.evaluate(style, [".swatch", "backgroundColor"]) == "rgb(255, 0, 200)"
    assert page.evaluate(style, ["#alarm p", "borderTopWidth"]) == "2px"


def test_a_page_as_high_as_a_tablet_leaves_room_for_its_browser() -> None:
    """100vh is the height without the browser's bar: the command's buttons stood behind it."""
    css = (ROOT / "lisa_ros" / "nodes" / "console" / "static" / "console.css").read_text()
    heights = re.findall(r"(\w[\w-]*): calc\(100(d?vh)", css)
    assert heights == [("max-height", "vh"), ("max-height", "dvh")]


def test_what_is_shown_without_a_camera_is_not_called_live(show: Show) -> None:
    page = show(1280, 800, [], camera={**CAMERA, "state": "lost", "age_s": 4.0})
    assert page.inner_text("#view-caption") == "The last image that came; it is not live."
    page = show(1280, 800, [], camera={**CAMERA, "trouble": "The encoding 'x' is not known."})
    assert "cannot be shown: The encoding 'x' is not known." in page.inner_text("#alarm")


def test_the_times_of_the_last_answer_are_there_after_a_reload(show: Show) -> None:
    assert show(1280, 800, []).inner_text("#state-latency") == "none yet"
    page = show(1280, 800, [exchange(1, "a mug", "It is there."), {**exchange(2, "b", ""), "timing_ms": {}}])
    assert page.inner_text("#state-latency").startswith("151 ms")


def test_a_mask_that_is_left_out_is_said(show: Show) -> None:
    large = {**found(2, "the leaves"), "runs": [], "mask_left_out": True}
    page = show(1280, 800, [exchange(1, "the bottle and the leaves", "Both.", found(1), large)])
    page.click('#log [data-action="show"]')
    page.wait_for_function("() => JSON.parse(document.getElementById('view').dataset.drawn).masks === 2")
    names = page.locator("#objects tr td:first-of-type").all_inner_texts()
    assert names == ["the blue bottle", "the leaves (without its mask)"]
    assert "Masks left out, because they are too large for this page: 1." in page.inner_text("#log")


def drawn(page: Page, masks: int) -> None:
    """Waits until so many masks are drawn."""
    page.wait_for_function(
        "(masks) => JSON.parse(document.getElementById('view').dataset.drawn).masks === masks", arg=masks
    )


def test_masks_that_the_console_drops_are_dropped_by_an_open_page(show: Show, server: Server) -> None:
    page = show(1280, 800, [exchange(1, "two mugs", "Both.", found(1), found(2)), exchange(2, "it", "", found(1))])
    page.click("#log li:first-child [data-action=show]")
    box = page.locator("#view").bounding_box()
    assert box is not None

    def tap() -> str:
        page.keyboard.press("Escape")
        page.mouse.click(box["x"] + 130.5 / WIDTH * box["width"], box["y"] + 0.5 / HEIGHT * box["height"])
        return page.inner_text("#chips").strip()

    assert tap().startswith("turn 1")
    server.send(type="masks_left_out", objects=[["e1", 0], ["gone", 0]])
    page.wait_for_selector("#objects:has-text('(without its mask)')")
    assert tap().startswith("point")
    assert "Masks left out, because they are too large for this page: 1." in page.inner_text("#log li:first-child")
    assert page.locator("#log li").count() == 2


COUNT_PAINTED = """() => {
  window.painted = [];
  const put = CanvasRenderingContext2D.prototype.putImageData;
  CanvasRenderingContext2D.prototype.putImageData = function (image, ...at) {
    painted.push([image.width, image.height]);
    put.call(this, image, ...at);
  };
}"""


def test_an_answer_that_went_on_behind_the_live_view_is_shown_as_it_became(show: Show, server: Server) -> None:
    page = show(1280, 800, [])
    page.evaluate(COUNT_PAINTED)
    part = {**exchange(1, "two mugs", "Bo", found(1)), "state": "answering", "turn": 0}
    for answer in ("B", "Bo"):
        server.send(type="exchange", exchange={**part, "answer": answer})
    drawn(page, 1)
    page.click("#live")
    server.send(type="exchange", exchange=exchange(1, "two mugs", "Both.", found(1), found(2)))
    page.wait_for_selector("#log li[data-state=done]")
    page.click("#answer")
    drawn(page, 2)
    # Each mask was painted anew with each part of the text: twenty masks of 1920 x 1080 stopped the page for a minute.
    assert page.evaluate("() => window.painted") == [[60, 1], [60, 1]]
    assert page.locator("#objects button:enabled").count() == 2
    server.send(type="dialogue", operator="ann", exchanges=[], can_undo_reset=False)
    page.wait_for_selector("#answer:disabled")
    assert page.get_attribute("#live", "aria-pressed") == "true"


def test_parts_of_an_answer_disturb_neither_a_finger_nor_the_focus(show: Show, server: Server) -> None:
    page = show(1280, 800, [])
    part = {**exchange(1, "a mug", "It", found(1)), "state": "answering"}
    server.send(type="exchange", exchange=part)
    drawn(page, 1)
    page.mouse.move(*middle(page, "#view"))
    page.mouse.down()
    server.send(type="exchange", exchange={**part, "answer": "It is"})
    page.wait_for_selector("#log li:has-text('It is')")
    page.mouse.up()
    assert "point (320, 240)" in page.inner_text("#chips")
    page.focus("#objects button")
    server.send(type="exchange", exchange={**exchange(2, "the next", ""), "state": "sent"})
    page.wait_for_selector("#log li:has-text('the next')")
    assert page.evaluate("() => document.activeElement.closest('#objects') !== null")


def middle(page: Page, selector: str) -> tuple[float, float]:
    page.locator(selector).scroll_into_view_if_needed()
    box = page.locator(selector).bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_a_long_message_comes_in_parts_as_a_file_does(show: Show, server: Server) -> None:
    page = show(1280, 800, [])
    message = {"type": "dialogue", "operator": "ann", "exchanges": [exchange(1, "ä" * 9000, ARABIC)]}
    whole = packed({"kind": "message"}, json.dumps({**message, "can_undo_reset": True}).encode())
    server.sockets[-1].send(MORE + whole[:1000])
    server.sockets[-1].send(LAST + whole[1000:])
    page.wait_for_selector("#log .asked:has-text('äää')")
    assert ARABIC in page.inner_text("#log") and page.is_visible("#undo")


FALSE_MICROPHONE = """() => { navigator.mediaDevices.getUserMedia = async () => {
  window.heard = new AudioContext().createMediaStreamDestination().stream;
  return window.heard;
}; }"""
IS_RECORDING = "() => document.getElementById('talk').dataset.state === 'speaking'"
IS_CLOSED = """() => document.getElementById('talk').dataset.state === 'idle'
  && heard.getTracks().every((track) => track.readyState === "ended")"""


def test_an_answer_that_came_before_what_was_heard_is_read_aloud_once(show: Show, server: Server) -> None:
    """The node's answer and the speech node's report have no order."""
    page = show(1280, 800, [])
    page.evaluate("() => { window.spoken = []; speechSynthesis.speak = (one) => spoken.push(one.text); }")
    page.check("#aloud")
    first, second, other = (
        {**exchange(number, "the mug", "It is here."), "spoken": f"answer {number}"} for number in (1, 2, 3)
    )
    heard = {**first, "heard": "the muck"}
    for one in (other, first, heard, heard, {**second, "state": "sent", "heard": "the muck"}, {**second, "heard": "x"}):
        server.send(type="exchange", exchange=one)
    page.wait_for_selector("#log li:nth-child(3)[data-state=done]")
    assert page.evaluate("() => window.spoken") == ["answer 1", "answer 2"]


def test_a_microphone_is_closed_when_nobody_hears_it_any_more(show: Show, server: Server) -> None:
    page = show(1280, 800, [], speech=True)
    page.evaluate(FALSE_MICROPHONE)
    for lose in (
        lambda: server.send(type="state", node=NODE, camera=CAMERA, speech=False),
        lambda: server.sockets[-1].close(),
    ):
        page.wait_for_selector("#talk:enabled")
        page.focus("#talk")
        page.keyboard.down("Enter")
        page.wait_for_function(IS_RECORDING)
        lose()
        page.wait_for_function(IS_CLOSED)
        page.keyboard.up("Enter")
        server.send(type="state", node=NODE, camera=CAMERA, speech=True)


SHORT_PRESS_OF_A_SLOW_BROWSER = """() => {
  const [down, up] = ["keydown", "keyup"].map((type) => new KeyboardEvent(type, { key: "Enter", bubbles: true }));
  const talk = document.getElementById("talk");
  talk.dispatchEvent(down);
  const until = performance.now() + 600;
  while (performance.now() < until);
  talk.dispatchEvent(up);
}"""


def test_a_short_press_is_short_though_the_browser_is_slow_to_open_the_microphone(show: Show) -> None:
    page = show(1280, 800, [], speech=True)
    page.evaluate(FALSE_MICROPHONE)
    page.click("#view")  # browsers let a page have sound only after it was used
    page.focus("#talk")
    page.evaluate(SHORT_PRESS_OF_A_SLOW_BROWSER)
    page.wait_for_function(IS_RECORDING)


def touch(page: Page, kind: str, *points: tuple[float, float]) -> None:
    fingers = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
    page.touches.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})  # type: ignore[attr-defined]


def test_a_finger_that_moves_on_the_talk_button_does_not_end_the_recording(show: Show) -> None:
    page = show(360, 740, [exchange(1, "a mug", "It is there.", found(1))], speech=True, touch=True)
    page.touches = page.context.new_cdp_session(page)  # type: ignore[attr-defined]
    page.evaluate(FALSE_MICROPHONE)
    x, y = middle(page, "#talk")
    touch(page, "touchStart", (x, y))
    page.wait_for_function(IS_RECORDING)
    for moved in range(10, 101, 10):
        touch(page, "touchMove", (x, y - moved))
        page.wait_for_timeout(20)
    page.wait_for_timeout(1000)  # a long press
    assert page.evaluate(IS_RECORDING)
    touch(page, "touchEnd")
    page.wait_for_function(IS_CLOSED)


def test_a_second_finger_does_not_disturb_a_box(show: Show) -> None:
    page = show(800, 1280, [], touch=True)
    page.touches = page.context.new_cdp_session(page)  # type: ignore[attr-defined]
    page.click("#box")
    x, y = middle(page, "#view")
    touch(page, "touchStart", (x, y))
    touch(page, "touchMove", (x + 50, y + 50))
    touch(page, "touchStart", (x + 50, y + 50), (x - 100, y - 100))
    touch(page, "touchMove", (x + 60, y + 60), (x - 120, y - 120))
    touch(page, "touchEnd")
    page.wait_for_selector("#chips button")
    assert page.locator("#chips button").count() == 1
    assert "box (320, 240)" in page.inner_text("#chips")


def test_a_box_to_the_border_has_the_last_row_and_column(show: Show) -> None:
    page = show(1280, 800, [])
    x, y = middle(page, "#view")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 2000, y + 2000)
    page.mouse.up()
    assert f"box ({WIDTH // 2}, {HEIGHT // 2}), {WIDTH // 2} \u00d7 {HEIGHT // 2}" in page.inner_text("#chips")


HOSTILE = (
    "<script>window.hostile = 1</script>"
    "<img src=x onerror='window.hostile = 1'><svg onload='window.hostile = 1'></svg>"
    "<iframe srcdoc='<script>parent.hostile = 1</script>'></iframe><a href='javascript:window.hostile = 1'>x</a>"
)


def test_no_text_of_any_message_becomes_html(show: Show) -> None:
    hostile = {**found(1, HOSTILE), "no_distance": HOSTILE}
    changed = {"detail": HOSTILE, "status": HOSTILE, "heard": HOSTILE, "spoken": HOSTILE}
    asked = {**exchange(1, HOSTILE, HOSTILE, hostile), **changed, "id": HOSTILE}
    lost = {**exchange(2, HOSTILE, ""), **changed, "id": "2", "state": "lost", "references": [HOSTILE]}
    details = ("failed", "bad_message", "operator_refused")
    heard = {"type": "heard", "text": HOSTILE, "detail": HOSTILE, "final": True, "meaning": "UNSURE"}
    page = show(
        1280,
        800,
        [asked, lost],
        heard,
        {**heard, "final": False},
        *({"type": kind, "detail": HOSTILE} for kind in details),
        {"type": "not_sent", "tag": HOSTILE, "code": HOSTILE},
        {"type": HOSTILE},
        operator=HOSTILE,
        cameras=[HOSTILE, "wrist"],
        node={"state": HOSTILE, "sentence": HOSTILE, "model": HOSTILE, "waiting": HOSTILE},
        camera={"state": HOSTILE, "age_s": 1.0, "trouble": HOSTILE, "topic": HOSTILE},
    )
    page.click("#log [data-action=show]")
    page.click("#log [data-action=refer]")
    for place in ("#log", "#objects", "#alarm", "#state-camera", "#state-node", "#heard", "#view-caption"):
        assert "window.hostile" in str(page.text_content(place)), place
    assert page.locator("main img, main svg, main iframe, main a, main script, #alarm *:not(p)").count() == 0
    page.wait_for_timeout(200)
    assert page.evaluate("() => window.hostile") is None


def test_a_language_that_is_read_from_the_right_turns_the_page(show: Show, browser: Browser, address: str) -> None:
    texts = json.loads((ROOT / "lisa_ros/nodes/console/static/texts/en.json").read_text())
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.route("**/texts", lambda route: route.fulfill(json={**texts, "lang": "ar", "dir": "rtl"}))
    page.goto(address)
    page.wait_for_selector("body[data-node]")
    image, command = (page.locator(selector).bounding_box() for selector in ("#view", "#text"))
    assert image and command and image["x"] > command["x"]
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    page.close()


def test_every_text_is_shown_somewhere() -> None:
    folder = ROOT / "lisa_ros" / "nodes" / "console" / "static"
    texts = json.loads((folder / "texts" / "en.json").read_text())
    page = "".join(file.read_text() for file in [*folder.glob("*.js"), folder / "index.html"])
    begins = re.findall(r"`(\w+_)\$\{", page)
    unused = [key for key in texts if f'"{key}"' not in page and not key.startswith(tuple(begins))]
    assert unused == ["lang", "dir"]
