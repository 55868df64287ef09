# SPDX-License-Identifier: Apache-2.0
"""An encoded image: computed once, when it is first needed, and shared by all sessions."""

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
from lisa_ros.models.segllm.visual_reference import VisualReference


class EncodedImage(ImageHandle):
    """An image and what has been computed of it. Safe to share between threads.

    Attributes:
        number: unique and negative; stands for the image among token ids.
        prefill_lock: held during the image's prefill, so that concurrent commands find it cached.
        image: RGB uint8 (H, W, 3).
        canvas: the image on HIPIE's square.
    """

    def __init__(self, image: NDArray[np.uint8], network: SegllmNetwork, clip: ClipPreprocessing) -> None:
        """Takes an RGB uint8 (H, W, 3) image. Only its canvas is computed yet."""
        super().__init__(image)
        self.canvas = Canvas.of(image)
        self._network, self._clip = network, clip
        self._clip_lock, self._features_lock = threading.Lock(), threading.Lock()
        self._patches: torch.Tensor | None = None
        self._references: dict[int, torch.Tensor] = {}
        self._features: Features | None = None

    def patches(self) -> torch.Tensor:
        """LLaMA's input for the image: (patches, hidden)."""
        with self._clip_lock, torch.inference_mode():
            patches = self._patches  # read once: `release` may drop it at any moment
            if patches is None:
                patches = self._patches = self._network.image_features(self._clip(self.image))
            return patches

    def reference(self, referenced: VisualReference) -> torch.Tensor:
        """LLaMA's input for a referenced object: (2, hidden)."""
        with self._clip_lock, torch.inference_mode():
            features = self._references.get(referenced.number)
            if features is None:
                box = torch.tensor(referenced.box)
                features = self._network.reference_features(self._clip(referenced.pixels), box)
                self._references[referenced.number] = features
            return features

    def features(self) -> Features:
        """HIPIE's features of the image, before text is fused into them."""
        with self._features_lock, torch.inference_mode():
            features = self._features
            if features is None:
                pixels = self.canvas.normalized().to(self._network.device)
                features = self._features = self._network.hipie.encode(pixels)
            return features

    def _forget(self) -> None:
        self._patches, self._features = None, None
        self._references = {}
