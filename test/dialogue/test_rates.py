# SPDX-License-Identifier: Apache-2.0
"""Limits of commands and requests in a minute."""

from __future__ import annotations

from lisa_ros.dialogue.rates import Rates


def test_commands_are_counted_for_a_minute() -> None:
    now = [0.0]
    rates = Rates(lambda: now[0])
    assert [rates.wait_s("ann", 2) for _ in range(3)] == [0.0, 0.0, 60.0]
    assert rates.wait_s("ben", 2) == rates.wait_s("ann", 0) == 0.0
    now[0] = 59.0
    assert rates.wait_s("ann", 2) == 1.0
    now[0] = 60.0
    assert rates.wait_s("ann", 2) == 0.0
