# SPDX-License-Identifier: Apache-2.0
"""Trackers by the video models of transformers: SAM 2, EdgeTAM and SAM 3's tracker, streamed frame by frame.

The network, its memory of earlier frames and its processor are transformers' own. What is ours is that old frames
leave the session: the model looks at a few past frames only, but the session keeps all of them.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lisa_ros.segmentation.errors import LisaError, how_to_install
from lisa_ros.segmentation.files.pretrained import load_pretrained
from lisa_ros.tracking.interface import Image, LossReason, Mask, Tracked, TrackState, check_start, lost


@dataclass(frozen=True)
class _Classes:
    """Names in transformers, and the model_type of the folders that the model class reads."""

    model: str
    processor: str
    model_types: tuple[str, ...]
    example: str


KINDS: dict[str, _Classes] = {
    "edgetam": _Classes("EdgeTamVideoModel", "Sam2VideoProcessor", ("edgetam_video",), "yonigozlan/EdgeTAM-hf"),
    "sam2": _Classes("Sam2VideoModel", "Sam2VideoProcessor", ("sam2_video",), "facebook/sam2.1-hiera-tiny"),
    "sam3": _Classes(
        "Sam3TrackerVideoModel",
        "Sam3TrackerVideoProcessor",
        ("sam3_video", "sam3_tracker_video"),
        "facebook/sam3",
    ),
}
"""Name, as in the node's parameter `tracker` -> classes."""


class TrackerError(LisaError):
    """A tracker's checkpoint cannot be used; the text says what would be right."""


def load_video_tracker(kind: str, folder: Path, device: str = "auto") -> VideoTracker:
    """Loads a checkpoint. Imports torch and transformers.

    Args:
        kind: a key of KINDS.
        folder: in transformers' format.
        device: "auto" is the GPU where there is one. On a GPU it computes in bfloat16, on a CPU in float32.

    Raises:
        TrackerError: the folder does not hold such a model, or a needed package is not installed.
    """
    classes = KINDS[kind]
    _check_folder(kind, folder)
    import torch

    transformers: Any = importlib.import_module("transformers")
    on_gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    dtype = torch.bfloat16 if on_gpu else torch.float32
    pair = getattr(transformers, classes.model), getattr(transformers, classes.processor)
    model, processor = load_pretrained(*pair, folder, f"for tracker {kind}", TrackerError, dtype=dtype)
    return VideoTracker(model.eval().to("cuda" if on_gpu else "cpu"), processor)


def _check_folder(kind: str, folder: Path) -> None:
    classes = KINDS[kind]
    wanted = f"tracker {kind} needs {' or '.join(classes.model_types)} of transformers, such as {classes.example}"
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise TrackerError(f"{folder} has no config.json; {wanted}") from error
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise TrackerError(f"{folder}/config.json cannot be read ({error}); {wanted}") from error
    if found not in classes.model_types:
        holds = f"holds {found!r}" if found else "has a config.json that names no model"
        raise TrackerError(f"{folder} {holds}; {wanted}")
    if kind == "edgetam" and importlib.util.find_spec("timm") is None:
        raise TrackerError(f"tracker edgetam needs timm for its vision encoder; {how_to_install('edgetam')}")


class VideoTracker:
    """Tracks objects with a video model; see `lisa_ros.tracking.interface.Tracker`.

    Unlike the flow tracker, it may find an object again by itself that was LOST, for example after it was hidden.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        """Takes transformers' objects. Tracks nothing at first: `update` returns LOST until `start`."""
        self._model, self._processor = model, processor
        config = model.config
        self._remembered = max(config.num_maskmem, config.max_object_pointers_in_encoder)
        self._session: Any = None
        self._size: tuple[int, int] = (0, 0)
        self._frame, self._masks = 0, list[Mask]()
        self._why_not = LossReason.NOT_STARTED

    def start(self, image: Image, mask: Mask) -> None:
        """See Tracker.start."""
        self.start_all(image, [mask])

    def update(self, image: Image) -> Tracked:
        """See Tracker.update."""
        return self.update_all(image)[0]

    def start_all(self, image: Image, masks: Sequence[Mask]) -> None:
        """Track several objects from now on, instead of any others. The image is encoded once for all of them.

        Args:
            image: See Tracker.start.
            masks: One of each object in that frame.

        Raises:
            ValueError: There is no mask, or one is empty or not of the image's size.
        """
        if not masks:
            raise ValueError("at least one mask is needed to track something")
        for mask in masks:
            check_start(image, mask)
        self._size, self._frame, self._masks = (image.shape[0], image.shape[1]), 0, [mask.copy() for mask in masks]
        self._session = self._processor.init_video_session(inference_device=self._model.device, dtype=self._model.dtype)
        self._session.video_height, self._session.video_width = self._size
        self._processor.process_new_mask_for_video_frame(
            self._session, 0, list(range(1, len(masks) + 1)), [np.asarray(mask) for mask in masks]
        )
        self._infer(image)

    def update_all(self, image: Image) -> list[Tracked]:
        """Find all objects in the next frame; see Tracker.update.

        Returns:
            One result of each object, in the order of `start_all`; a single LOST while nothing is tracked.
        """
        size = (image.shape[0], image.shape[1])
        if self._session is not None and size != self._size:
            self._session, self._why_not = None, LossReason.SIZE_CHANGED
        if self._session is None:
            return [lost(size, self._why_not)]
        self._frame += 1
        logits, presence = self._infer(image)
        results = [self._tracked(index, logits[index] > 0, presence[index]) for index in range(len(self._masks))]
        return results

    def _infer(self, image: Image) -> tuple[Any, list[float]]:
        """Runs the model on the next frame.

        Returns:
            (objects, H, W) float32 logits, and the probability that each object is seen.
        """
        inputs = self._processor(images=image, return_tensors="pt")
        pixels = inputs["pixel_values"][0].to(self._model.device, self._model.dtype)
        output = self._model(self._session, frame_idx=self._frame, frame=pixels)
        self._forget_old_frames()
        (masks,) = self._processor.post_process_masks(
            [output.pred_masks.float().cpu()], [list(self._size)], binarize=False
        )
        presence = output.object_score_logits.float().sigmoid().reshape(-1).tolist()
        return masks.reshape(-1, *self._size).numpy(), presence

    def _tracked(self, index: int, mask: Mask, presence: float) -> Tracked:
        if presence <= 0.5 or not mask.any():
            reason = LossReason.OUT_OF_VIEW if _touches_edge(self._masks[index]) else LossReason.HIDDEN
            return lost(self._size, reason)
        self._masks[index] = mask
        return Tracked(mask.copy(), TrackState.TRACKED, float(presence))

    def _forget_old_frames(self) -> None:
        """Drops what the model does not look at any more, so that memory does not grow with the frames."""
        session, oldest = self._session, self._frame - self._remembered
        session.processed_frames = {self._frame: session.processed_frames[self._frame]}
        for outputs in session.output_dict_per_obj.values():
            frames = outputs["non_cond_frame_outputs"]
            for frame in [frame for frame in frames if frame <= oldest]:
                del frames[frame]
            for output in (*frames.values(), *outputs["cond_frame_outputs"].values()):
                output.pop("high_res_masks", None)  # was needed to make the memory, and is the largest of all
        for tracked in session.frames_tracked_per_obj.values():
            for frame in [frame for frame in tracked if frame <= oldest]:
                del tracked[frame]


def _touches_edge(mask: Mask) -> bool:
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())
