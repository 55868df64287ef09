# SPDX-License-Identifier: Apache-2.0
"""The stamps of a page's sound."""

from typing import Any
from unittest.mock import MagicMock

from rclpy.clock import ClockType
from rclpy.time import Time

from lisa_ros.nodes.console.speech_link import PageMicrophone, SpeechLink


def test_sound_is_stamped_with_the_nodes_clock() -> None:
    """With simulated time, the speech node ignored the sound: the stamps were of the machine's clock."""
    node: Any = MagicMock()
    node.get_clock().now.return_value = Time(seconds=100, clock_type=ClockType.ROS_TIME)
    link, microphone = SpeechLink(node, "speech", MagicMock(), MagicMock(), MagicMock()), PageMicrophone()
    microphone.press(link, "ann", 8000)
    microphone.add(bytes(2 * 8000))
    microphone.add(bytes(2 * 8000))
    sent = [call.args[0] for call in node.create_publisher().publish.call_args_list]
    assert [(one.header.stamp.sec, len(one.samples)) for one in sent] == [(99, 8000), (100, 8000)]
