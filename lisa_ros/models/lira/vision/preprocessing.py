# SPDX-License-Identifier: Apache-2.0
"""The inputs of LIRA's two vision encoders, and the local view of an object; pixel for pixel as LIRA's tools.

Images are resized with PIL, because torchvision's and transformers' fast resizes give other pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

OMG_MEAN, OMG_STD = (0.4814, 0.4578, 0.4082), (0.2686, 0.2613, 0.2757)
"""Of RGB in 0..1. CLIP's, with the four digits of LIRA's configurations."""
PADDING = (122, 116, 104)
"""RGB of the padding around an image that is not square: OMG_MEAN in 0..255, truncated."""

TILE_MEAN, TILE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, of RGB in 0..1 (InternVL2)."""

LOCAL_BRIGHTNESS = 0.3
"""Brightness of the background in a local view, as a part of the original."""

Pixels = NDArray[np.uint8]
"""RGB (H, W, 3)."""


@dataclass(frozen=True)
class TileLimits:
    """How many tiles an image may be cut into, without the overview."""

    min_tiles: int
    max_tiles: int


ANSWER_TILES = TileLimits(1, 6)
"""As in LIRA's demo and training."""
REFERRING_TILES = TileLimits(4, 12)
"""As in its evaluation of referring expressions."""


def omg_pixels(image: Pixels, side: int) -> torch.Tensor:
    """OMG-Seg's input: the image in the middle of a square, resized (PIL bicubic), normalized.

    Args:
        image: RGB uint8 (H, W, 3).
        side: of the input, pixels.

    Returns:
        float32 (1, 3, side, side).
    """
    height, width = image.shape[:2]
    full = max(height, width)
    square = Image.new("RGB", (full, full), PADDING)
    square.paste(Image.fromarray(image), ((full - width) // 2, (full - height) // 2))
    resized = np.asarray(_resize(square, side, side))
    # The factor and the two constants in the order and types of transformers' processors, for equality to the last bit.
    scaled = (resized * (1 / 255)).astype(np.float32)
    mean, std = np.array(OMG_MEAN, dtype=np.float32), np.array(OMG_STD, dtype=np.float32)
    return torch.from_numpy(((scaled - mean) / std).transpose(2, 0, 1).copy()).unsqueeze(0)


def tile_grid(width: int, height: int, limits: TileLimits, side: int) -> tuple[int, int]:
    """(columns, rows) of the tiles: the grid whose shape is closest to the image's.

    If two are equally close, the one with more tiles, if the image has more than half of its pixels (InternVL2,
    dynamic_preprocess).
    """
    numbers = range(1, limits.max_tiles + 1)
    grids = {(i, j) for i in numbers for j in numbers if limits.min_tiles <= i * j <= limits.max_tiles}
    best, closest = (1, 1), float("inf")
    for columns, rows in sorted(grids, key=lambda grid: grid[0] * grid[1]):
        distance = abs(width / height - columns / rows)
        larger = distance == closest and width * height > 0.5 * side * side * columns * rows
        if distance < closest or larger:
            best, closest = (columns, rows), distance
    return best


def cut_tiles(image: Pixels, limits: TileLimits, side: int) -> list[Pixels]:
    """An image as square tiles, row by row; if there are several, also the whole image as one more tile.

    Args:
        image: RGB uint8 (H, W, 3).
        limits: number of tiles.
        side: of a tile, pixels.
    """
    height, width = image.shape[:2]
    columns, rows = tile_grid(width, height, limits, side)
    pil_image = Image.fromarray(image)
    resized = np.asarray(_resize(pil_image, columns * side, rows * side))
    tiles = [
        resized[row * side : (row + 1) * side, column * side : (column + 1) * side]
        for row in range(rows)
        for column in range(columns)
    ]
    return tiles if len(tiles) == 1 else [*tiles, np.asarray(_resize(pil_image, side, side))]


def _resize(pil_image: Image.Image, width: int, height: int) -> Image.Image:
    """Bicubic, rows first and then columns, each rounded: PIL 13 takes the cheaper order, earlier versions this one."""
    wide = pil_image.resize((width, pil_image.height), Image.Resampling.BICUBIC)
    return wide.resize((width, height), Image.Resampling.BICUBIC)


def tile_pixels(tiles: list[Pixels]) -> torch.Tensor:
    """InternViT's input: uint8 tiles (side, side, 3) -> float32 (n, 3, side, side), normalized."""
    stacked = torch.from_numpy(np.stack(tiles)).permute(0, 3, 1, 2).float() / 255
    return (stacked - torch.tensor(TILE_MEAN).view(3, 1, 1)) / torch.tensor(TILE_STD).view(3, 1, 1)


def local_view(image: Pixels, mask: NDArray[np.bool_]) -> Pixels:
    """The object's part of an image, with a darkened background; the whole darkened image for an empty mask.

    Args:
        image: RGB uint8 (H, W, 3).
        mask: (H, W).

    Returns:
        RGB uint8, size of the mask's bounding box.
    """
    dark = (image * LOCAL_BRIGHTNESS).astype(np.uint8)
    lit = np.where(mask[..., None], image, dark)
    if not mask.any():
        return lit
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.ascontiguousarray(lit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def local_tile(view: Pixels, side: int) -> Pixels:
    """A local view resized to a tile, (side, side, 3)."""
    return cut_tiles(view, TileLimits(1, 1), side)[0]
