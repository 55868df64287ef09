# SPDX-License-Identifier: Apache-2.0
"""An image and its CLIP and SAM features: computed once, shared by all commands about it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from lisa_ros.models.common.answers.steps import MaskLogits
from lisa_ros.models.common.image_handle import ImageHandle
from lisa_ros.models.common.preprocessing import ClipPreprocessing
from lisa_ros.models.lisa.image.crops import other_crops
from lisa_ros.models.lisa.network import LisaNetwork
from lisa_ros.models.lisa.sam.background import BackgroundEncoding, BackgroundWorker
from lisa_ros.models.lisa.sam.pixels import sam_pixels
from lisa_ros.segmentation.pointing import NO_POINTING, Pointing
from lisa_ros.segmentation.region import Region

Features = tuple[torch.Tensor, tuple[int, int]]
"""SAM's features (1, prompt_width, grid, grid), and the (h, w) of the image inside SAM's square input."""
FindRegion = Callable[[NDArray[np.uint8]], Region]
OUTSIDE = -30.0
"""Logit of pixels outside the part of the image that the networks are given."""


class ShownPart:
    """The part of an image that the networks are given: all of it, or a region that is found once."""

    def __init__(self, image: NDArray[np.uint8], find: FindRegion | None) -> None:
        """Takes RGB uint8 (H, W, 3); nothing is computed yet."""
        height, width = image.shape[:2]
        self._image, self._find, self._lock = image, find, threading.Lock()
        self._region = Region(0, 0, height, width) if find is None else None

    @property
    def region(self) -> Region:
        """Which part it is."""
        with self._lock:
            if self._region is None:
                assert self._find is not None
                self._region = self._find(self._image)
            return self._region

    def pixels(self) -> NDArray[np.uint8]:
        """RGB uint8 (h, w, 3)."""
        return np.ascontiguousarray(self.region.of(self._image))

    def placed(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (h, w) of the part -> (H, W) of the image, OUTSIDE elsewhere."""
        size = self._image.shape[:2]
        if logits.shape == size:
            return logits
        whole = np.full(size, OUTSIDE, dtype=np.float32)
        self.region.of(whole)[:] = logits
        return whole


class EncodedImage(ImageHandle):
    """An image and its features, each computed when it is first needed. Safe to share between threads."""

    def __init__(
        self,
        image: NDArray[np.uint8],
        network: LisaNetwork,
        clip: ClipPreprocessing,
        background: BackgroundWorker | None = None,
        find_region: FindRegion | None = None,
    ) -> None:
        """Takes an image; nothing is computed yet.

        Args:
            image: RGB uint8 (H, W, 3).
            network: computes the features.
            clip: makes CLIP's input.
            background: runs SAM's encoder while LLaMA generates; None: it runs when a mask is decoded.
            find_region: finds the part of the image that CLIP and SAM are given; None: all of it.
        """
        super().__init__(image)
        self._network, self._clip = network, clip
        self._clip_lock, self._sam_lock = threading.Lock(), threading.Lock()
        self._visual_tokens: torch.Tensor | None = None
        self._features: Features | None = None
        # Not a method of this object: a reference cycle would leave GPU memory to the garbage collector.
        self._part = ShownPart(image, find_region)
        self._encode = partial(_encode_for_masks, self._part, network)
        self._crops: dict[Region, EncodedImage] = {}
        self._crops_lock = threading.Lock()
        self._background = BackgroundEncoding(self._encode, background) if background else None

    def other_crops(self) -> Iterator[EncodedImage]:
        """Other crops of the same image, see `crops`. Each is encoded when it is first needed, and kept."""
        yield from map(self._crop, other_crops(self._part.region, self.size))

    def _crop(self, region: Region) -> EncodedImage:
        with self._crops_lock:
            if region not in self._crops:
                self._crops[region] = EncodedImage(self.image, self._network, self._clip, find_region=lambda _: region)
            return self._crops[region]

    def visual_tokens(self) -> torch.Tensor:
        """The image as LLaMA's input: (patches, hidden)."""
        with self._clip_lock, torch.inference_mode():
            tokens = self._visual_tokens  # read once: `release` may drop it at any moment
            if tokens is None:
                tokens = self._visual_tokens = self._network.visual_tokens(self._clip(self._part.pixels()))[0]
            return tokens

    @contextmanager
    def expecting_masks(self) -> Iterator[None]:
        """While an answer is generated: SAM's encoder may start. It stops where all answers end without a mask."""
        if self._background is None or self._features is not None:
            yield
            return
        self._background.start()
        try:
            yield
        finally:
            self._background.stop()

    def mask_logits(self, state: torch.Tensor, pointing: Pointing = NO_POINTING) -> MaskLogits:
        """The mask for the state (1, hidden) that predicted `[SEG]`, and for points and boxes of the operator.

        Raises:
            NotFiniteError: a logit is NaN or infinite.
        """
        features, resized = self._sam_features()
        with torch.inference_mode():
            low = self._network.mask_logits(state, features, self._pointing_prompts(pointing, resized))
            part = self._part.region
            full = self._network.upsample(low, resized, (part.height, part.width))
            height, width = (math.ceil(side * low.shape[-1] / self._network.image_size) for side in resized)
            shown = part.area / (self.size[0] * self.size[1])
            return MaskLogits(self._part.placed(full[0].cpu().numpy()), low[0, :height, :width].cpu().numpy(), shown)

    def shows(self, pointing: Pointing) -> bool:
        """Whether the networks are given the points, and the middles of the boxes."""
        middles = [(x + width / 2 - 0.5, y + height / 2 - 0.5) for x, y, width, height in pointing.boxes]
        return all(self._part.region.holds(*point) for point in (*pointing.points, *middles))

    def _pointing_prompts(self, pointing: Pointing, resized: tuple[int, int]) -> torch.Tensor | None:
        """SAM's prompts for points and boxes, whose coordinates scale with the image (SamPredictor, apply_coords)."""
        if not pointing:
            return None
        part, device = self._part.region, self._network.visual_model.prompt_encoder.no_mask_embed.weight.device
        scale = torch.tensor([resized[1] / part.width, resized[0] / part.height], device=device)
        corner = torch.tensor([part.left, part.top], device=device)
        points = (torch.tensor(pointing.points, dtype=torch.float32, device=device).reshape(-1, 2) - corner) * scale
        box = None
        if pointing.boxes:
            x, y, box_width, box_height = pointing.boxes[0]
            corners = torch.tensor([x, y, x + box_width, y + box_height], device=device)
            box = (corners - corner.repeat(2)) * scale.repeat(2)
        return self._network.pointing_prompts(points, box)

    def _sam_features(self) -> Features:
        with self._sam_lock:
            features = self._features
            if features is None:
                features = self._background.result() if self._background else self._encode(lambda: True)
                self._features = features
            assert features is not None
            return features

    def _forget(self) -> None:
        with self._crops_lock:
            crops, self._crops = list(self._crops.values()), {}
        for crop in crops:
            crop.release()
        self._visual_tokens = self._features = None
        if self._background is not None:
            self._background.clear()


def _encode_for_masks(part: ShownPart, network: LisaNetwork, needed: Callable[[], bool]) -> Features | None:
    """SAM's features; None where `needed` returned False in between."""
    with torch.inference_mode():
        pixels, resized = sam_pixels(part.pixels(), network.image_size)
        features = network.sam_features_while(needed, pixels)
        return None if features is None else (features, resized)
