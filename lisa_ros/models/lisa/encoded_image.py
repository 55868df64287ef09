# SPDX-License-Identifier: Apache-2.0
"""A picture, and what it costs to look at: paid once, and shared by all who ask about it."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from lisa_ros.models.common.answering import MaskLogits
from lisa_ros.models.common.preprocessing import ClipPreprocessing, check_image
from lisa_ros.models.lisa.network import LisaNetwork
from lisa_ros.models.lisa.sam.background import Ahead
from lisa_ros.models.lisa.sam.pixels import sam_pixels
from lisa_ros.segmentation.pointing import NO_POINTING, Pointing

_numbers = itertools.count(1)

Features = tuple[torch.Tensor, tuple[int, int]]
"""SAM's features (1, prompt_width, grid, grid), and the (h, w) of the picture inside SAM's square input."""


class EncodedImage:
    """A picture, and what was computed of it when it was first needed. Safe to share between threads.

    Attributes:
        number: its own, negative, to stand for it among ids.
        reading: held by who reads the picture into LLaMA, so that the others find it read.
    """

    def __init__(
        self, image: NDArray[np.uint8], network: LisaNetwork, clip: ClipPreprocessing, *, ahead: bool = False
    ) -> None:
        """Takes an RGB uint8 (H, W, 3) image; nothing is computed yet.

        Args:
            image: the picture.
            network: who looks.
            clip: makes CLIP's input.
            ahead: let SAM look while LLaMA reads, see Ahead.
        """
        check_image(image)
        self.number = -1000 - next(_numbers)
        self.reading = threading.Lock()
        self._image, self._network, self._clip = image, network, clip
        self._clip_lock, self._sam_lock = threading.Lock(), threading.Lock()
        self._visual_tokens: torch.Tensor | None = None
        self._features: Features | None = None
        self._ahead = Ahead(self._look_for_masks, network.device) if ahead else None

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        height, width = self._image.shape[:2]
        return height, width

    def visual_tokens(self) -> torch.Tensor:
        """What LLaMA sees: (patches, hidden)."""
        with self._clip_lock, torch.inference_mode():
            if self._visual_tokens is None:
                self._visual_tokens = self._network.visual_tokens(self._clip(self._image))[0]
            return self._visual_tokens

    @contextmanager
    def expecting_masks(self) -> Iterator[None]:
        """While an answer is being made: SAM may look already. It stops where all answers end without a mask."""
        if self._ahead is None or self._features is not None:
            yield
            return
        self._ahead.begin()
        try:
            yield
        finally:
            self._ahead.end()

    def mask_logits(self, state: torch.Tensor, pointing: Pointing = NO_POINTING) -> MaskLogits:
        """The mask for the state (1, hidden) that said `[SEG]`, and for what the operator points at."""
        features, resized = self._seen_for_masks()
        with torch.inference_mode():
            low = self._network.mask_logits(state, features, self._pointed(pointing, resized))
            full = self._network.upsample(low, resized, self.size)
            height, width = (math.ceil(side * low.shape[-1] / self._network.image_size) for side in resized)
            return MaskLogits(full[0].cpu().numpy(), low[0, :height, :width].cpu().numpy())

    def _pointed(self, pointing: Pointing, resized: tuple[int, int]) -> torch.Tensor | None:
        """The prompts for points and boxes, whose coordinates scale with the image (SamPredictor, apply_coords)."""
        if not pointing:
            return None
        (height, width), device = self.size, self._network.visual_model.prompt_encoder.no_mask_embed.weight.device
        scale = torch.tensor([resized[1] / width, resized[0] / height], device=device)
        points = torch.tensor(pointing.points, dtype=torch.float32, device=device).reshape(-1, 2) * scale
        box = None
        if pointing.boxes:
            x, y, box_width, box_height = pointing.boxes[0]
            box = torch.tensor([x, y, x + box_width, y + box_height], device=device) * scale.repeat(2)
        return self._network.pointing_prompts(points, box)

    def _seen_for_masks(self) -> Features:
        with self._sam_lock:
            if self._features is None:
                self._features = self._ahead.result() if self._ahead else self._look_for_masks(lambda: True)
            assert self._features is not None
            return self._features

    def _look_for_masks(self, wanted: Callable[[], bool]) -> Features | None:
        with torch.inference_mode():
            pixels, resized = sam_pixels(self._image, self._network.image_size)
            features = self._network.sam_features_while(wanted, pixels)
            return None if features is None else (features, resized)
