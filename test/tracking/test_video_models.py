# SPDX-License-Identifier: Apache-2.0
"""Trackers by transformers' video models, on toy checkpoints: the masks of transformers itself, in bounded memory."""

from __future__ import annotations

import gc
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from moving_images import Mask, RgbImage
from toy_checkpoints import sam2_checkpoint, tracker_checkpoint

from lisa_ros.tracking.flow import FlowTracker
from lisa_ros.tracking.interface import Follower, LossReason, TrackState
from lisa_ros.tracking.video_models import KINDS, TrackerError, VideoTracker, load_video_tracker

pytestmark = pytest.mark.model
HEIGHT, WIDTH = 48, 64
NEEDS_TIMM = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="EdgeTAM's vision encoder is timm's")
ALL = [pytest.param("edgetam", marks=NEEDS_TIMM), "sam2", "sam3"]


def frame(number: int) -> tuple[RgbImage, Mask]:
    """A bright square that moves over noise, and its mask."""
    image = np.random.default_rng(7).integers(0, 120, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    x, y = 4 + number % 40, 8 + number % 20
    mask[y : y + 16, x : x + 16] = True
    image[mask] = (250, 200, 60)
    return image, mask


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("trackers")
    return {kind.values[0] if hasattr(kind, "values") else kind: base for kind in ALL}


@pytest.fixture
def tracker(request: pytest.FixtureRequest, checkpoints: dict[str, Path]) -> VideoTracker:
    kind = request.param
    folder = checkpoints[kind] / kind
    if not folder.is_dir():
        tracker_checkpoint(folder, kind)
    return load_video_tracker(kind, folder, "cpu")


def directly(kind: str, folder: Path, masks: list[Mask], count: int) -> list[Any]:
    """The logits that transformers itself gives, with a session that keeps all frames."""
    import transformers

    model = getattr(transformers, KINDS[kind].model).from_pretrained(folder).eval()
    processor = getattr(transformers, KINDS[kind].processor).from_pretrained(folder)
    session = processor.init_video_session(inference_device="cpu")
    answers = []
    for number in range(count):
        inputs = processor(images=frame(number)[0], return_tensors="pt")
        if number == 0:
            session.video_height, session.video_width = HEIGHT, WIDTH
            ids = list(range(1, len(masks) + 1))
            processor.process_new_mask_for_video_frame(session, 0, ids, list(masks))
        output = model(inference_session=session, frame=inputs["pixel_values"][0])
        masks_now = processor.post_process_masks([output.pred_masks], [[HEIGHT, WIDTH]], binarize=False)[0]
        answers.append((masks_now.reshape(-1, HEIGHT, WIDTH).numpy(), output.object_score_logits.reshape(-1).tolist()))
    return answers


@pytest.mark.parametrize("tracker", ALL, indirect=True)
def test_masks_are_those_of_transformers_frame_by_frame(
    tracker: VideoTracker, checkpoints: dict[str, Path], request: pytest.FixtureRequest
) -> None:
    kind = request.node.callspec.params["tracker"]
    image, first = frame(0)
    second = np.roll(first, 20, axis=1)
    expected = directly(kind, checkpoints[kind] / kind, [first, second], count := 60 if kind != "edgetam" else 15)
    tracker.start_all(image, [first, second])
    changes = 0
    for number in range(1, count):
        results = tracker.update_all(frame(number)[0])
        assert len(results) == 2
        for index, tracked in enumerate(results):
            logits, scores = expected[number][0][index], expected[number][1][index]
            is_seen = scores > 0 and (logits > 0).any()
            assert (tracked.state is TrackState.TRACKED) == is_seen
            np.testing.assert_array_equal(tracked.mask, (logits > 0) & is_seen)
            assert tracked.mask.any() == is_seen
            changes += number > 1 and not np.array_equal(logits > 0, expected[number - 1][0][index] > 0)
    assert changes > count // 3, "the toy model's masks do not depend on the frames"


@pytest.mark.parametrize("tracker", ["sam2"], indirect=True)
def test_memory_does_not_grow_with_the_frames(tracker: VideoTracker) -> None:
    tracker.start(*frame(0))
    sizes = []
    for number in range(1, 121):
        tracker.update(frame(number)[0])
        if number in (20, 120):
            sizes.append(tensors_alive())
    assert sizes[1] == sizes[0]


@pytest.mark.slow
@pytest.mark.parametrize("tracker", ALL, indirect=True)
def test_2000_frames_take_no_more_memory_and_time_at_the_end(tracker: VideoTracker) -> None:
    two = [frame(0)[1], np.roll(frame(0)[1], 20, axis=1)]
    tracker.start_all(frame(0)[0], two)
    assert_flat(lambda number: tracker.update_all(frame(number)[0]))


def test_2000_frames_of_the_flow_tracker_take_no_more_memory_and_time_at_the_end() -> None:
    tracker = FlowTracker()
    tracker.start(*frame(0))
    assert_flat(lambda number: tracker.update(frame(number)[0]))


def assert_flat(update: Callable[[int], object]) -> None:
    """2,000 updates: as many tensors and as much memory at the end as after 500."""
    tensors, resident_kb = [], []
    for number in range(1, 2001):
        update(number)
        if number in (500, 2000):
            tensors.append(tensors_alive())
            resident_kb.append(
                int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
            )
    assert tensors[1] == tensors[0]
    assert resident_kb[1] - resident_kb[0] < 4096, "1,500 frames of 64 x 48 alone have 14 MB"


def tensors_alive() -> tuple[int, int]:
    """(number, bytes) of all tensors in this process."""
    gc.collect()
    tensors = [one for one in gc.get_objects() if torch.is_tensor(one)]
    return len(tensors), sum(one.nbytes for one in tensors)


@pytest.mark.parametrize("tracker", ["sam2"], indirect=True)
def test_a_loss_is_reported_with_its_reason(tracker: VideoTracker) -> None:
    image, mask = frame(0)
    assert tracker.update(image).reason is LossReason.NOT_STARTED
    with pytest.raises(ValueError, match="empty mask"):
        tracker.start(image, np.zeros_like(mask))
    tracker.start(image, mask)
    head = list(tracker._model.mask_decoder.pred_obj_score_head.parameters())[-1]
    with torch.no_grad():
        head.fill_(-100.0)
    gone = tracker.update(image)
    assert (gone.state, gone.reason, gone.mask.any(), gone.confidence) == (TrackState.LOST, LossReason.HIDDEN, False, 0)
    assert tracker.update(image[:-2]).reason is LossReason.SIZE_CHANGED
    assert tracker.update(image).reason is LossReason.SIZE_CHANGED


@pytest.mark.parametrize("tracker", ["sam2"], indirect=True)
def test_a_follower_catches_up_with_it(tracker: VideoTracker) -> None:
    follower = Follower(tracker, refresh_after_s=0.5)
    frames = [frame(number) for number in range(8)]
    for number, (image, _) in enumerate(frames):
        follower.update(number * 100_000_000, image)
    caught = follower.found(200_000_000, *frames[2])
    alone = load_like(tracker)
    alone.start(*frames[2])
    results = [alone.update(image) for image, _ in frames[3:]]
    np.testing.assert_array_equal(caught.mask, results[-1].mask)
    assert follower.needs_refresh(800_000_000)


def load_like(tracker: VideoTracker) -> VideoTracker:
    return VideoTracker(tracker._model, tracker._processor)


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrackerError, match=r"has no config\.json; tracker sam2 needs sam2_video of transformers"):
        load_video_tracker("sam2", tmp_path)
    folder = sam2_checkpoint(tmp_path / "sam2")
    with pytest.raises(TrackerError, match="holds 'sam2'; tracker sam3 needs sam3_video or sam3_tracker_video"):
        load_video_tracker("sam3", folder)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    folder = tracker_checkpoint(tmp_path / "sam2", "sam2")
    safetensors.torch.save_file({"foreign": torch.zeros(2)}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        TrackerError, match=r"lacks \d+ of the \d+ weights of Sam2VideoModel, such as .* or holds another model"
    ):
        load_video_tracker("sam2", folder, "cpu")
    (folder / "model.safetensors").unlink()
    with pytest.raises(TrackerError, match=r"cannot be loaded for tracker sam2: .*model\.safetensors"):
        load_video_tracker("sam2", folder, "cpu")
