# SPDX-License-Identifier: Apache-2.0
"""Masks that are read from image files."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.image_files import read_image, read_mask

OBJECT = np.zeros((6, 8), dtype=bool)
OBJECT[1:4, 2:7] = True


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("value", [1, 7, 128, 255])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_value_but_0_is_the_object(tmp_path: Path, kind: Any, value: int, channels: int) -> None:
    pixels: NDArray[Any] = np.where(OBJECT, value, 0).astype(kind)
    if channels == 3:
        pixels = np.stack([np.zeros_like(pixels), pixels, np.zeros_like(pixels)], axis=2)
    cv2.imwrite(str(tmp_path / "mask.png"), pixels)
    assert np.array_equal(read_mask(tmp_path / "mask.png"), OBJECT)


def test_of_16_bits_grey_values_are_no_image_but_colours_are(tmp_path: Path) -> None:
    """The upper 8 bits of depth in millimetres are a nearly black image, in which nothing is found."""
    depth = np.full((6, 8), 800, dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "depth.png"), depth)
    with pytest.raises(ValueError, match="has 16-bit grey values, as depth has"):
        read_image(tmp_path / "depth.png")
    cv2.imwrite(str(tmp_path / "colour.png"), np.stack([depth * 80] * 3, axis=2))
    assert read_image(tmp_path / "colour.png").max() == 800 * 80 // 256


def test_large_numbers_of_objects_and_one_bit(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "large.png"), np.where(OBJECT, 256, 0).astype(np.uint16))
    Image.fromarray(OBJECT).save(tmp_path / "bit.png")
    for name in ("large.png", "bit.png"):
        assert np.array_equal(read_mask(tmp_path / name), OBJECT)


def test_of_one_channel_of_floating_point(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "mask.pfm"), np.where(OBJECT, 0.25, 0.0).astype(np.float32))
    assert np.array_equal(read_mask(tmp_path / "mask.pfm"), OBJECT)


def test_of_a_palette_black_is_not_the_object(tmp_path: Path) -> None:
    image = Image.fromarray(OBJECT.astype(np.uint8))
    image.putpalette([0, 0, 0, 1, 0, 0])
    image.save(tmp_path / "palette.png")
    assert np.array_equal(read_mask(tmp_path / "palette.png"), OBJECT)


def test_an_image_with_too_many_pixels_is_refused_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoded, a PNG of 0.9 MB with 30,000 x 30,000 pixels takes 14 GiB."""
    chunks = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in (
        (b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)),
        (b"IDAT", b""),
        (b"IEND", b""),
    ):
        chunks.append(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
    (tmp_path / "huge.png").write_bytes(b"".join(chunks))
    with pytest.raises(LisaError, match=r"huge\.png has more than 89 million pixels, which are the most"):
        read_image(tmp_path / "huge.png")
    cv2.imwrite(str(tmp_path / "small.png"), np.zeros((6, 8, 3), np.uint8))
    for most in (40, 20):  # Pillow itself only warns up to twice its limit
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
        with pytest.raises(LisaError, match="has more than 0 million pixels"):
            read_image(tmp_path / "small.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # as who knows better switches it off
    assert read_image(tmp_path / "small.png").shape == (6, 8, 3)
