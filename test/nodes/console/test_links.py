# SPDX-License-Identifier: Apache-2.0
"""The page with a frozen node, over a slow network, and with a second camera."""

import signal
import time
from pathlib import Path

import camera_images
import numpy as np
import pytest
from console_page import Operator, chromium, console
from node_probe import Probe
from ros_harness import scripted_node, started, talking_node, wait_until
from sensor_msgs.msg import Image

pytestmark = pytest.mark.ros

SAID_S = 10.0
"""It takes two seconds on a machine that does nothing else."""
DEAD_S = 6.0
"""A link that brings nothing for so long is made anew, see link.js."""


def film(probe: Probe, image: Image | None = None) -> None:
    """Begins to send ten images a second, for as long as the probe's node lives."""
    image = image or camera_images.message("rgb8")

    def show() -> None:
        image.header.stamp = probe.stamp_now()
        probe.show(image)

    probe.node.create_timer(0.1, show)


def test_an_image_that_takes_longer_than_a_dead_link_is_given_comes_whole() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    with talking_node("probe") as own, console() as address, chromium() as browser:
        probe = Probe(own)
        film(probe, Image(height=240, width=320, step=960, encoding="rgb8", data=noise.tobytes()))
        ann = Operator(browser, address, "ann")
        ann.until(lambda: ann.drawn().get("image"), "a live image")
        connections: list[object] = []
        ann.page.on("websocket", lambda socket: connections.append(socket))
        network = ann.context.new_cdp_session(ann.page)
        network.send("Network.enable")
        slow(network, 7_000)
        for _ in range(2):  # the first was under way
            began_s, drawn = time.monotonic(), ann.drawn()["images"]
            ann.until(lambda drawn=drawn: ann.drawn()["images"] > drawn, "an image", 60.0)
        assert time.monotonic() - began_s > DEAD_S
        assert connections == []
        ann.close()
        probe.close()


def test_a_slow_link_and_a_frozen_node_are_said_in_time_and_nothing_said_to_be_lost_is_done(tmp_path: Path) -> None:
    with (
        talking_node("probe") as own,
        started(scripted_node()) as process,
        console() as address,
        chromium() as browser,
    ):
        probe = Probe(own)
        film(probe)
        ann = Operator(browser, address, "ann")
        ann.wait_for_camera()
        network = ann.context.new_cdp_session(ann.page)
        network.send("Network.enable")
        began_s = slow(network, 100)
        ann.until(lambda: "is slow: nothing has come" in ann.alarms(), "the alarm of a slow link")
        assert time.monotonic() - began_s < SAID_S
        slow(network, -1)
        ann.until(lambda: "slow" not in ann.alarms() and "lost" not in ann.alarms(), "the end of the alarm")
        assert ann.ask("the red part")["status"] == "OK"

        process.send_signal(signal.SIGSTOP)
        frozen_s = time.monotonic()
        ann.say(f"gate {tmp_path / 'gate'}")
        ann.until(lambda: "The LISA node is not running" in ann.alarms(), "the alarm of a frozen node")
        assert time.monotonic() - frozen_s < SAID_S
        ann.until(lambda: [said["state"] for said in ann.log()][-1:] == ["lost"], "the lost command")
        process.send_signal(signal.SIGCONT)
        ann.until(lambda: "not running" not in ann.alarms(), "the node's return")
        ann.until(lambda: ann.log()[-1]["status"] == "CANCELLED", "the end of what was said to be lost")
        assert ann.ask("the red part")["status"] == "OK"
        ann.close()
        probe.close()


def slow(network: object, bytes_a_second: int) -> float:
    """Sets the browser's network; -1: as fast as it is. Returns when."""
    conditions = {"offline": False, "latency": 0 if bytes_a_second < 0 else 50}
    rates = {"downloadThroughput": bytes_a_second, "uploadThroughput": bytes_a_second}
    network.send("Network.emulateNetworkConditions", {**conditions, **rates})  # type: ignore[attr-defined]
    return time.monotonic()


def test_each_of_two_cameras_has_its_own_node_and_dialogue() -> None:
    names = ("front", "wrist")
    nodes = [scripted_node("-r", f"__ns:=/{name}") for name in names]
    with (
        talking_node("probe") as own,
        started(nodes[0]),
        started(nodes[1]),
        console("cameras:=[front, wrist]") as address,
        chromium() as browser,
    ):
        front, wrist = (Probe(own, f"{name}/lisa", f"/{name}/image") for name in names)
        film(front)
        ann = Operator(browser, address, "ann")
        ann.wait_for_camera()
        assert ann.page.input_value("#camera") == "front"
        # The page may show the camera before the node has its first image.
        ann.until(lambda: ann.ask("the red part")["status"] == "OK", "the first node's answer")
        ann.page.select_option("#camera", "wrist")
        ann.until(lambda: not ann.log(), "the other camera's dialogue")
        wait_until(lambda: own.count_subscribers("/wrist/image") >= 1, "the subscription to the other camera")
        film(wrist)
        ann.wait_for_camera()
        ann.until(lambda: ann.ask("say from the wrist")["answer"] == "from the wrist", "the other node's answer")
        wait_until(lambda: wrist.answers, "the other node's answer for planners")
        assert {one.text for one in front.answers} == {"the red part"}
        assert {one.text for one in wrist.answers} == {"say from the wrist"}
        wait_until(lambda: subscribed(own, "/front/image") == 0, "the end of the other camera's subscription")
        ann.page.reload()
        ann.until(
            lambda: {one["text"] for one in ann.log()} == {"say from the wrist"}, "the same camera after a reload"
        )
        ann.page.select_option("#camera", "front")
        ann.until(lambda: {one["text"] for one in ann.log()} == {"the red part"}, "the first camera's dialogue")
        ann.close()
        front.close()
        wrist.close()


def subscribed(own: object, topic: str) -> int:
    """Subscriptions of the console."""
    infos = own.get_subscriptions_info_by_topic(topic)  # type: ignore[attr-defined]
    return sum(one.node_name == "console" for one in infos)
