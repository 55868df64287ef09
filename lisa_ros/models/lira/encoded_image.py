# SPDX-License-Identifier: Apache-2.0
"""An encoded image: computed once, when it is first needed, and shared by all sessions."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lisa_ros.models.common.answers.steps import MaskLogits
from lisa_ros.models.common.image_handle import ImageHandle, new_number
from lisa_ros.models.lira.configuration import LiraConfig
from lisa_ros.models.lira.network import LiraNetwork
from lisa_ros.models.lira.omg_seg.network import EncodedPixels, upsample, within_square
from lisa_ros.models.lira.vision.preprocessing import (
    ANSWER_TILES,
    TileLimits,
    cut_tiles,
    local_tile,
    local_view,
    omg_pixels,
    tile_pixels,
)

MAX_LOCAL = 64
"""Local views that are kept per image; each takes the embeddings of 256 positions, 1 MiB in LIRA-2B."""


@dataclass(frozen=True)
class Visual:
    """A visual input of the language model.

    Attributes:
        number: unique and negative; stands for the input among token ids.
        tokens: (positions, hidden).
    """

    number: int
    tokens: torch.Tensor


class EncodedImage(ImageHandle):
    """An image and what has been computed of it. Safe to share between threads.

    Attributes:
        prefill_lock: held during the image's prefill, so that concurrent commands find it cached.
    """

    def __init__(self, image: NDArray[np.uint8], network: LiraNetwork, config: LiraConfig) -> None:
        """Takes an RGB uint8 (H, W, 3) image; nothing is computed yet."""
        super().__init__(image)
        self._network = network
        self._side, self._tile = config.omg.image_size, config.tile
        self._lock = threading.Lock()
        self._pixels: EncodedPixels | None = None
        self._visuals: dict[TileLimits, Visual] = {}
        self._local: OrderedDict[bytes, Visual] = OrderedDict()

    @property
    def numbers(self) -> list[int]:
        """The numbers of all visual inputs that have been computed of it."""
        with self._lock:
            return [visual.number for visual in (*self._visuals.values(), *self._local.values())]

    def visual(self, limits: TileLimits = ANSWER_TILES) -> Visual:
        """The language model's input for the whole image, cut into tiles."""
        with self._lock, torch.inference_mode():
            if limits not in self._visuals:
                tiles = tile_pixels(cut_tiles(self.image, limits, self._tile))
                self._visuals[limits] = _numbered(self._network.visual_tokens(tiles, self._encoded_pixels()))
            return self._visuals[limits]

    def local(self, mask: NDArray[np.bool_]) -> Visual:
        """The language model's input for a local view of an object: InternVL's tokens of one tile.

        Args:
            mask: (H, W), of the object.
        """
        key = hashlib.sha256(np.packbits(mask).tobytes()).digest()
        with self._lock, torch.inference_mode():
            if key not in self._local:
                tile = local_tile(local_view(self.image, mask), self._tile)
                self._local[key] = _numbered(self._network.internvl(tile_pixels([tile]))[0])
            self._local.move_to_end(key)
            while len(self._local) > MAX_LOCAL:
                self._local.popitem(last=False)
            return self._local[key]

    def mask_logits(self, state: torch.Tensor) -> MaskLogits:
        """The mask for the state (1, hidden) at a `[SEG]`."""
        with self._lock, torch.inference_mode():
            low = self._network.mask_logits(state, self._encoded_pixels().features)
            full = upsample(low, self.size)[0]
            return MaskLogits(full.cpu().numpy(), within_square(low[0], self.size).cpu().numpy())

    def _forget(self) -> None:
        with self._lock:
            self._pixels = None
            self._visuals.clear()
            self._local.clear()

    def _encoded_pixels(self) -> EncodedPixels:
        """OMG-Seg's part of the encoding; called with the lock held."""
        if self._pixels is None:
            self._pixels = self._network.omg.encode(omg_pixels(self.image, self._side))
        return self._pixels


def _numbered(tokens: torch.Tensor) -> Visual:
    return Visual(new_number(), tokens)
