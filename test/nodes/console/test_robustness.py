# SPDX-License-Identifier: Apache-2.0
"""The page when things go wrong: hostile text, cancelling, a node and a camera that are lost and come back."""

import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import camera_images
import pytest
from console_page import Operator, address_of, console, console_command
from node_probe import Probe, probing
from playwright.sync_api import Browser
from ros_harness import Process, free_port, scripted_node, started, wait_at, wait_until

SAID_S = 10.0
"""It takes two seconds on a machine that does nothing else."""

PAYLOADS = (
    "<script>{code}</script>",
    "<img src=x onerror={code}>",
    "<svg onload={code}>",
    "<iframe srcdoc='<script>parent.{code}</script>'></iframe>",
    "<body onpageshow={code}>",
    "<details open ontoggle={code}>",
    "<a href='javascript:{code}' autofocus onfocus={code}>x</a>",
    "<math><mi xlink:href='javascript:{code}'>",
    "{{{{constructor.constructor('{code}')()}}}}",
    "${{{code}}}",
)
WRAPPINGS = ("{}", "'>{}", '">{}', "</li>{}", "</textarea>{}", "-->{}", "]]>{}", "</script>{}", "`{}`", "\\u003c/p>{}")
CODES = ("alert(1)", "window.hostile=1")
HOSTILE = [
    wrapping.format(payload.format(code=code)) for payload in PAYLOADS for wrapping in WRAPPINGS for code in CODES
]


@pytest.fixture(scope="module")
def probe() -> Iterator[Probe]:
    with probing("lisa") as probe:
        yield probe


@contextmanager
def filming(probe: Probe) -> Iterator[None]:
    """A camera of 10 images a second."""
    ended = threading.Event()

    def film() -> None:
        while not ended.wait(0.1):
            message = camera_images.message("rgb8")
            message.header.stamp = probe.node.get_clock().now().to_msg()
            probe.show(message)

    thread = threading.Thread(target=film)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def node(probe: Probe) -> Iterator[Process]:
    with started(scripted_node("-p", "queue_size:=500")) as process:
        probe.wait_for_node(process)
        yield process


def test_no_text_of_operator_or_model_runs_or_becomes_html(browser: Browser, probe: Probe) -> None:
    assert len(set(HOSTILE)) == 200
    with filming(probe), node(probe), console() as address:
        mallory = Operator(browser, address, "mallory")
        mallory.wait_for_camera()
        elements = mallory.page.evaluate("() => document.querySelectorAll('*').length")
        for text in HOSTILE[:5]:
            assert mallory.ask(f"say {text}")["answer"] == text
        shown: set[str] = set()
        for text in HOSTILE[5:]:
            probe.ask(f"say {text}", "mallory")
            if len(shown) % 20 == 0:
                mallory.until(lambda text=text: mallory.log()[-1]["answer"] == text, "the answer")
            shown.add(text)
        mallory.until(lambda: mallory.log()[-1]["answer"] == HOSTILE[-1], "the last answer")
        assert mallory.log()[-1]["text"] == f"say {HOSTILE[-1]}"
        for text in HOSTILE[::4]:
            mallory.say_name(text[:64])
        mallory.until(lambda: not mallory.log(), "another operator's dialogue")
        assert mallory.ask(f"say {HOSTILE[0]}")["answer"] == HOSTILE[0]
        assert mallory.page.inner_text("#log li b >> nth=0") == HOSTILE[-4][:64].strip()
        foreign = mallory.page.evaluate(
            "() => document.querySelectorAll('script:not([src]), img, svg, iframe, math, #log a, #log details').length"
        )
        assert foreign == 0
        assert mallory.page.evaluate("() => window.hostile") is None
        assert mallory.page.evaluate("() => document.querySelectorAll('*').length") < elements + 1000
        assert mallory.faults == []
        mallory.close()


def test_a_command_is_cancelled_and_references_reach_the_model(browser: Browser, probe: Probe, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with filming(probe), node(probe), console() as address:
        ann = Operator(browser, address, "ann")
        ann.wait_for_camera()
        assert ann.ask("the red part")["status"] == "OK"
        ann.say(f"gate {gate}")
        wait_at(gate)
        ann.page.click("#cancel")
        ann.until(lambda: ann.log()[-1]["status"] == "CANCELLED", "the cancellation")
        ann.page.click("#log li:first-child [data-action=refer]")
        assert ann.ask("references")["answer"] == "References [1]."
        assert ann.ask("forbidden")["about"].strip().startswith("Rejected The model does not take this word.")
        ann.page.click("#live")
        tap_beside_the_image(ann)
        assert ann.page.inner_text("#chips").strip() == ""
        reset_during_an_answer(ann, tmp_path / "second_gate")
        ann.close()


def tap_beside_the_image(operator: Operator) -> None:
    """On the dark border that the image leaves in its frame on a low, wide screen."""
    operator.page.set_viewport_size({"width": 1280, "height": 300})
    operator.page.locator("#view").scroll_into_view_if_needed()
    image = operator.page.locator("#view").bounding_box()
    assert image is not None
    x, y = image["x"] - 6, image["y"] + image["height"] / 2
    assert operator.page.evaluate("([x, y]) => document.elementFromPoint(x, y).className", [x, y]) == "frame"
    operator.page.mouse.click(x, y)


def reset_during_an_answer(operator: Operator, gate: Path) -> None:
    """The running command stays on the page and gets its answer; it is no turn of the new dialogue."""
    operator.say(f"gate {gate}")
    wait_at(gate)
    operator.page.click("#reset")
    operator.until(lambda: len(operator.log()) == 1, "the reset")
    assert operator.log()[0]["state"] not in ("done", "lost") and "was deleted" in operator.alarms()
    gate.touch()
    operator.until(lambda: operator.log()[0]["state"] == "done", "the answer")
    assert "turn" not in operator.log()[0]["about"]
    assert operator.ask("the red part")["about"].strip().startswith("turn 1")


def test_a_lost_node_is_said_and_commands_are_answered_or_lost(browser: Browser, probe: Probe, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with filming(probe), console() as address:
        ann = Operator(browser, address, "ann")
        ann.until(lambda: "The LISA node is not running" in ann.alarms(), "the alarm of a page before any node")
        ann.say("the red part")
        ann.until(lambda: "Not sent" in ann.alarms(), "the refusal before any node")
        with node(probe) as process:
            ann.until(lambda: "The LISA node is not running" not in ann.alarms(), "the first node")
            ann.wait_for_camera()
            # The page had the camera's images before the node got one.
            ann.until(lambda: ann.ask("the red part")["status"] == "OK", "an answer of the first node")
            ann.say(f"gate {gate}")
            wait_at(gate)
            process.send_signal(signal.SIGKILL)
            killed_s = time.monotonic()
            ann.until(lambda: "The LISA node is not running" in ann.alarms(), "the alarm")
            assert time.monotonic() - killed_s < SAID_S
            ann.until(lambda: [said["state"] for said in ann.log()][-1:] == ["lost"], "the lost command")
            assert "Send the command again" in ann.log()[-1]["answer"]
            count = len(ann.log())
            ann.say("the green part")
            ann.until(lambda: "Not sent" in ann.alarms(), "the refusal")
            assert ann.page.input_value("#text") == "the green part" and len(ann.log()) == count
        with node(probe):
            ann.until(lambda: "The LISA node is not running" not in ann.alarms(), "the node's return")
            ann.until(lambda: ann.ask("the green part")["status"] == "OK", "an answer of the new node")
            ann.close()


def answered(operator: Operator, text: str) -> bool:
    """Says it once; whether it was answered with masks. False, too, if the page said that the node is not running."""

    def done() -> list[dict[str, str]]:
        return [one for one in operator.log() if one["text"] == text and one["state"] == "done"]

    before = len(done())
    operator.say(text)
    operator.until(lambda: "Not sent" in operator.alarms() or done()[before:], f"an answer or a refusal of {text}")
    return [one["status"] for one in done()[before:]] == ["OK"]


def test_a_node_that_is_restarted_at_once_loses_no_command_silently(
    browser: Browser, probe: Probe, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with filming(probe), console() as address, started(scripted_node()) as first:
        probe.wait_for_node(first)
        ann = Operator(browser, address, "ann")
        ann.wait_for_camera()
        ann.say(f"gate {gate}")
        wait_at(gate)
        first.send_signal(signal.SIGKILL)
        with started(scripted_node()):
            ann.until(lambda: [said["state"] for said in ann.log()][-1:] == ["lost"], "the lost command")
            ann.until(lambda: ann.page.get_attribute("body", "data-node") == "active", "the new node")
            ann.until(lambda: "not running" not in ann.alarms(), "the end of the alarm")
            # The new node has no image yet, or a busy machine delays its report: then the page refuses the command.
            ann.until(lambda: answered(ann, "the red part"), "an answer", 120)
        ann.close()


def test_a_lost_camera_and_a_lost_console_are_said_and_come_back(browser: Browser, probe: Probe) -> None:
    port = free_port()
    with node(probe):
        with console(f"port:={port}") as address:
            ann = Operator(browser, address, "ann")
            with filming(probe):
                ann.wait_for_camera()
            lost_s = time.monotonic()
            ann.until(lambda: "The camera sends no images" in ann.alarms(), "the camera's alarm")
            assert time.monotonic() - lost_s < SAID_S
            with filming(probe):
                ann.until(lambda: "The camera" not in ann.alarms(), "the end of the camera's alarm")
        ann.until(lambda: "connection to the console is lost" in ann.alarms(), "the connection's alarm")
        ann.say("the red part")
        ann.until(lambda: "Not sent" in ann.alarms(), "the refusal")
        with console(f"port:={port}"), filming(probe):
            ann.until(lambda: "connection to the console is lost" not in ann.alarms(), "the new connection")
            ann.wait_for_camera()
            ann.page.wait_for_timeout(3000)  # the new console has heard the node's report, which comes once a second
            ann.until(lambda: ann.page.get_attribute("body", "data-node") == "active", "the node's state")
            assert ann.ask("the red part")["status"] == "OK"
        ann.close()


def test_nothing_is_subscribed_while_nobody_looks(browser: Browser, probe: Probe) -> None:
    with filming(probe), node(probe), console() as address:

        def subscribed() -> tuple[int, int]:
            """By the console alone: the node subscribes to the camera, too, and is discovered at any time."""
            found = (probe.node.get_subscriptions_info_by_topic(topic) for topic in ("/image", "/lisa/segmentation"))
            camera, answers = (sum(one.node_name == "console" for one in each) for each in found)
            return camera, answers

        wait_until(lambda: subscribed() == (0, 0), "the end of subscriptions of tests before")
        ann, ben = Operator(browser, address, "ann"), Operator(browser, address, "ben")
        ann.wait_for_camera()
        ben.wait_for_camera()
        wait_until(lambda: subscribed() == (1, 1), "one subscription for both pages")
        ann.close()
        ben.close()
        wait_until(lambda: subscribed() == (0, 0), "the end of the subscriptions")

        def jpeg_files() -> int:
            try:
                with urlopen(f"{address}healthz") as response:
                    health = json.load(response)
            except HTTPError as error:
                health = json.load(error)
            return int(health["cameras"]["default"]["jpeg_files"])

        assert jpeg_files() > 0

        def none_is_made() -> bool:
            made = jpeg_files()  # the last one may still be under way
            time.sleep(1.0)  # ten images of the camera
            return jpeg_files() == made

        wait_until(none_is_made, "a second without JPEG files")


def test_ctrl_c_twice_ends_it_without_a_traceback() -> None:
    """A terminal and ros2 launch each send SIGINT."""
    with started(console_command()) as process:
        address_of(process)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
        assert "Traceback" not in process.output


SIGNAL_BEFORE_SERVING = """
import signal, sys, uvicorn
from lisa_ros.nodes.console.node import main

serve = uvicorn.Server.serve

def signalled(server, *arguments, **options):
    signal.raise_signal(signal.{name})
    return serve(server, *arguments, **options)

uvicorn.Server.serve = signalled
sys.exit(main(sys.argv))
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_before_uvicorn_handles_it_ends_the_console(name: str) -> None:
    """It was ignored: the console then ran on, without a terminal's second Ctrl-C."""
    command = [sys.executable, "-c", SIGNAL_BEFORE_SERVING.format(name=name), "--ros-args", "-p", "port:=0"]
    with started(command) as process:
        assert process.wait() == 0
        assert "Traceback" not in process.output


EXECUTOR_FAILS = """
import sys
from rclpy.executors import Executor
from lisa_ros.nodes.console.node import main

Executor.get_nodes = lambda executor: 1 / 0
sys.exit(main(sys.argv))
"""


def test_a_failed_executor_is_in_the_exit_code() -> None:
    """systemd's Restart=on-failure did not start it again."""
    with started([sys.executable, "-c", EXECUTOR_FAILS, "--ros-args", "-p", "port:=0"]) as process:
        assert process.wait() == 1
        assert "The console ends: ZeroDivisionError" in process.output
