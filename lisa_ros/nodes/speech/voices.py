# SPDX-License-Identifier: Apache-2.0
"""Interfaces of other packages, where these are installed: ROS4HRI's voices (REP 155) and audio_common_msgs."""

from __future__ import annotations

import array
import importlib
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data

from lisa_ros.nodes.common.guarding import guarded_by
from lisa_ros.speech.audio.samples import AudioError
from lisa_ros.speech.recognition.recognizer import Recognition

_SPEECH_TOPIC = re.compile(r"/humans/voices/(?P<voice>[^/]+)/speech")
_SEARCH_S = 1.0
_ROS_NAME = re.compile(r"[^A-Za-z0-9_]")


def installed(package: str) -> Any:
    """The module `PACKAGE.msg`, or None."""
    try:
        return importlib.import_module(f"{package}.msg")
    except ImportError:
        return None


class Voices:
    """ROS4HRI: texts of other recognisers in, ours out, both as hri_msgs/LiveSpeech."""

    def __init__(self, node: Node, hear: Callable[[str, Recognition], None]) -> None:
        """Looks for voices from now on, where hri_msgs is installed.

        Args:
            node: the node.
            hear: takes the voice's id and its text.
        """
        self._node, self._hear = node, hear
        self._messages = installed("hri_msgs")
        self._sources: dict[str, Any] = {}
        self._ours: dict[str, Any] = {}
        if self._messages is not None:
            node.create_timer(_SEARCH_S, guarded_by(node, self._search, False))

    def publish(self, operator: str, text: str, *, final: bool, confidence: float, header: Any) -> None:
        """What our recogniser heard from an operator."""
        if self._messages is None:
            return
        voice = _ROS_NAME.sub("_", operator)
        if voice not in self._ours:
            topic = f"/humans/voices/{voice}/speech"
            self._ours[voice] = self._node.create_publisher(self._messages.LiveSpeech, topic, 10)
        message = self._messages.LiveSpeech(header=header, confidence=float(confidence))
        message.final, message.incremental = (text, "") if final else ("", text)
        self._ours[voice].publish(message)

    def _search(self) -> None:
        for topic, _ in self._node.get_topic_names_and_types():
            found = _SPEECH_TOPIC.fullmatch(topic)
            # What we say ourselves is no source.
            if found and found["voice"] not in self._sources and found["voice"] not in self._ours:
                voice = found["voice"]
                self._sources[voice] = self._node.create_subscription(
                    self._messages.LiveSpeech, topic, guarded_by(self._node, self._on_speech(voice), False), 10
                )

    def _on_speech(self, voice: str) -> Callable[[Any], None]:
        def take(message: Any) -> None:
            if message.final.strip() and voice not in self._ours:
                confidence = message.confidence if 0 < message.confidence <= 1 else None
                self._hear(voice, Recognition(message.final.strip(), confidence))

        return take


def subscribe_audio_common(node: Node, hear: Callable[[NDArray[np.int16], int, int, int], None]) -> str:
    """Subscribes to `audio` with the messages of audio_common_msgs, of either package of that name.

    Args:
        node: the node.
        hear: takes interleaved samples, channels, samples a second, and the time of the first one, nanoseconds (0:
            not known).

    Returns:
        one sentence where the package is not installed, else "".
    """
    messages = installed("audio_common_msgs")
    if messages is None:
        return "audio_common_msgs is not installed; only ~/audio (lisa_ros/Audio) is subscribed."
    if hasattr(messages, "AudioStamped"):

        def take(message: Any) -> None:
            samples = np.asarray(message.audio.audio_data.int16_data, dtype=np.int16)
            if not len(samples):
                raise AudioError("`audio` has no 16-bit samples; publish it with the format paInt16.")
            stamp_ns = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
            hear(samples, message.audio.info.channels, message.audio.info.rate, stamp_ns)

        node.create_subscription(messages.AudioStamped, "audio", guarded_by(node, take, False), qos_profile_sensor_data)
        return ""
    form = {"channels": 1, "rate": 16000}

    def take_info(message: Any) -> None:
        form.update(channels=message.channels, rate=message.sample_rate)

    def take_data(message: Any) -> None:
        data = array.array("B", message.data).tobytes()
        hear(np.frombuffer(data[: len(data) // 2 * 2], dtype="<i2").astype(np.int16), form["channels"], form["rate"], 0)

    node.create_subscription(messages.AudioInfo, "audio_info", guarded_by(node, take_info, False), 10)
    node.create_subscription(messages.AudioData, "audio", guarded_by(node, take_data, False), qos_profile_sensor_data)
    return ""
