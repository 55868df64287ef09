# SPDX-License-Identifier: Apache-2.0
"""Following an object from frame to frame, and losing it when it is gone."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from moving_pictures import HEIGHT, WIDTH, Mask, RgbImage, ground, pattern, put, thing

from lisa_ros.benchmark.tracking import follow
from lisa_ros.segmentation.masks import intersection_over_union as iou
from lisa_ros.simulation.moving import moving_frames
from lisa_ros.tracking.flow import FlowTracker
from lisa_ros.tracking.interface import Follower, LossReason, Tracked, Tracker, TrackState, lost
from lisa_ros.tracking.optical_flow import apart_from
from lisa_ros.tracking.windows import Levels, Window

IN_TIME = 5


def started(image: RgbImage, mask: Mask) -> FlowTracker:
    tracker = FlowTracker()
    tracker.start(image, mask)
    return tracker


def frames_until_lost(tracker: Tracker, frames: list[RgbImage]) -> int:
    for index, frame in enumerate(frames, 1):
        tracked = tracker.update(frame)
        assert tracked.mask.any() == (tracked.state is TrackState.TRACKED)
        assert 0.0 <= tracked.confidence <= 1.0
        if tracked.state is TrackState.LOST:
            return index
    raise AssertionError("LOST was never said")


def test_a_thing_that_moves_against_its_ground_is_followed() -> None:
    image, mask = put(ground(0), thing(), 30, 40)
    tracker = started(image, mask)
    for step in range(1, 16):
        image, truth = put(ground(3 * step), thing(), 30 + 4 * step, 40 + step)
        tracked = tracker.update(image)
        assert tracked.state is TrackState.TRACKED and tracked.reason is None
        assert iou(tracked.mask, truth) > 0.85


@pytest.mark.parametrize("motion", ["orbit", "passing"])
def test_simulated_things_are_followed(motion: str) -> None:
    frames = list(moving_frames(motion, 3, frames=14, width=320, height=240))
    for start in ("exact", "wider", "narrower"):
        followed = follow(motion, frames, start, FlowTracker())
        assert followed.lost_after is None
        assert followed.iou > 0.85 and followed.iou > followed.still_iou + 0.05


def test_what_leaves_the_view_is_lost_in_time_and_stays_lost() -> None:
    image, mask = put(ground(0), thing(), 90, 40)
    tracker = started(image, mask)
    moved = [put(ground(3 * step), thing(), 90 + 8 * step, 40) for step in range(1, 20)]
    gone = next(index for index, (_, truth) in enumerate(moved, 1) if not truth.any())
    assert gone - 4 <= frames_until_lost(tracker, [image for image, _ in moved]) <= gone + IN_TIME
    again = tracker.update(image)
    assert again.state is TrackState.LOST and not again.mask.any() and again.confidence == 0.0
    assert again.reason is LossReason.OUT_OF_VIEW


def covered_by(colour: tuple[int, int, int]) -> tuple[FlowTracker, list[RgbImage], int]:
    """A tracker, frames in which a thing of that colour comes and stays, and from which of them on it hides all."""
    still, mask = put(ground(0), thing(), 60, 40)
    tracker = started(still, mask)
    cover = pattern(5, colour, 90, 90)
    covered = [put(still, cover, 110 - 6 * step, 20)[0] for step in range(1, 13)]
    covered += [covered[-1]] * 12
    return tracker, covered, 9  # then the cover's left edge is at 56, left of the thing's


def test_what_is_hidden_is_lost_in_time() -> None:
    tracker, frames, gone = covered_by((60, 90, 170))
    assert frames_until_lost(tracker, frames) <= gone + IN_TIME


def test_what_hides_it_is_not_taken_over_be_it_of_the_same_colour() -> None:
    tracker, frames, gone = covered_by((170, 60, 60))
    size = thing().shape[0] * thing().shape[1]
    pixels = [int(tracker.update(frame).mask.sum()) for frame in frames]
    assert max(pixels[gone:]) < 0.35 * size
    assert pixels[-1] <= pixels[gone]


def test_another_scene_loses_it() -> None:
    image, mask = put(ground(0), thing(), 60, 40)
    frames_until_lost(started(image, mask), [pattern(seed, (100, 160, 90)) for seed in range(20, 20 + IN_TIME)])


def test_after_being_lost_it_can_be_found_again() -> None:
    image, mask = put(ground(0), thing(), 60, 40)
    tracker = started(image, mask)
    frames_until_lost(tracker, [pattern(seed, (100, 160, 90)) for seed in range(20, 30)])
    tracker.start(image, mask)
    assert iou(tracker.update(image).mask, mask) > 0.95


def test_before_the_start_it_is_lost() -> None:
    tracked = FlowTracker().update(ground(0))
    assert (tracked.state, tracked.reason) == (TrackState.LOST, LossReason.NOT_STARTED)
    assert tracked.mask.shape == (HEIGHT, WIDTH)


def test_what_is_given_is_not_changed_and_what_is_returned_is_ones_own() -> None:
    image, mask = put(ground(0), thing(), 60, 40)
    copies = image.copy(), mask.copy()
    tracker = started(image, mask)
    tracker.update(image).mask[:] = True
    assert iou(tracker.update(image).mask, mask) > 0.95
    assert (image == copies[0]).all() and (mask == copies[1]).all()


@pytest.mark.parametrize("size", [(20, 300), (300, 20), (17, 17), (33, 640)])
def test_odd_sizes_are_followed_too(size: tuple[int, int]) -> None:
    image = pattern(1, (120, 130, 110), *size)
    mask = np.zeros(size, dtype=bool)
    mask[3:14, 3:14] = True
    tracker = started(image, mask)
    for _ in range(3):
        assert iou(tracker.update(image).mask, mask) > 0.7


def test_what_cannot_be_followed_is_named() -> None:
    image, mask = put(ground(0), thing(), 60, 40)
    with pytest.raises(ValueError, match="empty mask"):
        started(image, np.zeros_like(mask))
    with pytest.raises(ValueError, match="the mask must be"):
        started(image, mask[1:])
    with pytest.raises(ValueError, match="RGB"):
        started(image[:, :, 0], mask)
    with pytest.raises(ValueError, match="as the first was"):
        started(image, mask).update(image[1:])


def test_what_moves_otherwise_is_told_from_what_turns_and_grows() -> None:
    y, x = np.mgrid[0:60, 0:80].astype(np.float32)
    flow = np.dstack([3.0 + 0.02 * x - 0.05 * y, -1.0 + 0.05 * x + 0.02 * y]).astype(np.float32)
    other = np.zeros((60, 80), dtype=bool)
    other[20:40, 50:70] = True
    flow[other] = (-4.0, 6.0)
    known = np.ones((60, 80), dtype=bool)
    apart = apart_from(flow, known)
    assert apart[~other].max() < 0.2 and apart[other].min() > 4.0
    assert not apart_from(flow, np.zeros_like(known)).any()


def test_a_window_gives_back_what_was_cut() -> None:
    _, mask = put(ground(0), thing(), 60, 40)
    for most in (400, 60, 30):
        window = Window.around(mask, 24, most)
        assert max(window.width, window.height) <= most
        score = np.where(window.cut_mask(mask), np.float32(1.0), np.float32(-1.0))
        assert iou(window.paste(score, (HEIGHT, WIDTH)), mask) > 0.9


def test_a_window_may_lie_anywhere() -> None:
    levels = Levels(ground(0))
    for x, y in ((-500, 0), (0, 900), (150, 110), (-10, -10)):
        window = Window(x, y, 40, 30, 1)
        assert window.cut(levels.level(1)).shape == (30, 40, 3)
        pasted = window.paste(np.ones((30, 40), np.float32), (HEIGHT, WIDTH))
        assert np.count_nonzero(pasted) == 4 * np.count_nonzero(window.inside((HEIGHT // 2, WIDTH // 2)))


@dataclass
class Recorder:
    """A tracker that says what it was given: the images' first values."""

    told: list[str] = field(default_factory=list)
    lose: bool = False

    def start(self, image: RgbImage, mask: Mask) -> None:
        self.told.append(f"start {image[0, 0, 0]}")

    def update(self, image: RgbImage) -> Tracked:
        self.told.append(str(image[0, 0, 0]))
        if self.lose:
            return lost((2, 2), LossReason.HIDDEN)
        return Tracked(np.ones((2, 2), dtype=bool), TrackState.TRACKED, 1.0)


def frame(number: int) -> RgbImage:
    return np.full((2, 2, 3), number, dtype=np.uint8)


ANYWHERE = np.ones((2, 2), dtype=bool)


def test_an_old_mask_is_carried_to_the_newest_frame() -> None:
    tracker = Recorder()
    follower = Follower(tracker)
    assert all(follower.update(10 * n, frame(n)) is None for n in range(1, 6))
    assert tracker.told == []
    tracked = follower.found(20, frame(2), ANYWHERE)
    assert tracker.told == ["start 2", "3", "4", "5"]
    assert tracked.state is TrackState.TRACKED and follower.newest is tracked
    follower.update(60, frame(6))
    assert tracker.told[-1] == "6"


def test_however_long_the_finder_takes_little_is_kept_and_the_newest_is_reached() -> None:
    tracker = Recorder()
    follower = Follower(tracker, keep=8)
    for n in range(1, 101):
        follower.update(n, frame(n))
    follower.found(10, frame(10), ANYWHERE)
    shown = [int(told) for told in tracker.told[1:]]
    assert len(shown) <= 8 and shown == sorted(shown) and shown[0] > 10 and shown[-1] == 100


def test_a_mask_of_the_newest_frame_needs_no_catching_up() -> None:
    follower = Follower(Recorder())
    follower.update(10, frame(1))
    mask = ANYWHERE.copy()
    tracked = follower.found(10, frame(1), mask)
    assert (tracked.mask == mask).all() and tracked.mask is not mask


def test_cancelled_catching_up_goes_straight_to_the_newest() -> None:
    tracker = Recorder()
    follower = Follower(tracker)
    for n in range(1, 6):
        follower.update(n, frame(n))
    follower.found(1, frame(1), ANYWHERE, cancelled=lambda: len(tracker.told) > 2)
    assert tracker.told == ["start 1", "2", "3", "5"]


def test_when_to_find_again() -> None:
    tracker = Recorder()
    follower = Follower(tracker, again_after_s=2.0)
    second = 10**9
    assert not follower.should_find_again(99 * second)
    follower.update(second, frame(1))
    follower.found(second, frame(1), ANYWHERE)
    assert not follower.should_find_again(2 * second)
    assert follower.should_find_again(3 * second)
    tracker.lose = True
    follower.update(second + 1, frame(2))
    assert follower.should_find_again(second + 1)
    follower.forget()
    assert follower.newest is None and not follower.should_find_again(99 * second)
    assert not Follower(tracker, again_after_s=0.0).should_find_again(99 * second)


def test_time_that_goes_back_forgets_everything() -> None:
    tracker = Recorder()
    follower = Follower(tracker)
    follower.update(100, frame(1))
    follower.found(100, frame(1), ANYWHERE)
    assert follower.update(50, frame(2)) is None
    follower.found(50, frame(2), ANYWHERE)
    assert tracker.told[-1] == "start 2"


def test_a_follower_that_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match="again_after_s"):
        Follower(Recorder(), again_after_s=-1.0)
    with pytest.raises(ValueError, match="2 frames"):
        Follower(Recorder(), keep=1)
