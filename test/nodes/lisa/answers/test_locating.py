# SPDX-License-Identifier: Apache-2.0
"""A wait for one frame's depth does not delay the positions of another frame's objects."""

import threading

import numpy as np
from depth_camera import metres_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from lisa_ros.nodes.lisa.answers.locating import Locator
from lisa_ros.nodes.lisa.camera.frames import FrameBuffer

DEADLINE_S = 30
IMAGE = np.zeros((12, 16, 3), dtype=np.uint8)
MASK = np.ones((12, 16), dtype=np.bool_)


def image_at(milliseconds: int) -> Image:
    message = Image()
    message.header.stamp.sec, message.header.stamp.nanosec = 1, milliseconds * 1_000_000
    return message


def depth_at(milliseconds: int) -> Image:
    header = Header(stamp=image_at(milliseconds).header.stamp)
    return metres_message(np.ones((12, 16), dtype=np.float32), header)


def test_a_wait_for_depth_does_not_delay_another_frames_objects() -> None:
    frames = FrameBuffer(lambda: 1, lambda: 60.0, lambda: 0.02, lambda: 60.0)
    frames.add_depth(depth_at(0))
    frames.add_image(image_at(0))
    complete = frames.newest()
    frames.add_image(image_at(100))
    expecting = frames.newest()
    assert complete is not None and expecting is not None and complete is not expecting
    locator = Locator(lambda: False)
    waiting = threading.Thread(target=locator.locate, args=(expecting, IMAGE, MASK))
    waiting.start()
    found = threading.Event()
    other = threading.Thread(target=lambda: (locator.locate(complete, IMAGE, MASK), found.set()))
    other.start()
    assert found.wait(DEADLINE_S)
    assert waiting.is_alive(), "its depth has not arrived"
    frames.add_depth(depth_at(100))
    waiting.join(DEADLINE_S)
    assert not waiting.is_alive()
