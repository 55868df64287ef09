# SPDX-License-Identifier: Apache-2.0
"""Images that a server keeps."""

from contextlib import ExitStack

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
