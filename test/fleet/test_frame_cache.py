# SPDX-License-Identifier: Apache-2.0
"""Images that a server keeps."""

from contextlib import ExitStack
from itertools import count

from lisa_ros.fleet.frame_cache import FrameCache


class Encoded:
    def __init__(self) -> None:
        self.released = 0

    def release(self) -> None:
        self.released += 1


def test_an_image_is_encoded_once() -> None:
    cache, made = FrameCache(2), [Encoded(), Encoded()]
    with cache.use(("a", "1"), lambda: made[0]) as first, cache.use(("a", "1"), lambda: made[1]) as second:
        assert first is second is made[0]
    with cache.use(("a", "1"), None) as again:
        assert again is made[0]


def test_no_robot_finds_anothers_image() -> None:
    cache = FrameCache(2)
    with cache.use(("a", "1"), Encoded), cache.use(("b", "1"), None) as found:
        assert found is None


def test_the_oldest_images_are_released_when_nobody_uses_them() -> None:
    cache, made = FrameCache(2), [Encoded() for _ in range(4)]
    with ExitStack() as first:
        first.enter_context(cache.use(("a", "0"), lambda: made[0]))
        for number in (1, 2, 3):
            with cache.use(("a", str(number)), lambda number=number: made[number]):
                pass
        assert [one.released for one in made] == [0, 1, 0, 0] and len(cache) == 2
    assert [one.released for one in made] == [1, 1, 0, 0]


def has(cache: FrameCache, robot: str, frame: int) -> bool:
    with cache.use((robot, str(frame)), None) as found:
        return found is not None


def add(cache: FrameCache, robot: str, *frames: int) -> None:
    for frame in frames:
        with cache.use((robot, str(frame)), Encoded):
            pass


def test_a_robot_with_a_fast_camera_leaves_the_others_their_newest_images() -> None:
    cache = FrameCache(4)
    add(cache, "slow", 1, 2)
    add(cache, "fast", *range(100))
    add(cache, "late", 1)
    add(cache, "fast", *range(100, 200))
    assert [has(cache, "slow", frame) for frame in (1, 2)] == [False, True]
    assert has(cache, "late", 1)
    assert [has(cache, "fast", frame) for frame in (197, 198, 199)] == [False, True, True]
    assert len(cache) == 4


def test_with_more_robots_than_images_the_newest_are_kept() -> None:
    cache = FrameCache(3)
    for robot in "abcde":
        add(cache, robot, 1)
    assert [has(cache, robot, 1) for robot in "abcde"] == [False, False, True, True, True]


def test_a_robot_that_left_does_not_keep_its_share() -> None:
    clock = count(0, 100)
    cache = FrameCache(4, lambda: float(next(clock)))
    add(cache, "left", 1, 2)
    add(cache, "stays", *range(20))
    assert not has(cache, "left", 2)
    assert all(has(cache, "stays", frame) for frame in range(16, 20))
