# SPDX-License-Identifier: Apache-2.0
"""A picture, and what it costs to look at: paid once, and shared by all who ask about it."""

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
"""Local views that a picture remembers; each takes 256 positions' embeddings, 1 MiB in LIRA-2B."""


@dataclass(frozen=True)
class Visual:
    """Something seen, as the language model is shown it.

    Attributes:
        number: its own, negative, to stand for it among ids.
        tokens: (positions, hidden).
    """

    number: int
    tokens: torch.Tensor


class EncodedImage(ImageHandle):
    """A picture, and what was computed of it when it was first needed. Safe to share between threads.

    Attributes:
        prefill_lock: held by who reads the picture into the language model, so that the others find it read.
    """

    def __init__(self, image: NDArray[np.uint8], network: LiraNetwork, config: LiraConfig) -> None:
        """Takes an RGB uint8 (H, W, 3) image; nothing is computed yet."""
        super().__init__(image)
        self._network = network
        self._side, self._tile = config.omg.image_size, config.tile
        self._lock = threading.Lock()
        self._seen: EncodedPixels | None = None
        self._visuals: dict[TileLimits, Visual] = {}
        self._local: OrderedDict[bytes, Visual] = OrderedDict()

    @property
    def numbers(self) -> list[int]:
        """Those of all that was seen of it."""
        with self._lock:
            return [visual.number for visual in (*self._visuals.values(), *self._local.values())]

    def visual(self, limits: TileLimits = ANSWER_TILES) -> Visual:
        """What the language model sees of the whole picture, cut into so many tiles."""
        with self._lock, torch.inference_mode():
            if limits not in self._visuals:
                tiles = tile_pixels(cut_tiles(self.image, limits, self._tile))
                self._visuals[limits] = _numbered(self._network.visual_tokens(tiles, self._look()))
            return self._visuals[limits]

    def local(self, mask: NDArray[np.bool_]) -> Visual:
        """What the language model sees when it looks at an object closely: InternVL's tokens of one tile.

        Args:
            mask: (H, W), the object's.
        """
        key = hashlib.sha256(np.packbits(mask).tobytes()).digest()
        with self._lock, torch.inference_mode():
            if key not in self._local:
                tile = local_tile(local_view(self.image, mask), self._tile)
                self._local[key] = _numbered(self._network.eye(tile_pixels([tile]))[0])
            self._local.move_to_end(key)
            while len(self._local) > MAX_LOCAL:
                self._local.popitem(last=False)
            return self._local[key]

    def mask_logits(self, state: torch.Tensor) -> MaskLogits:
        """The mask for the state (1, hidden) at a `[SEG]`."""
        with self._lock, torch.inference_mode():
            low = self._network.mask_logits(state, self._look().features)
            full = upsample(low, self.size)[0]
            return MaskLogits(full.cpu().numpy(), within_square(low[0], self.size).cpu().numpy())

    def _forget(self) -> None:
        with self._lock:
            self._seen = None
            self._visuals.clear()
            self._local.clear()

    def _look(self) -> EncodedPixels:
        """OMG-Seg's part; called with the lock held."""
        if self._seen is None:
            self._seen = self._network.omg.encode(omg_pixels(self.image, self._side))
        return self._seen


def _numbered(tokens: torch.Tensor) -> Visual:
    return Visual(new_number(), tokens)
