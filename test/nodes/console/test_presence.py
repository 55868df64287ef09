# SPDX-License-Identifier: Apache-2.0
"""What the console knows of its node, from the node's reports and from the ROS graph."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from lisa_ros.nodes.console.presence import ABSENT, LOST, SILENT_S, Presence

OLD, NEW = (1, 1), (2, 2)


def report(state: str = "active", name: str = "front/lisa") -> DiagnosticArray:
    return DiagnosticArray(status=[DiagnosticStatus(name=f"{name}: lisa", values=[KeyValue(key="state", value=state)])])


def test_a_node_is_absent_there_and_lost() -> None:
    presence = Presence("front/lisa")
    presence.judge(frozenset(), 0.0)
    assert presence.state == ABSENT
    presence.hear(report(name="back/lisa"), 1.0)
    presence.judge(frozenset({OLD}), 1.0)
    assert presence.state == ABSENT
    presence.hear(report("inactive"), 2.0)
    presence.judge(frozenset({OLD}), 2.1)
    assert presence.state == "inactive"
    presence.judge(frozenset({OLD}), 2.0 + SILENT_S + 0.1)
    assert presence.state == LOST


def test_the_report_of_the_process_before_says_nothing_of_a_restarted_node() -> None:
    presence = Presence("front/lisa")
    presence.hear(report(), 0.0)
    assert not presence.judge(frozenset({OLD}), 0.1)
    assert presence.there
    assert presence.judge(frozenset({OLD, NEW}), 0.2)
    assert (presence.state, presence.restarts) == (LOST, 1)
    presence.hear(report(), 0.5)
    assert not presence.judge(frozenset({OLD, NEW}), 0.6)
    assert presence.state == "active"
    assert not presence.judge(frozenset({NEW}), 0.7)
    assert presence.restarts == 1
