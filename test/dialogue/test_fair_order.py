# SPDX-License-Identifier: Apache-2.0
"""Senders with many commands do not delay the others, and those with one keep the order of arrival."""

from __future__ import annotations

from lisa_ros.dialogue.fair_order import FairOrder


def test_a_sender_comes_after_those_that_came_before_its_last_turn() -> None:
    now_s = [0.0]
    order = FairOrder(lambda: now_s[0])
    assert order.came_s("anna", 1.0) < order.came_s("ben", 2.0)
    now_s[0] = 3.0
    order.note_turn("anna", {"anna", "ben"})
    assert order.came_s("ben", 2.0) < order.came_s("anna", 1.0) < order.came_s("cleo", 3.5)
    assert order.came_s("anna", 4.0) == 4.0


def test_only_senders_whose_commands_wait_are_remembered() -> None:
    order = FairOrder()
    for number in range(100):
        order.note_turn(number, {number, number + 1})
    assert len(order._last_s) == 1
