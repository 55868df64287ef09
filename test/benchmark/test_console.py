# SPDX-License-Identifier: Apache-2.0
"""`lisa benchmark console` counts rightly; how fast this machine is, is not tested."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("websockets", reason="the extra `console` is not installed")

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
