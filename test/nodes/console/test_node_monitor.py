# SPDX-License-Identifier: Apache-2.0
"""What the console knows of its node, from the node's reports and from the ROS graph."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from lisa_ros.nodes.console.node_monitor import ABSENT, LOST, SILENT_S, NodeMonitor

OLD, NEW = (1, 1), (2, 2)


def report(state: str = "active", name: str = "front/lisa") -> DiagnosticArray:
    return DiagnosticArray(status=[DiagnosticStatus(name=f"{name}: lisa", values=[KeyValue(key="state", value=state)])])


def test_a_node_is_absent_there_and_lost() -> None:
    monitor = NodeMonitor("front/lisa")
    monitor.update(frozenset(), 0.0)
    assert monitor.state == ABSENT
    monitor.on_diagnostics(report(name="back/lisa"), 1.0)
    monitor.update(frozenset({OLD}), 1.0)
    assert monitor.state == ABSENT
    monitor.on_diagnostics(report("inactive"), 2.0)
    monitor.update(frozenset({OLD}), 2.1)
    assert monitor.state == "inactive"
    monitor.update(frozenset({OLD}), 2.0 + SILENT_S + 0.1)
    assert monitor.state == LOST


def test_the_report_of_the_process_before_says_nothing_of_a_restarted_node() -> None:
    monitor = NodeMonitor("front/lisa")
    monitor.on_diagnostics(report(), 0.0)
    assert not monitor.update(frozenset({OLD}), 0.1)
    assert monitor.alive
    assert monitor.update(frozenset({OLD, NEW}), 0.2)
    assert (monitor.state, monitor.restarts) == (LOST, 1)
    monitor.on_diagnostics(report(), 0.5)
    assert not monitor.update(frozenset({OLD, NEW}), 0.6)
    assert monitor.state == "active"
    assert not monitor.update(frozenset({NEW}), 0.7)
    assert monitor.restarts == 1
