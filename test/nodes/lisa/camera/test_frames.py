# SPDX-License-Identifier: Apache-2.0
"""Which depth image and which intrinsics belong to which image."""

import threading

import numpy as np
from sensor_msgs.msg import CameraInfo, Image

from lisa_ros.nodes.lisa.camera.frames import MAX_FRAMES, FrameBuffer

MS = 1_000_000
BASE_MS = 1_000_000


def stamped(kind: type, milliseconds: int) -> Image | CameraInfo:
    message = kind()
    whole_ms = BASE_MS + milliseconds
    message.header.stamp.sec, message.header.stamp.nanosec = whole_ms // 1000, whole_ms % 1000 * MS
    return message


def buffer(kept_s: float = 1.0, now_ms: int = BASE_MS, depth_wait_s: float = 0.0) -> FrameBuffer:
    return FrameBuffer(lambda: now_ms * MS, lambda: kept_s, lambda: 0.02, lambda: depth_wait_s)


def test_depth_may_arrive_before_or_after_its_image() -> None:
    for depth_first in (True, False):
        frames = buffer()
        image, depth = stamped(Image, 0), stamped(Image, 15)
        if depth_first:
            frames.add_depth(depth)
            frames.add_image(image)
        else:
            frames.add_image(image)
            frames.add_depth(depth)
        frame = frames.newest()
        assert frame is not None and frame.image is image and frame.received_depth is depth


def test_depth_of_another_moment_is_not_used() -> None:
    frames = buffer()
    frames.add_depth(stamped(Image, -33))
    frames.add_image(stamped(Image, 0))
    frames.add_depth(stamped(Image, 33))
    assert frames.newest().received_depth is None  # type: ignore[union-attr]


def test_the_nearest_of_several_depth_images_is_used() -> None:
    frames = buffer()
    near = stamped(Image, 3)
    for depth in (stamped(Image, -15), near, stamped(Image, 12)):
        frames.add_depth(depth)
    frames.add_image(stamped(Image, 0))
    assert frames.newest().received_depth is near  # type: ignore[union-attr]


def test_intrinsics_of_the_moment_otherwise_the_newest() -> None:
    frames = buffer()
    frames.add_image(stamped(Image, 0))
    late = stamped(CameraInfo, 500)
    frames.add_info(late)
    assert frames.newest().info is late  # type: ignore[union-attr]
    exact = stamped(CameraInfo, 1000)
    frames.add_info(exact)
    frames.add_image(stamped(Image, 1000))
    frames.add_image(stamped(Image, 1500))
    assert frames.nearest((BASE_MS + 1000) * MS).info is exact  # type: ignore[union-attr]
    assert frames.newest().info is exact  # type: ignore[union-attr]


def test_without_stamps_the_arrival_is_used() -> None:
    frames = buffer()
    frames.add_depth(Image())
    frames.add_image(Image())
    assert frames.newest().received_depth is not None  # type: ignore[union-attr]
    assert frames.newest().time_ns == BASE_MS * MS  # type: ignore[union-attr]


def test_how_long_frames_are_kept() -> None:
    frames = buffer(kept_s=1.0)
    for milliseconds in range(0, 5000, 100):
        frames.add_image(stamped(Image, milliseconds))
    oldest = frames.nearest(0)
    assert oldest is not None and oldest.time_ns == (BASE_MS + 3900) * MS


def test_older_frames_are_thinned_out_so_that_those_of_the_whole_time_are_kept() -> None:
    """A command of 4 s ago was about a frame of 2.1 s ago: 64 frames at 30 Hz."""
    frames = buffer(kept_s=15.0)
    for milliseconds in range(0, 40_000, 33):
        frames.add_image(stamped(Image, milliseconds))
        times_ms = [frame.time_ns // MS - BASE_MS for frame in frames.kept()]
        assert len(times_ms) <= MAX_FRAMES
        assert times_ms[0] <= max(0, milliseconds - 15_000) + 700
        gaps_ms = np.diff(times_ms)
        assert max(gaps_ms, default=0) <= 700 and set(gaps_ms[-15:]) <= {33}


def test_a_rewound_bag_empties_the_buffer() -> None:
    frames = buffer(kept_s=100.0)
    frames.add_image(stamped(Image, 5000))
    frames.add_image(stamped(Image, 0))
    assert frames.nearest((BASE_MS + 5000) * MS).time_ns == BASE_MS * MS  # type: ignore[union-attr]


def test_a_clock_that_goes_back_drops_the_frames_of_the_time_before() -> None:
    now_ms = [BASE_MS + 5000]
    frames = FrameBuffer(lambda: now_ms[0] * MS, lambda: 100.0, lambda: 0.02, lambda: 0.0)
    for milliseconds in (0, 900, 5000):
        frames.add_depth(stamped(Image, milliseconds))
        frames.add_image(stamped(Image, milliseconds))
    now_ms[0] = BASE_MS
    frames.clock_went_back()
    # Up to a second ahead is jitter of /clock.
    assert [frame.time_ns for frame in frames.kept()] == [BASE_MS * MS, (BASE_MS + 900) * MS]
    now_ms[0] = BASE_MS - 9000
    frames.clock_went_back()
    assert frames.newest() is None


def test_expected_depth_is_waited_for() -> None:
    frames = buffer(depth_wait_s=60.0)
    frames.add_depth(stamped(Image, -33))
    frames.add_image(stamped(Image, 0))
    frame, due = frames.newest(), stamped(Image, 0)
    assert frame is not None
    arrival = threading.Thread(target=frames.add_depth, args=(due,))
    arrival.start()
    assert frame.await_depth() is due
    arrival.join()


def test_the_wait_for_depth_that_does_not_arrive_ends() -> None:
    frames = buffer(depth_wait_s=0.001)
    frames.add_depth(stamped(Image, -33))
    frames.add_image(stamped(Image, 0))
    frame = frames.newest()
    assert frame is not None and frame.depth_deadline_s > 0.0
    assert frame.await_depth() is None


def test_without_depth_images_there_is_no_wait() -> None:
    frames = buffer(depth_wait_s=60.0)
    frames.add_image(stamped(Image, 0))
    assert frames.newest().await_depth() is None  # type: ignore[union-attr]


def test_at_60_hz_the_depth_of_the_same_stamp_is_used() -> None:
    """The depth of the previous image is within the tolerance, too."""
    frames = buffer(depth_wait_s=60.0)
    for milliseconds in (0, 16):
        frames.add_depth(stamped(Image, milliseconds))
        frames.add_image(stamped(Image, milliseconds))
    frames.add_image(stamped(Image, 32))
    frame, exact = frames.newest(), stamped(Image, 32)
    assert frame is not None and frame.received_depth is not None
    arrival = threading.Thread(target=frames.add_depth, args=(exact,))
    arrival.start()
    assert frame.await_depth() is exact
    arrival.join()


def test_depth_with_other_stamps_than_the_images_is_not_waited_for() -> None:
    frames = buffer(depth_wait_s=60.0)
    near = stamped(Image, 5)
    frames.add_depth(near)
    frames.add_image(stamped(Image, 0))
    assert frames.newest().await_depth() is near  # type: ignore[union-attr]


def test_every_user_of_a_frame_waits_for_its_depth() -> None:
    """The tracker's wait must not take the depth from an answer about the same frame."""
    frames = buffer(depth_wait_s=60.0)
    frames.add_depth(stamped(Image, -33))
    frames.add_image(stamped(Image, 0))
    frame, due = frames.newest(), stamped(Image, 0)
    assert frame is not None
    received: list[Image | None] = []
    waiting = [threading.Thread(target=lambda: received.append(frame.await_depth())) for _ in range(2)]
    for thread in waiting:
        thread.start()
    frames.add_depth(due)
    for thread in waiting:
        thread.join()
    assert received == [due, due]


def test_the_newest_frame_awaits_its_depth_only_while_depth_is_published() -> None:
    frames = buffer(depth_wait_s=5.0)
    assert not frames.awaits_depth()
    frames.add_image(stamped(Image, 0))
    assert not frames.awaits_depth()  # no depth image has come
    frames.add_depth(stamped(Image, 0))
    frames.add_image(stamped(Image, 33))
    assert frames.awaits_depth()
    frames.add_depth(stamped(Image, 33))
    assert not frames.awaits_depth()
    frames.add_image(stamped(Image, 5000))
    assert not frames.awaits_depth()  # depth has stopped
