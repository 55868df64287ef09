# SPDX-License-Identifier: Apache-2.0
"""`lisa benchmark console` counts rightly; how fast this machine is, is not tested."""

from __future__ import annotations

import shutil
import sys

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("websockets", reason="the extra `console` is not installed")

import camera_images
from console_page import console
from node_probe import Probe
from ros_harness import scripted_node, started, talking_node

from lisa_ros.benchmark.console.page_times import NoBrowserError, PageTimes, measure_page, page_bars
from lisa_ros.benchmark.console.run import Blocks, bars, cost_of
from lisa_ros.benchmark.node.added_time import Pair

pytestmark = pytest.mark.ros


def blocks(added_ms: float, console_s: float) -> Blocks:
    pairs = [Pair(35, 30 + added_ms + jitter, 30, 0.1, 32, 41 + added_ms, 40, added_ms / 2) for jitter in (-2, 0, 2)]
    return Blocks(pairs, console_s, seconds=10.0, images_a_second=[14.0, 15.0, 12.0])


def test_the_costs_are_medians_and_the_bars_compare_them() -> None:
    without, cheap = cost_of(blocks(10, 0.1)), cost_of(blocks(10.9, 5.9))
    assert (without.added, without.added_processor, without.console_percent) == (10, 11, pytest.approx(1))
    assert cheap.images_a_second == 14 and cheap.pairs == 3
    assert [bar.held for bar in bars(without, cheap, 8)] == [True, True]
    expensive = cost_of(blocks(11.1, 6.1))
    assert [bar.held for bar in bars(without, expensive, 8)] == [False, False]
    assert "61.0 %, 14.0 images/s each" in bars(without, expensive, 8)[0].measured
    assert (
        "10.0 to 11.1 ms, +11 % (of processor time +10 %; waiting for a core 5.0 to 5.5 ms)"
        in bars(without, expensive, 8)[1].measured
    )


def test_the_times_at_a_page_are_compared_with_their_bars() -> None:
    fast, slow = PageTimes([9, 50, 70], [-5, 150, 300]), PageTimes([51], [151])
    assert [(bar.held, bar.measured) for bar in page_bars(fast)] == [
        (True, "50 ms, at most 70 ms (3 commands)"),
        (True, "150 ms, at most 300 ms (3 commands)"),
    ]
    assert [bar.held for bar in page_bars(slow)] == [False, False]


def test_without_a_browser_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NoBrowserError, match="neither chromium nor google-chrome is in PATH"):
        measure_page("", "http://127.0.0.1:1/", ["x"], 1, 1.0)
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    with pytest.raises(NoBrowserError, match="playwright is missing; in lisa_ros's checkout, type: pip install"):
        measure_page("", "http://127.0.0.1:1/", ["x"], 1, 1.0)


def test_keys_and_masks_of_a_page_in_chromium_are_timed() -> None:
    if shutil.which("chromium") is None:
        pytest.skip("no Chromium is installed")
    with talking_node("probe") as own, started(scripted_node()) as process, console() as address:
        probe, image = Probe(own), camera_images.message("rgb8")
        probe.wait_for_node(process)

        def film() -> None:
            image.header.stamp = probe.stamp_now()
            probe.show(image)

        own.create_timer(0.1, film)
        times = measure_page("", address, ["the red part"], 2, 120.0)
        probe.close()
    assert len(times.press) == len(times.drawn) == 2
    assert all(0 < value < 5000 for value in times.press)  # on a busy machine, too
    assert all(-5000 < value < 5000 for value in times.drawn)
