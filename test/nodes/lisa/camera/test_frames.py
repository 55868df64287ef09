# SPDX-License-Identifier: Apache-2.0
"""Which depth and intrinsics belong to which picture."""

import threading

from sensor_msgs.msg import CameraInfo, Image

from lisa_ros.nodes.lisa.camera.frames import MOST_FRAMES, FrameBuffer

MS = 1_000_000
BASE_MS = 1_000_000


def stamped(kind: type, milliseconds: int) -> Image | CameraInfo:
    message = kind()
    whole_ms = BASE_MS + milliseconds
    message.header.stamp.sec, message.header.stamp.nanosec = whole_ms // 1000, whole_ms % 1000 * MS
    return message


def buffer(kept_s: float = 1.0, now_ms: int = BASE_MS, patience_s: float = 0.0) -> FrameBuffer:
    return FrameBuffer(lambda: now_ms * MS, lambda: kept_s, lambda: 0.02, lambda: patience_s)


def test_depth_may_come_before_or_after_its_picture() -> None:
    for depth_first in (True, False):
        frames = buffer()
        image, depth = stamped(Image, 0), stamped(Image, 15)
        if depth_first:
            frames.take_depth(depth)
            frames.take_image(image)
        else:
            frames.take_image(image)
            frames.take_depth(depth)
        frame = frames.newest()
        assert frame is not None and frame.image is image and frame.depth is depth


def test_depth_of_another_moment_is_none() -> None:
    frames = buffer()
    frames.take_depth(stamped(Image, -33))
    frames.take_image(stamped(Image, 0))
    frames.take_depth(stamped(Image, 33))
    assert frames.newest().depth is None  # type: ignore[union-attr]


def test_the_nearest_depth_of_those_that_came_before() -> None:
    frames = buffer()
    near = stamped(Image, 3)
    for depth in (stamped(Image, -15), near, stamped(Image, 12)):
        frames.take_depth(depth)
    frames.take_image(stamped(Image, 0))
    assert frames.newest().depth is near  # type: ignore[union-attr]


def test_intrinsics_of_the_moment_else_the_newest() -> None:
    frames = buffer()
    frames.take_image(stamped(Image, 0))
    late = stamped(CameraInfo, 500)
    frames.take_info(late)
    assert frames.newest().info is late  # type: ignore[union-attr]
    exact = stamped(CameraInfo, 1000)
    frames.take_info(exact)
    frames.take_image(stamped(Image, 1000))
    frames.take_image(stamped(Image, 1500))
    assert frames.nearest((BASE_MS + 1000) * MS).info is exact  # type: ignore[union-attr]
    assert frames.newest().info is exact  # type: ignore[union-attr]


def test_without_stamps_arrival_pairs() -> None:
    frames = buffer()
    frames.take_depth(Image())
    frames.take_image(Image())
    assert frames.newest().depth is not None  # type: ignore[union-attr]
    assert frames.newest().time_ns == BASE_MS * MS  # type: ignore[union-attr]


def test_how_long_frames_are_kept() -> None:
    frames = buffer(kept_s=1.0)
    for milliseconds in range(0, 5000, 100):
        frames.take_image(stamped(Image, milliseconds))
    oldest = frames.nearest(0)
    assert oldest is not None and oldest.time_ns == (BASE_MS + 3900) * MS
    frames = buffer(kept_s=1000.0)
    for milliseconds in range(0, 100 * MOST_FRAMES, 10):
        frames.take_image(stamped(Image, milliseconds))
    newest, oldest = frames.newest(), frames.nearest(0)
    assert newest is not None and oldest is not None
    assert newest.time_ns - oldest.time_ns == 10 * (MOST_FRAMES - 1) * MS


def test_a_rewound_bag_begins_anew() -> None:
    frames = buffer(kept_s=100.0)
    frames.take_image(stamped(Image, 5000))
    frames.take_image(stamped(Image, 0))
    assert frames.nearest((BASE_MS + 5000) * MS).time_ns == BASE_MS * MS  # type: ignore[union-attr]


def test_depth_on_its_way_is_waited_for() -> None:
    frames = buffer(patience_s=60.0)
    frames.take_depth(stamped(Image, -33))
    frames.take_image(stamped(Image, 0))
    frame, due = frames.newest(), stamped(Image, 0)
    assert frame is not None
    came = threading.Thread(target=frames.take_depth, args=(due,))
    came.start()
    assert frame.await_depth() is due
    came.join()


def test_depth_that_does_not_come_is_waited_for_once() -> None:
    frames = buffer(patience_s=0.001)
    frames.take_depth(stamped(Image, -33))
    frames.take_image(stamped(Image, 0))
    frame = frames.newest()
    assert frame is not None and frame.depth_due_s == 0.001
    assert frame.await_depth() is None and frame.depth_due_s == 0.0


def test_where_no_depth_comes_none_is_waited_for() -> None:
    frames = buffer(patience_s=60.0)
    frames.take_image(stamped(Image, 0))
    assert frames.newest().await_depth() is None  # type: ignore[union-attr]


def test_a_fast_camera_gets_the_depth_of_its_very_moment() -> None:
    """At 60 Hz the depth of the picture before is within the tolerance, too."""
    frames = buffer(patience_s=60.0)
    for milliseconds in (0, 16):
        frames.take_depth(stamped(Image, milliseconds))
        frames.take_image(stamped(Image, milliseconds))
    frames.take_image(stamped(Image, 32))
    frame, exact = frames.newest(), stamped(Image, 32)
    assert frame is not None and frame.depth is not None
    came = threading.Thread(target=frames.take_depth, args=(exact,))
    came.start()
    assert frame.await_depth() is exact
    came.join()


def test_depth_with_stamps_of_its_own_is_not_waited_for() -> None:
    frames = buffer(patience_s=60.0)
    near = stamped(Image, 5)
    frames.take_depth(near)
    frames.take_image(stamped(Image, 0))
    assert frames.newest().await_depth() is near  # type: ignore[union-attr]
