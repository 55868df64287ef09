# SPDX-License-Identifier: Apache-2.0
"""Interfaces of other packages, where these are installed: ROS4HRI's voices (REP 155) and audio_common_msgs."""

from __future__ import annotations

import array
import importlib
import re
import zlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from lisa_ros.nodes.common.guarding import guarded_by
from lisa_ros.nodes.common.stamps import nanoseconds
from lisa_ros.speech.audio.samples import RATE, AudioError, Samples, from_int16, mono
from lisa_ros.speech.recognition.recognizer import Recognition

_SPEECH_TOPIC = re.compile(r"/humans/voices/(?P<voice>[^/]+)/speech")
_SEARCH_S = 1.0
_MOST_VOICES = 64
"""Operators whose texts are published; of more, the topic of the one that was silent longest is given up."""
_SOUND_QOS = QoSProfile(depth=400, reliability=ReliabilityPolicy.BEST_EFFORT)
"""Their publishers are best effort; blocks that come while the node does something else must wait, not be lost."""
_NO_LETTERS = re.compile(r"[^A-Za-z0-9_]")


def installed(package: str) -> Any:
    """The module `PACKAGE.msg`, or None."""
    try:
        return importlib.import_module(f"{package}.msg")
    except ImportError:
        return None


class Voices:
    """ROS4HRI: texts of other recognisers in, ours out, both as hri_msgs/LiveSpeech."""

    def __init__(self, node: Node, on_text: Callable[[str, Recognition], None]) -> None:
        """Looks for voices from now on, where hri_msgs is installed.

        Args:
            node: the node.
            on_text: takes the voice's id and its text.
        """
        self._node, self._on_text = node, on_text
        self._messages = installed("hri_msgs")
        self._sources: dict[str, Any] = {}
        self._gone: set[str] = set()
        self._ours: OrderedDict[str, Any] = OrderedDict()
        if self._messages is not None:
            steady = Clock(clock_type=ClockType.STEADY_TIME)
            node.create_timer(_SEARCH_S, guarded_by(node, self._search, False), clock=steady)

    def publish(self, operator: str, text: str, *, final: bool, confidence: float, header: Any) -> None:
        """What our recogniser heard from an operator."""
        if self._messages is None:
            return
        voice = _voice_of(operator)
        if voice not in self._ours:
            topic = f"/humans/voices/{voice}/speech"
            self._ours[voice] = self._node.create_publisher(self._messages.LiveSpeech, topic, 10)
        self._ours.move_to_end(voice)
        while len(self._ours) > _MOST_VOICES:
            self._node.destroy_publisher(self._ours.popitem(last=False)[1])
        message = self._messages.LiveSpeech(header=header, confidence=float(confidence))
        message.final, message.incremental = (text, "") if final else ("", text)
        self._ours[voice].publish(message)

    def _search(self) -> None:
        """Subscribes to voices that have come, and gives up those that are gone: each person may have a new id."""
        gone = {voice for voice, one in self._sources.items() if not self._node.count_publishers(one.topic_name)}
        for voice in gone & self._gone:  # the last text of one that has just gone may still wait
            self._node.destroy_subscription(self._sources.pop(voice))
        self._gone = gone
        for topic, _ in self._node.get_topic_names_and_types():
            found = _SPEECH_TOPIC.fullmatch(topic)
            # What we say ourselves is no source.
            is_new = found and found["voice"] not in self._sources and found["voice"] not in self._ours
            if found and is_new and self._node.count_publishers(topic):
                voice = found["voice"]
                self._sources[voice] = self._node.create_subscription(
                    self._messages.LiveSpeech, topic, guarded_by(self._node, self._on_speech(voice), False), 10
                )

    def _on_speech(self, voice: str) -> Callable[[Any], None]:
        def take(message: Any) -> None:
            if message.final.strip() and voice not in self._ours:
                confidence = message.confidence if 0 < message.confidence <= 1 else None
                self._on_text(voice, Recognition(message.final.strip(), confidence))

        return take


def _voice_of(operator: str) -> str:
    """An operator's id as a part of a topic's name; what cannot stand there is replaced, and a checksum follows."""
    name = _NO_LETTERS.sub("_", operator)
    name = f"_{name}" if name[0].isdigit() else name  # no part of a topic begins with a digit
    return name if name == operator else f"{name}_{zlib.crc32(operator.encode()):08x}"


def subscribe_audio_common(
    node: Node, on_sound: Callable[[Samples, int, int], None], fault: Callable[[str], None]
) -> str:
    """Subscribes to `audio` with the messages of audio_common_msgs, of either package of that name.

    Args:
        node: the node.
        on_sound: takes samples of one channel, their rate, and the time of the first one, nanoseconds (0: not known).
        fault: takes one sentence where a message has no sound that can be used, "" when one has.

    Returns:
        one sentence where the package is not installed, else "".
    """
    messages = installed("audio_common_msgs")
    if messages is None:
        return "audio_common_msgs is not installed; only ~/audio (lisa_ros/Audio) is subscribed."

    def subscribe(kind: Any, topic: str, take: Callable[[Any], None], qos: Any) -> None:
        def reported(message: Any) -> None:
            try:
                take(message)
            except AudioError as error:
                fault(str(error))
            else:
                fault("")

        node.create_subscription(kind, topic, guarded_by(node, reported, False), qos)

    if hasattr(messages, "AudioStamped"):
        subscribe(messages.AudioStamped, "audio", lambda message: _take_stamped(message, on_sound), _SOUND_QOS)
        return ""
    capture = _Capture(on_sound, lambda: node.count_publishers("audio_info") > 0)
    subscribe(messages.AudioInfo, "audio_info", capture.take_info, 10)
    subscribe(messages.AudioData, "audio", capture.take_data, _SOUND_QOS)
    return ""


def _take_stamped(message: Any, on_sound: Callable[[Samples, int, int], None]) -> None:
    data, info = message.audio.audio_data, message.audio.info
    for values, scale in ((data.int16_data, 2**15), (data.float32_data, 1), (data.int32_data, 2**31)):
        if len(values):
            sound = mono(np.asarray(values, dtype=np.float32) / np.float32(scale), info.channels)
            on_sound(sound, info.rate, nanoseconds(message.header.stamp.sec, message.header.stamp.nanosec))
            return
    raise AudioError("Topic audio has no samples of 16 or 32 bits; publish it with the format paInt16.")


class _Capture:
    """The messages of audio_capture, whose form is published beside them every few seconds."""

    def __init__(self, on_sound: Callable[[Samples, int, int], None], has_info: Callable[[], bool]) -> None:
        self._on_sound, self._has_info = on_sound, has_info
        self._info: Any = None

    def take_info(self, message: Any) -> None:
        self._info = message
        coding, form = message.coding_format.lower(), message.sample_format.upper()
        if coding not in ("", "wave") or form not in ("", "S16LE"):
            raise AudioError(
                f"Topic audio is {coding or 'wave'} {form}; start audio_capture with format:=wave sample_format:=S16LE."
            )

    def take_data(self, message: Any) -> None:
        if self._info is not None:
            self.take_info(self._info)
        elif self._has_info():
            raise AudioError("Topic audio is not used until audio_info says what it is.")
        data = array.array("B", message.data).tobytes()
        samples = from_int16(np.frombuffer(data[: len(data) // 2 * 2], dtype="<i2"))
        channels, rate = (self._info.channels, self._info.sample_rate) if self._info is not None else (1, RATE)
        self._on_sound(mono(samples, channels), rate, 0)
