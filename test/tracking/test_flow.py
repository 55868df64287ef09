# SPDX-License-Identifier: Apache-2.0
"""The flow tracker and the Follower: an object is tracked from frame to frame, and lost when it is gone."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from moving_images import HEIGHT, WIDTH, Mask, RgbImage, background, pattern, placed, target

from lisa_ros.benchmark.tracking import follow
from lisa_ros.segmentation.masks import intersection_over_union as iou
from lisa_ros.simulation.moving import moving_frames
from lisa_ros.tracking.flow import FlowTracker
from lisa_ros.tracking.interface import Follower, LossReason, Tracked, Tracker, TrackState, lost
from lisa_ros.tracking.optical_flow import deviation_from_motion
from lisa_ros.tracking.windows import Pyramid, Window

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
    raise AssertionError("the object was never lost")


def test_an_object_that_moves_against_its_background_is_tracked() -> None:
    image, mask = placed(background(0), target(), 30, 40)
    tracker = started(image, mask)
    for step in range(1, 16):
        image, truth = placed(background(3 * step), target(), 30 + 4 * step, 40 + step)
        tracked = tracker.update(image)
        assert tracked.state is TrackState.TRACKED and tracked.reason is None
        assert iou(tracked.mask, truth) > 0.85


@pytest.mark.parametrize("motion", ["orbit", "passing"])
def test_simulated_objects_are_tracked(motion: str) -> None:
    frames = list(moving_frames(motion, 3, frames=14, width=320, height=240))
    for start in ("exact", "wider", "narrower"):
        followed = follow(motion, frames, start, FlowTracker())
        assert followed.lost_after is None
        assert followed.iou > 0.85 and followed.iou > followed.still_iou + 0.05


def test_an_object_that_leaves_the_view_is_lost_in_time_and_stays_lost() -> None:
    image, mask = placed(background(0), target(), 90, 40)
    tracker = started(image, mask)
    moved = [placed(background(3 * step), target(), 90 + 8 * step, 40) for step in range(1, 20)]
    gone = next(index for index, (_, truth) in enumerate(moved, 1) if not truth.any())
    assert gone - 4 <= frames_until_lost(tracker, [image for image, _ in moved]) <= gone + IN_TIME
    again = tracker.update(image)
    assert again.state is TrackState.LOST and not again.mask.any() and again.confidence == 0.0
    assert again.reason is LossReason.OUT_OF_VIEW


def covered_by(colour: tuple[int, int, int]) -> tuple[FlowTracker, list[RgbImage], int]:
    """A tracker, frames in which a cover of that colour comes and stays, and the first frame in which it hides all."""
    still, mask = placed(background(0), target(), 60, 40)
    tracker = started(still, mask)
    cover = pattern(5, colour, 90, 90)
    covered = [placed(still, cover, 110 - 6 * step, 20)[0] for step in range(1, 13)]
    covered += [covered[-1]] * 12
    return tracker, covered, 9  # then the cover's left edge is at 56, left of the target's


def test_a_hidden_object_is_lost_in_time() -> None:
    tracker, frames, gone = covered_by((60, 90, 170))
    assert frames_until_lost(tracker, frames) <= gone + IN_TIME


def test_the_mask_does_not_move_to_a_cover_of_the_same_colour() -> None:
    tracker, frames, gone = covered_by((170, 60, 60))
    size = target().shape[0] * target().shape[1]
    pixels = [int(tracker.update(frame).mask.sum()) for frame in frames]
    assert max(pixels[gone:]) < 0.35 * size
    assert pixels[-1] <= pixels[gone]


def test_another_scene_loses_the_object() -> None:
    image, mask = placed(background(0), target(), 60, 40)
    frames_until_lost(started(image, mask), [pattern(seed, (100, 160, 90)) for seed in range(20, 20 + IN_TIME)])


def test_a_lost_object_can_be_tracked_again() -> None:
    image, mask = placed(background(0), target(), 60, 40)
    tracker = started(image, mask)
    frames_until_lost(tracker, [pattern(seed, (100, 160, 90)) for seed in range(20, 30)])
    tracker.start(image, mask)
    assert iou(tracker.update(image).mask, mask) > 0.95


def test_without_start_the_object_is_lost() -> None:
    tracked = FlowTracker().update(background(0))
    assert (tracked.state, tracked.reason) == (TrackState.LOST, LossReason.NOT_STARTED)
    assert tracked.mask.shape == (HEIGHT, WIDTH)


def test_arguments_are_not_changed_and_results_are_copies() -> None:
    image, mask = placed(background(0), target(), 60, 40)
    copies = image.copy(), mask.copy()
    tracker = started(image, mask)
    tracker.update(image).mask[:] = True
    assert iou(tracker.update(image).mask, mask) > 0.95
    assert (image == copies[0]).all() and (mask == copies[1]).all()


@pytest.mark.parametrize("size", [(20, 300), (300, 20), (17, 17), (33, 640)])
def test_images_of_odd_sizes(size: tuple[int, int]) -> None:
    image = pattern(1, (120, 130, 110), *size)
    mask = np.zeros(size, dtype=bool)
    mask[3:14, 3:14] = True
    tracker = started(image, mask)
    for _ in range(3):
        assert iou(tracker.update(image).mask, mask) > 0.7


def test_invalid_arguments_are_named() -> None:
    image, mask = placed(background(0), target(), 60, 40)
    with pytest.raises(ValueError, match="empty mask"):
        started(image, np.zeros_like(mask))
    with pytest.raises(ValueError, match="the mask must be"):
        started(image, mask[1:])
    with pytest.raises(ValueError, match="RGB"):
        started(image[:, :, 0], mask)


def test_an_image_of_another_size_loses_the_object() -> None:
    """A camera's resolution can be changed while an object is followed."""
    image, mask = placed(background(0), target(), 60, 40)
    tracker = started(image, mask)
    smaller = np.ascontiguousarray(image[::2, ::2])
    for _ in range(2):
        tracked = tracker.update(smaller)
        assert (tracked.state, tracked.reason) == (TrackState.LOST, LossReason.SIZE_CHANGED)
        assert tracked.mask.shape == smaller.shape[:2] and not tracked.mask.any()
    tracker.start(image, mask)
    assert tracker.update(image).state is TrackState.TRACKED


def test_frames_of_another_size_do_not_stop_the_follower() -> None:
    image, mask = placed(background(0), target(), 60, 40)
    smaller, smaller_mask = np.ascontiguousarray(image[::2, ::2]), np.ascontiguousarray(mask[::2, ::2])
    follower = Follower(FlowTracker())
    for stamp_ns, frame in ((1, image), (2, smaller), (3, smaller)):
        follower.update(stamp_ns, frame)
    assert follower.found(1, image, mask).reason is LossReason.SIZE_CHANGED
    assert follower.found(2, smaller, smaller_mask).state is TrackState.TRACKED


def test_another_motion_is_distinguished_from_rotation_and_scaling() -> None:
    y, x = np.mgrid[0:60, 0:80].astype(np.float32)
    flow = np.dstack([3.0 + 0.02 * x - 0.05 * y, -1.0 + 0.05 * x + 0.02 * y]).astype(np.float32)
    other = np.zeros((60, 80), dtype=bool)
    other[20:40, 50:70] = True
    flow[other] = (-4.0, 6.0)
    known = np.ones((60, 80), dtype=bool)
    deviation = deviation_from_motion(flow, known)
    assert deviation[~other].max() < 0.2 and deviation[other].min() > 4.0
    assert not deviation_from_motion(flow, np.zeros_like(known)).any()


def test_what_is_cropped_from_a_window_can_be_pasted_back() -> None:
    _, mask = placed(background(0), target(), 60, 40)
    for max_px in (400, 60, 30):
        window = Window.around(mask, 24, max_px)
        assert max(window.width, window.height) <= max_px
        score = np.where(window.crop_mask(mask), np.float32(1.0), np.float32(-1.0))
        assert iou(window.paste(score, (HEIGHT, WIDTH)), mask) > 0.9


def test_a_window_may_lie_anywhere() -> None:
    pyramid = Pyramid(background(0))
    for x, y in ((-500, 0), (0, 900), (150, 110), (-10, -10)):
        window = Window(x, y, 40, 30, 1)
        assert window.crop(pyramid.level(1)).shape == (30, 40, 3)
        pasted = window.paste(np.ones((30, 40), np.float32), (HEIGHT, WIDTH))
        assert np.count_nonzero(pasted) == 4 * np.count_nonzero(window.inside((HEIGHT // 2, WIDTH // 2)))


@dataclass
class Recorder:
    """A tracker that records its calls by the images' first values."""

    calls: list[str] = field(default_factory=list)
    lose: bool = False

    def start(self, image: RgbImage, mask: Mask) -> None:
        self.calls.append(f"start {image[0, 0, 0]}")

    def update(self, image: RgbImage) -> Tracked:
        self.calls.append(str(image[0, 0, 0]))
        if self.lose:
            return lost((2, 2), LossReason.HIDDEN)
        return Tracked(np.ones((2, 2), dtype=bool), TrackState.TRACKED, 1.0)


def frame(number: int) -> RgbImage:
    return np.full((2, 2, 3), number, dtype=np.uint8)


ANYWHERE = np.ones((2, 2), dtype=bool)


def test_an_old_mask_is_propagated_to_the_newest_frame() -> None:
    tracker = Recorder()
    follower = Follower(tracker)
    assert all(follower.update(10 * n, frame(n)) is None for n in range(1, 6))
    assert tracker.calls == []
    tracked = follower.found(20, frame(2), ANYWHERE)
    assert tracker.calls == ["start 2", "3", "4", "5"]
    assert tracked.state is TrackState.TRACKED and follower.newest is tracked
    follower.update(60, frame(6))
    assert tracker.calls[-1] == "6"


def test_however_long_the_segmenter_takes_few_frames_are_kept_and_the_newest_is_reached() -> None:
    tracker = Recorder()
    follower = Follower(tracker, keep=8)
    for n in range(1, 101):
        follower.update(n, frame(n))
    follower.found(10, frame(10), ANYWHERE)
    frames = [int(call) for call in tracker.calls[1:]]
    assert len(frames) <= 8 and frames == sorted(frames) and frames[0] > 10 and frames[-1] == 100


def test_a_mask_of_the_newest_frame_needs_no_propagation() -> None:
    follower = Follower(Recorder())
    follower.update(10, frame(1))
    mask = ANYWHERE.copy()
    tracked = follower.found(10, frame(1), mask)
    assert (tracked.mask == mask).all() and tracked.mask is not mask


def test_when_cancelled_only_the_newest_frame_remains() -> None:
    tracker = Recorder()
    follower = Follower(tracker)
    for n in range(1, 6):
        follower.update(n, frame(n))
    follower.found(1, frame(1), ANYWHERE, cancelled=lambda: len(tracker.calls) > 2)
    assert tracker.calls == ["start 1", "2", "3", "5"]


def test_when_a_new_mask_is_due() -> None:
    tracker = Recorder()
    follower = Follower(tracker, refresh_after_s=2.0)
    second = 10**9
    assert not follower.needs_refresh(99 * second)
    follower.update(second, frame(1))
    follower.found(second, frame(1), ANYWHERE)
    assert not follower.needs_refresh(2 * second)
    assert follower.needs_refresh(3 * second)
    tracker.lose = True
    follower.update(second + 1, frame(2))
    assert follower.needs_refresh(second + 1)
    follower.forget()
    assert follower.newest is None and not follower.needs_refresh(99 * second)
    assert not Follower(tracker, refresh_after_s=0.0).needs_refresh(99 * second)


def test_a_stamp_that_goes_back_forgets_everything() -> None:
    tracker = Recorder()
    follower = Follower(tracker)
    follower.update(100, frame(1))
    follower.found(100, frame(1), ANYWHERE)
    assert follower.update(50, frame(2)) is None
    follower.found(50, frame(2), ANYWHERE)
    assert tracker.calls[-1] == "start 2"


def test_invalid_settings_of_a_follower_are_refused() -> None:
    with pytest.raises(ValueError, match="refresh_after_s"):
        Follower(Recorder(), refresh_after_s=-1.0)
    with pytest.raises(ValueError, match="2 frames"):
        Follower(Recorder(), keep=1)
