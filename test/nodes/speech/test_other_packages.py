# SPDX-License-Identifier: Apache-2.0
"""hri_msgs and audio_common_msgs, where they are installed: real messages to and from the node `speech`."""

import importlib
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.validate_full_topic_name import validate_full_topic_name
from ros_harness import Process, speech_node, started, talking_node, wait_until
from spoken import said
from std_msgs.msg import Header

from lisa_ros.msg import Audio, Heard
from lisa_ros.nodes.speech import voices
from lisa_ros.speech.audio.samples import RATE, Samples

COMMAND = "Where is the yellow ring?"
PA_INT16 = 8

Block = NDArray[np.int16]


def messages(package: str) -> ModuleType:
    pytest.importorskip(package, reason=f"{package} comes with ROS 2, not from PyPI")
    return importlib.import_module(f"{package}.msg")


def collected(node: Node, kind: Any, topic: str) -> list[Any]:
    found: list[Any] = []
    node.create_subscription(kind, topic, found.append, 10)
    return found


def blocks(sound: Samples) -> list[Block]:
    """Of 50 ms, and a second of silence after them."""
    pcm = (np.clip(np.concatenate([sound, np.zeros(RATE, np.float32)]), -1, 1) * 32767).astype("<i2")
    return [pcm[start : start + RATE // 20] for start in range(0, len(pcm), RATE // 20)]


def test_live_speech_of_others_is_a_command_and_ours_is_published() -> None:
    hri = messages("hri_msgs")
    command = speech_node("audio:=topic", "listen:=always", "lisa:=nobody")
    with talking_node("human") as node, started(command) as process:
        heard = collected(node, Heard, "speech/heard")
        theirs = node.create_publisher(hri.LiveSpeech, "/humans/voices/ann7/speech", 10)
        wait_until(lambda: theirs.get_subscription_count() or not process.alive, "the subscription")
        assert process.alive, process.output
        theirs.publish(hri.LiveSpeech(incremental="where is"))
        theirs.publish(hri.LiveSpeech(final=COMMAND, confidence=0.9))
        (first,) = wait_until(lambda: heard, "what the voice said")
        assert (first.operator_id, first.used, first.meaning) == ("ann7", COMMAND, Heard.COMMAND)
        assert first.confidence == pytest.approx(0.9, abs=0.01)
        ours = collected(node, hri.LiveSpeech, "/humans/voices/bob/speech")
        audio = node.create_publisher(Audio, "speech/audio", 400)
        for _ in range(2):  # the topic is made with the first text
            for block in blocks(said(COMMAND, "slt")):
                audio.publish(Audio(operator_id="bob", sample_rate=RATE, channels=1, samples=block.tolist()))
            wait_until(lambda: [one for one in heard if one.final and one.operator_id == "bob"], "our text")
            wait_until(lambda: node.count_publishers("/humans/voices/bob/speech"), "our voice")
            heard.clear()
        (spoken, *_) = wait_until(lambda: [one for one in ours if one.final], "our LiveSpeech")
        assert (spoken.final, spoken.incremental) == (COMMAND, "")
        assert spoken.confidence == pytest.approx(1.0)
        # What we publish ourselves is no source of commands.
        assert {one.operator_id for one in heard} <= {"bob"}


def test_the_voice_of_any_operator_has_a_topic_and_is_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voices, "installed", lambda package: MagicMock())
    node = MagicMock(callback_errors=0)
    ours = voices.Voices(node, MagicMock())
    for operator in ("ann", "7of9", "\N{CJK UNIFIED IDEOGRAPH-674E}", "\N{CJK UNIFIED IDEOGRAPH-738B}", "ann b."):
        ours.publish(operator, "the mug", final=True, confidence=1.0, header=Header())
    topics = [call.args[1] for call in node.create_publisher.call_args_list]
    names = [topic.split("/")[3] for topic in topics]
    assert [name.rsplit("_", 1)[0] for name in names] == ["ann", "_7of9", "_", "_", "ann_b_"]
    assert len(set(names)) == 5, "two operators had one voice"
    assert all(map(validate_full_topic_name, topics))
    node.get_topic_names_and_types.return_value = [(topic, []) for topic in topics]
    ours._search()
    node.create_subscription.assert_not_called()


def test_sound_of_audio_common_msgs_is_understood() -> None:
    common = messages("audio_common_msgs")
    is_stamped = hasattr(common, "AudioStamped")
    kind = common.AudioStamped if is_stamped else common.AudioData
    command = speech_node("audio:=topic", "listen:=always", "lisa:=nobody")
    with talking_node("robot_ears") as node, started(command) as process:
        heard = collected(node, Heard, "speech/heard")
        audio = node.create_publisher(kind, "audio", qos_profile_sensor_data)
        wait_until(lambda: audio.get_subscription_count() or not process.alive, "the subscription")
        assert process.alive, process.output
        if is_stamped:
            audio.publish(kind())
            wait_until(lambda: "publish it with the format paInt16" in process.output, "a warning")
        else:
            tell_the_form(node, common, lambda: audio.publish(kind(data=[255] * 400)), process)
        for block in blocks(said(COMMAND, "slt")):
            audio.publish(filled(kind, block, is_stamped))
            time.sleep(0.05)
        (final,) = wait_until(lambda: [one for one in heard if one.final], "the text")
        assert final.used == COMMAND
        assert process.output.count("The topic audio works.") == 1


def filled(kind: Any, block: Block, is_stamped: bool) -> Any:
    if not is_stamped:
        return kind(data=block.tobytes())
    message = kind()
    message.audio.info.format, message.audio.info.channels, message.audio.info.rate = PA_INT16, 1, RATE
    message.audio.audio_data.int16_data = block.tolist()
    return message


def tell_the_form(node: Node, common: ModuleType, publish: Callable[[], None], process: Process) -> None:
    """As audio_capture does: sound first, then what it is; here MP3, its default, and then PCM."""
    info = node.create_publisher(common.AudioInfo, "audio_info", 10)
    wait_until(info.get_subscription_count, "the subscription of audio_info")
    publish()
    wait_until(lambda: "not used until audio_info says what it is" in process.output, "a warning")
    form = {"channels": 1, "sample_rate": RATE, "sample_format": "S16LE"}
    info.publish(common.AudioInfo(coding_format="mp3", **form))
    wait_until(lambda: "start audio_capture with format:=wave" in process.output, "a warning")
    info.publish(common.AudioInfo(coding_format="wave", **form))
    wait_until(lambda: "The topic audio works." in process.output, "the end of the warning")


def test_voices_that_are_gone_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """ROS4HRI gives each voice an id of its own: subscriptions and publishers became more and more."""
    monkeypatch.setattr(voices, "installed", lambda package: MagicMock())
    monkeypatch.setattr(voices, "_MOST_VOICES", 2)
    publishers: dict[str, int] = {}
    node = MagicMock()
    node.get_topic_names_and_types = lambda: [(topic, ["hri_msgs/msg/LiveSpeech"]) for topic in publishers]
    node.count_publishers = lambda topic: publishers[topic]
    node.create_subscription = lambda kind, topic, callback, qos: MagicMock(topic_name=topic)
    known = voices.Voices(node, lambda voice, recognition: None)
    publishers["/humans/voices/abcde/speech"] = 1
    known._search()
    assert list(known._sources) == ["abcde"]
    publishers.update({"/humans/voices/abcde/speech": 0, "/humans/voices/fghij/speech": 1})
    known._search()
    assert sorted(known._sources) == ["abcde", "fghij"]  # the last text of abcde may still wait
    known._search()  # our own subscription keeps the topic's name in the graph for a while
    assert list(known._sources) == ["fghij"] and node.destroy_subscription.call_count == 1
    for operator in ("ann", "ben", "ann", "cleo"):
        known.publish(operator, "the mug", final=True, confidence=1.0, header=Header())
    assert list(known._ours) == ["ann", "cleo"] and node.destroy_publisher.call_count == 1
