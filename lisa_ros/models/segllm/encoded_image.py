# SPDX-License-Identifier: Apache-2.0
"""A picture, and what it costs to look at: paid once, and shared by all who ask about it."""

from __future__ import annotations

import threading

import numpy as np
import torch
from numpy.typing import NDArray

from lisa_ros.models.common.image_handle import ImageHandle
from lisa_ros.models.common.preprocessing import ClipPreprocessing
from lisa_ros.models.segllm.hipie.canvas import Canvas
from lisa_ros.models.segllm.hipie.network import Features
from lisa_ros.models.segllm.network import SegllmNetwork
from lisa_ros.models.segllm.shown import Shown


class EncodedImage(ImageHandle):
    """A picture, and what was computed of it when it was first needed. Safe to share between threads.

    Attributes:
        number: its own, negative, to stand for it among ids.
        prefill_lock: held by who reads the picture into LLaMA, so that the others find it read.
        image: RGB uint8 (H, W, 3).
        canvas: the same on HIPIE's square.
    """

    def __init__(self, image: NDArray[np.uint8], network: SegllmNetwork, clip: ClipPreprocessing) -> None:
        """Takes an RGB uint8 (H, W, 3) image; nothing is computed yet but its canvas."""
        super().__init__(image)
        self.canvas = Canvas.of(image)
        self._network, self._clip = network, clip
        self._clip_lock, self._features_lock = threading.Lock(), threading.Lock()
        self._patches: torch.Tensor | None = None
        self._references: dict[int, torch.Tensor] = {}
        self._features: Features | None = None

    def patches(self) -> torch.Tensor:
        """What LLaMA sees of the picture: (patches, hidden)."""
        with self._clip_lock, torch.inference_mode():
            if self._patches is None:
                self._patches = self._network.picture_features(self._clip(self.image))
            return self._patches

    def reference(self, shown: Shown) -> torch.Tensor:
        """What LLaMA sees of an object: (2, hidden)."""
        with self._clip_lock, torch.inference_mode():
            if shown.number not in self._references:
                box = torch.tensor(shown.box)
                features = self._network.reference_features(self._clip(shown.pixels), box)
                self._references[shown.number] = features
            return self._references[shown.number]

    def features(self) -> Features:
        """What HIPIE sees, before any words."""
        with self._features_lock, torch.inference_mode():
            if self._features is None:
                pixels = self.canvas.normalized().to(self._network.device)
                self._features = self._network.hipie.encode(pixels)
            return self._features

    def _forget(self) -> None:
        self._patches, self._features = None, None
        self._references = {}
