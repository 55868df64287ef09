# SPDX-License-Identifier: Apache-2.0
"""Camera messages that stay serialized: the header is read from the bytes, the rest when it is needed."""

from __future__ import annotations

import struct
from typing import Any
from unittest.mock import MagicMock

import camera_images
import pytest
from rclpy.serialization import serialize_message
from ros_harness import talking_node
from sensor_msgs.msg import CompressedImage, Image

from lisa_ros.nodes.lisa.camera import serialized_messages
from lisa_ros.nodes.lisa.camera.camera_topics import CameraTopics
from lisa_ros.nodes.lisa.camera.frames import FrameBuffer
from lisa_ros.nodes.lisa.camera.serialized_messages import SerializedMessage
from lisa_ros.nodes.lisa.parameters import NodeParameters
from lisa_ros.segmentation.errors import ImageError


@pytest.mark.parametrize("frame_id", ["", "camera", "caméra_1", "x" * 3000])
@pytest.mark.parametrize("kind", [Image, CompressedImage])
def test_header_and_message_are_those_that_were_serialized(kind: type, frame_id: str) -> None:
    message = camera_images.message("rgb8") if kind is Image else CompressedImage(format="jpeg", data=[1, 2, 3])
    message.header.stamp.sec, message.header.stamp.nanosec = -3, 999_999_999
    message.header.frame_id = frame_id
    serialized = SerializedMessage(kind, serialize_message(message))
    assert serialized.header == message.header
    assert serialized.message == message
    assert serialized.message is serialized.message


def test_big_endian_headers_are_read() -> None:
    data = b"\x00\x00\x00\x00" + struct.pack(">iII", 5, 7, 4) + b"map\x00"
    header = SerializedMessage(Image, data).header
    assert (header.stamp.sec, header.stamp.nanosec, header.frame_id) == (5, 7, "map")


def test_bytes_on_the_cameras_topics_are_ignored_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    with talking_node("receiver") as node:
        callbacks: dict[str, Any] = {}
        subscribe, log = node.create_subscription, MagicMock()

        def subscribed(kind: Any, topic: str, callback: Any, *arguments: Any, **options: Any) -> Any:
            callbacks[topic] = callback
            return subscribe(kind, topic, callback, *arguments, **options)

        monkeypatch.setattr(node, "create_subscription", subscribed)
        monkeypatch.setattr(node, "get_logger", lambda: log)
        frames = FrameBuffer(lambda: 1, lambda: 1.0, lambda: 0.02)
        topics = CameraTopics(node, frames, NodeParameters(), lambda _: None)
        for topic in ("/image", "/depth"):
            callbacks[topic](b"\0\1\0\0", {"publication_sequence_number": 1})
            (sentence,) = log.warning.call_args.args
            assert sentence.startswith(f"A message on {topic} is ignored: A serialized message of 4 bytes is too short")
        assert not log.error.called and frames.newest() is None
        topics.close()
        # The executor had taken it when a transition closed the topics.
        callbacks["/image"](serialize_message(camera_images.message("rgb8")), {"publication_sequence_number": 2})
        assert not log.error.called


def test_bytes_that_are_no_message_are_refused_with_a_sentence() -> None:
    whole = serialize_message(camera_images.message("rgb8"))
    for data in (b"", whole[:10], whole[:4] + struct.pack("<iII", 1, 1, 2**32 - 1)):
        with pytest.raises(ImageError, match=f"A serialized message of {len(data)} bytes is too short"):
            SerializedMessage(Image, data)
    cut = SerializedMessage(Image, whole[:60])
    for _ in range(2):
        with pytest.raises(ImageError, match="The message of 60 bytes is not a Image"):
            cut.message  # noqa: B018


def test_frames_that_nobody_asks_about_are_not_deserialized(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0

    def counting(data: bytes, kind: type) -> object:
        nonlocal count
        count += 1
        return deserialize(data, kind)

    deserialize = serialized_messages.deserialize_message
    monkeypatch.setattr(serialized_messages, "deserialize_message", counting)
    frames = FrameBuffer(lambda: 0, lambda: 1.0, lambda: 0.02)
    for second in range(1, 31):
        message = camera_images.message("rgb8")
        message.header.stamp.sec = second
        data = serialize_message(message)
        frames.add_depth(SerializedMessage(Image, data))
        frames.add_image(SerializedMessage(Image, data))
    assert count == 0
    newest = frames.newest()
    assert newest is not None and newest.header.stamp.sec == 30 and newest.image.header.stamp.sec == 30
    assert count == 1
