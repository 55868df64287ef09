# SPDX-License-Identifier: Apache-2.0
"""SAM 2 for single images, by transformers' classes: from boxes, points or a mask to a mask."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import Sam2Model, Sam2Processor

from lisa_ros.models.common.checkpoints.hub import find_folder
from lisa_ros.models.common.config_file import read_json
from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.options import DEFAULT_SAM2
from lisa_ros.segmentation.files.pretrained import load_pretrained

_MODEL_TYPES = ("sam2", "sam2_video")
"""model_type of the released folders: the video model's weights have all of the image model's."""


@dataclass(frozen=True, eq=False)
class Sam2Image:
    """An encoded image.

    Attributes:
        features: the image embeddings of each resolution, as Sam2Model.get_image_embeddings returns them.
        size: (H, W) of the image, pixels.
    """

    features: list[torch.Tensor]
    size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Sam2Mask:
    """A mask of SAM 2.

    Attributes:
        logits: (H, W) float32; the mask is logits > 0.
        score: SAM 2's own estimate of the IoU, limited to 0..1.
    """

    logits: NDArray[np.float32]
    score: float


class Sam2:
    """SAM 2 with its weights. May be used from several threads at once."""

    def __init__(self, model: Any, processor: Any) -> None:
        """Takes transformers' objects."""
        self.model, self._processor = model, processor
        self._lock = threading.Lock()

    @torch.inference_mode()
    def encode(self, image: NDArray[np.uint8]) -> Sam2Image:
        """Runs the vision encoder on RGB uint8 (H, W, 3), the expensive part."""
        inputs = self._processor(images=image, return_tensors="pt")
        pixels = inputs["pixel_values"].to(self.model.device, self.model.dtype)
        with self._lock:
            features = self.model.get_image_embeddings(pixels)
        return Sam2Image(list(features), (image.shape[0], image.shape[1]))

    @torch.inference_mode()
    def decode(
        self,
        image: Sam2Image,
        *,
        box: tuple[float, float, float, float] | None = None,
        points: tuple[tuple[float, float], ...] = (),
        labels: tuple[int, ...] = (),
        mask: NDArray[np.float32] | None = None,
        multimask: bool = True,
    ) -> Sam2Mask:
        """Makes one mask.

        Args:
            image: from `encode`.
            box: x0, y0, x1, y1 in the image's pixels.
            points: (x, y) of each, in the image's pixels.
            labels: 1 for a point on the object, 0 for one beside it.
            mask: (H, W) float32 logits of a mask of the object.
            multimask: whether three masks are made, of which the one with the highest score is returned.
        """
        prompts = self._processor(
            images=None,
            original_sizes=[list(image.size)],
            input_boxes=[[list(box)]] if box is not None else None,
            input_points=[[[list(point) for point in points]]] if points else None,
            input_labels=[[list(labels)]] if points else None,
            return_tensors="pt",
        )
        given = {name: prompts[name].to(self.model.device) for name in _PROMPTS if name in prompts}
        if mask is not None:
            given["input_masks"] = self._prompt_mask(mask)
        with self._lock:
            answer = self.model(image_embeddings=image.features, multimask_output=multimask, **given)
        scores = answer.iou_scores[0, 0].float()
        best = int(scores.argmax())
        chosen = answer.pred_masks[:, :, best : best + 1].float().cpu()
        (full,) = self._processor.post_process_masks(chosen, [list(image.size)], binarize=False)
        logits = full.reshape(image.size).numpy()
        return Sam2Mask(logits, float(scores[best].clamp(0.0, 1.0)))

    def _prompt_mask(self, mask: NDArray[np.float32]) -> torch.Tensor:
        """(1, 1, h, w) logits at the size of the prompt encoder's mask input."""
        height, width = self.model.prompt_encoder.mask_input_size
        given = torch.from_numpy(np.ascontiguousarray(mask, dtype=np.float32))[None, None]
        small = torch.nn.functional.interpolate(given, size=(height, width), mode="bilinear", antialias=True)
        return small.clamp(-32.0, 32.0).to(self.model.device, self.model.dtype)


_PROMPTS = ("input_boxes", "input_points", "input_labels")


def load_sam2(name: str | Path, device: torch.device, dtype: torch.dtype) -> Sam2:
    """Loads a SAM 2 folder or hub id in transformers' format.

    Raises:
        CheckpointError: it cannot be used; the text says what would be right.
    """
    folder = find_folder(name, "SAM 2 checkpoint")
    kind = read_json(folder / "config.json").get("model_type")
    if kind not in _MODEL_TYPES:
        raise CheckpointError(
            f"{folder}/config.json has model_type {kind!r}; a SAM 2 checkpoint in transformers' format is expected, "
            f"such as {DEFAULT_SAM2}"
        )
    model, processor = load_pretrained(Sam2Model, Sam2Processor, folder, "as SAM 2", CheckpointError, dtype=dtype)
    return Sam2(model.eval().to(device), processor)
