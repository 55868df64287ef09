# SPDX-License-Identifier: Apache-2.0
"""Five times as many commands as the model can answer: each one is answered or rejected, and the node recovers."""

import re
import time
from collections import Counter
from collections.abc import Iterator

import camera_images
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from node_probe import Probe, probing
from ros_harness import scripted_node, started, wait_until

from lisa_ros.msg import Segmentation

SERVICE_S = 0.1
CONCURRENT = 2
QUEUE = 16
RATE_HZ = 5 * CONCURRENT / SERVICE_S
OPERATORS = 8


@pytest.fixture(scope="module")
def overloaded() -> Iterator[Probe]:
    numbers = {
        "queue_size": QUEUE,
        # Operators take turns: without this limit one operator's last command waits for newer ones of the others.
        "max_operator_queue": QUEUE // OPERATORS,
        "concurrent_commands": CONCURRENT,
        "max_image_age": 0.0,
    }
    settings = [word for name, value in numbers.items() for word in ("-p", f"{name}:={value}")]
    with probing("busy") as probe, started(scripted_node("-r", "__node:=busy", *settings)) as process:
        probe.wait_for_node(process)
        probe.ask_about(camera_images.message("rgb8"), "red")
        yield probe


def flood(probe: Probe, seconds: float) -> list[str]:
    """Sends commands at a steady rate; returns their ids."""
    begin_s, sent = time.monotonic(), []
    while (due := int((time.monotonic() - begin_s) * RATE_HZ)) < seconds * RATE_HZ:
        for number in range(len(sent), due):
            sent.append(probe.send(f"takes {SERVICE_S} red", f"operator_{number % OPERATORS}"))
        time.sleep(0.002)
    return sent


def waiting(array: DiagnosticArray) -> int:
    values = {value.key: value.value for status in array.status for value in status.values}
    return int(re.findall(r"\d+", values.get("waiting commands", "0"))[0])


def check_overload(probe: Probe, seconds: float) -> None:
    most: list[int] = []
    diagnostics = probe.node.create_subscription(
        DiagnosticArray, "/diagnostics", lambda array: most.append(waiting(array)), 10
    )
    before = len(probe.answers)
    sent = flood(probe, seconds)
    end_s = time.monotonic()
    # The first command that is not rejected: the node has recovered. A busy machine delivers the flood for longer.
    wait_until(lambda: probe.ask("red", "afterwards").status == Segmentation.OK, "an accepted command")
    recovery_s = time.monotonic() - end_s
    wait_until(lambda: len({one.id for one in probe.answers[before:]} & set(sent)) == len(sent), "all answers")
    assert probe.ask("red", "afterwards").status == Segmentation.OK
    probe.node.destroy_subscription(diagnostics)

    answers = [one for one in probe.answers[before:] if one.id in set(sent)]
    assert Counter(one.id for one in answers) == Counter(sent), "exactly one answer each"
    accepted = [one for one in answers if one.status == Segmentation.OK]
    rejected = [one for one in answers if one.status == Segmentation.REJECTED]
    assert len(accepted) + len(rejected) == len(sent)
    assert all("queue" in one.detail for one in rejected)
    assert len(rejected) > 0.6 * len(sent), "it was an overload"
    assert most and max(most) <= QUEUE

    # On a busy machine a command takes longer than SERVICE_S, and one that stood still for a moment keeps all waiting:
    # the bound is in units of what one took at most.
    service_ms = max(one.total_ms for one in accepted)
    longest_ms = max(one.queued_ms + one.total_ms for one in accepted)
    assert longest_ms <= (QUEUE + 1) * service_ms
    shares = Counter(one.operator_id for one in accepted)
    assert min(shares.values()) > 0.5 * len(accepted) / OPERATORS, "no operator is left out"
    print(
        f"{len(sent)} sent, {len(accepted)} answered, {len(rejected)} rejected; service {service_ms:.0f} ms, longest "
        f"{longest_ms:.0f} ms, at most {max(most)} waiting, recovery {recovery_s:.2f} s"
    )


def test_ten_seconds_of_overload(overloaded: Probe) -> None:
    check_overload(overloaded, 10.0)


@pytest.mark.slow
def test_two_minutes_of_overload(overloaded: Probe) -> None:
    check_overload(overloaded, 120.0)
