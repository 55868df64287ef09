# SPDX-License-Identifier: Apache-2.0
"""The stamps of a page's sound, and whose sound it is."""

from typing import Any
from unittest.mock import MagicMock

import pytest
from rclpy.clock import ClockType
from rclpy.time import Time

from lisa_ros.msg import Audio
from lisa_ros.nodes.console import speech_link
from lisa_ros.nodes.console.speech_link import PageMicrophone, SpeechLink


def speech(node: Any) -> SpeechLink:
    node.get_clock().now.return_value = Time(seconds=100, clock_type=ClockType.ROS_TIME)
    return SpeechLink(node, "speech", MagicMock(), MagicMock(), MagicMock())


def test_sound_is_stamped_with_the_nodes_clock() -> None:
    """With simulated time, the speech node ignored the sound: the stamps were of the machine's clock."""
    node: Any = MagicMock()
    link, microphone = speech(node), PageMicrophone()
    microphone.press(link, "ann", 8000)
    microphone.add(bytes(2 * 8000))
    microphone.add(bytes(2 * 8000))
    sent = [call.args[0] for call in node.create_publisher().publish.call_args_list]
    assert [(one.header.stamp.sec, len(one.samples)) for one in sent] == [(99, 8000), (100, 8000)]


def test_the_sound_of_two_pages_with_one_name_is_not_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    node: Any = MagicMock()
    link, first, second = speech(node), PageMicrophone(), PageMicrophone()
    assert first.press(link, "default", 8000) and first.press(link, "default", 8000)
    assert PageMicrophone().press(link, "ann", 8000)
    assert not second.press(link, "default", 8000)
    second.add(bytes(2))
    second.end(Audio.RELEASED)
    first.end(Audio.RELEASED)
    assert second.press(link, "default", 8000)
    monkeypatch.setattr(speech_link, "_SILENT_S", -1.0)  # its connection has died
    assert first.press(link, "default", 8000)
    second.add(bytes(2))
    sent = [call.args[0] for call in node.create_publisher().publish.call_args_list]
    assert [one.mode for one in sent] == [Audio.DISCARDED, Audio.RELEASED, Audio.DISCARDED]
