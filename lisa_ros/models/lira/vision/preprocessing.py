# SPDX-License-Identifier: Apache-2.0
"""A camera picture as LIRA's two eyes want to see it, and the close look at an object; pixel for pixel as LIRA's tools.

PIL resizes, since torchvision's and transformers' fast resizes give other pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

OMG_MEAN, OMG_STD = (0.4814, 0.4578, 0.4082), (0.2686, 0.2613, 0.2757)
"""Of RGB in 0..1. CLIP's, to four digits: so LIRA's configurations have them."""
PADDING = (122, 116, 104)
"""RGB around a picture that is no square, OMG_MEAN in 0..255, cut off."""

TILE_MEAN, TILE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, of RGB in 0..1 (InternVL2)."""

LOCAL_BRIGHTNESS = 0.3
"""What is left of the background around an object that is looked at closely."""

Pixels = NDArray[np.uint8]
"""RGB (H, W, 3)."""


@dataclass(frozen=True)
class TileLimits:
    """How many tiles a picture may be cut into, the overview not counted."""

    fewest: int
    most: int


ANSWER_TILES = TileLimits(1, 6)
"""As LIRA's demo cuts pictures, and its training did."""
REFERRING_TILES = TileLimits(4, 12)
"""As its evaluation of referring expressions does."""


def omg_pixels(image: Pixels, side: int) -> torch.Tensor:
    """OMG-Seg's input: the picture in the middle of a square, resized (PIL bicubic), normalized.

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
    # The factor and the two constants in the order and types of transformers' processors, for the same last bit.
    scaled = (resized * (1 / 255)).astype(np.float32)
    mean, std = np.array(OMG_MEAN, dtype=np.float32), np.array(OMG_STD, dtype=np.float32)
    return torch.from_numpy(((scaled - mean) / std).transpose(2, 0, 1).copy()).unsqueeze(0)


def tile_grid(width: int, height: int, limits: TileLimits, side: int) -> tuple[int, int]:
    """(columns, rows) of the tiles: the grid whose shape is nearest to the picture's.

    Where two are equally near, the one with more tiles, if the picture has more than half of its pixels (InternVL2,
    dynamic_preprocess).
    """
    numbers = range(1, limits.most + 1)
    grids = {(i, j) for i in numbers for j in numbers if limits.fewest <= i * j <= limits.most}
    best, nearest = (1, 1), float("inf")
    for columns, rows in sorted(grids, key=lambda grid: grid[0] * grid[1]):
        distance = abs(width / height - columns / rows)
        larger = distance == nearest and width * height > 0.5 * side * side * columns * rows
        if distance < nearest or larger:
            best, nearest = (columns, rows), distance
    return best


def cut_tiles(image: Pixels, limits: TileLimits, side: int) -> list[Pixels]:
    """A picture as square tiles, row by row, and the whole of it squashed to one more if there are several.

    Args:
        image: RGB uint8 (H, W, 3).
        limits: how many.
        side: of a tile, pixels.
    """
    height, width = image.shape[:2]
    columns, rows = tile_grid(width, height, limits, side)
    picture = Image.fromarray(image)
    resized = np.asarray(_resize(picture, columns * side, rows * side))
    tiles = [
        resized[row * side : (row + 1) * side, column * side : (column + 1) * side]
        for row in range(rows)
        for column in range(columns)
    ]
    return tiles if len(tiles) == 1 else [*tiles, np.asarray(_resize(picture, side, side))]


def _resize(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Bicubic, rows first and then columns, each rounded: PIL 13 takes the order that costs less, earlier ones this."""
    wide = picture.resize((width, picture.height), Image.Resampling.BICUBIC)
    return wide.resize((width, height), Image.Resampling.BICUBIC)


def tile_pixels(tiles: list[Pixels]) -> torch.Tensor:
    """InternViT's input: uint8 tiles (side, side, 3) -> float32 (n, 3, side, side), normalized."""
    stacked = torch.from_numpy(np.stack(tiles)).permute(0, 3, 1, 2).float() / 255
    return (stacked - torch.tensor(TILE_MEAN).view(3, 1, 1)) / torch.tensor(TILE_STD).view(3, 1, 1)


def local_view(image: Pixels, mask: NDArray[np.bool_]) -> Pixels:
    """The object's part of a picture, what is not the object darkened; all of it, darkened, for an empty mask.

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
    """A local view squashed to a tile, (side, side, 3)."""
    return cut_tiles(view, TileLimits(1, 1), side)[0]
