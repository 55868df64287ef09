# SPDX-License-Identifier: Apache-2.0
"""Guarded callbacks: an error ends nothing, whatever the callback's arguments are."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest
from builtin_interfaces.msg import Time
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.node import Node
from rclpy.parameter import Parameter
from ros_harness import ros_context, talking_node, wait_until
from rosgraph_msgs.msg import Clock

from lisa_ros.nodes.common.guarding import GuardedExecutor, guarded, guarded_by


def fail(*arguments: Any) -> None:
    raise ValueError("it broke")


class Guarded(MagicMock):
    """A node."""

    @guarded
    def on_timer(self) -> None:
        fail()

    @guarded
    def on_service(self, request: str, response: str) -> str:
        raise ValueError("it broke")


def node() -> Any:
    return Guarded(callback_errors=0)


@pytest.mark.parametrize("arguments", [(), ("message",), ("request", "response")])
def test_a_callback_that_fails_is_counted_and_returns_its_last_argument(arguments: tuple[str, ...]) -> None:
    one = node()
    assert guarded_by(one, fail)(*arguments) == (arguments[-1] if arguments else None)
    assert guarded_by(one, fail, "instead")(*arguments) == "instead"
    assert one.callback_errors == 2 and "it broke" in one.get_logger().error.call_args.args[0]


def test_a_method_that_fails_is_counted() -> None:
    one = node()
    assert one.on_timer() is None and one.on_service("request", "response") == "response"
    assert one.callback_errors == 2


class Simulated(Node):
    """A node that follows /clock, and has no parameter that can be set besides use_sim_time."""

    def __init__(self, context: Any) -> None:
        simulated = [Parameter("use_sim_time", value=True)]
        super().__init__("simulated", context=context, parameter_overrides=simulated)
        self.callback_errors = 0


MALFORMED = ParameterMessage(name="use_sim_time", value=ParameterValue(type=99))
VALID = ParameterMessage(name="use_sim_time", value=ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=True))


def test_malformed_parameters_and_a_clock_before_1970_do_not_end_the_executor() -> None:
    """rclpy's own callbacks raise a ValueError, without a response to the caller."""
    with ros_context() as context, talking_node("caller") as caller:
        node, executor = Simulated(context), GuardedExecutor(context=context)
        executor.add_node(node)
        spin = lambda: executor.spin_once(timeout_sec=0.1)  # noqa: E731

        def called(kind: Any, *parameters: ParameterMessage) -> Any:
            name = "set_parameters" if kind is SetParameters else "set_parameters_atomically"
            client = caller.create_client(kind, f"/simulated/{name}")
            wait_until(client.service_is_ready, name)
            future = client.call_async(kind.Request(parameters=parameters))
            wait_until(lambda: spin() or future.done(), name)
            return future.result()

        results = called(SetParameters, VALID, MALFORMED, VALID).results
        assert [one.successful for one in results] == [True, False, False] and "malformed" in results[1].reason
        refused = called(SetParametersAtomically, VALID, MALFORMED).result
        assert not refused.successful and "malformed" in refused.reason
        assert node.callback_errors == 0

        clock = caller.create_publisher(Clock, "/clock", 1)
        wait_until(clock.get_subscription_count, "the node")
        clock.publish(Clock(clock=Time(sec=-1)))
        wait_until(lambda: spin() or node.callback_errors == 1, "the clock")
        executor.shutdown()
        node.destroy_node()
