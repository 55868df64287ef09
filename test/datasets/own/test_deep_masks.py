# SPDX-License-Identifier: Apache-2.0
"""Mask images of 16 bits, and in colour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tiny_datasets import BLUE_BOX, HEIGHT, RED_BOX, WIDTH, box_mask, write_image

from lisa_ros.datasets.own.reading import read_folder

SIZE = (HEIGHT, WIDTH)


def write_mask(folder: Path, pixels: NDArray[Any]) -> Path:
    """A data set of one image; its mask's pixels are grey (H, W), or RGB (H, W, 3)."""
    write_image(folder / "images" / "a.png")
    mask = folder / "masks" / "a.png"
    mask.parent.mkdir()
    cv2.imwrite(str(mask), pixels if pixels.ndim == 2 else pixels[:, :, ::-1])
    return mask


def rgb16(first: tuple[int, int, int], second: tuple[int, int, int]) -> NDArray[np.uint16]:
    pixels = np.zeros((*SIZE, 3), dtype=np.uint16)
    pixels[box_mask(RED_BOX)], pixels[box_mask(BLUE_BOX)] = first, second
    return pixels


def test_masks_of_16_bits_keep_their_values(tmp_path: Path) -> None:
    """In 8 bits, both objects would have the value 1."""
    write_mask(tmp_path, rgb16((300, 300, 300), (301, 301, 301)))
    (tmp_path / "labels.json").write_text('{"300": "mug", "301": "plate"}')
    (sample,) = read_folder(tmp_path)
    assert sample.problem is None
    assert [one.text for one in sample.rounds] == ["mug", "plate"]
    assert np.array_equal(sample.rounds[0].truth() == 1, box_mask(RED_BOX))
    assert np.array_equal(sample.rounds[1].truth() == 1, box_mask(BLUE_BOX))


def test_colours_of_16_bits_are_not_taken_for_others(tmp_path: Path) -> None:
    mask = write_mask(tmp_path, rgb16((257 * 200, 0, 0), (0, 0, 257 * 200)))
    (tmp_path / "labelmap.txt").write_text("mug:200,0,0::\nplate:0,0,200::\n")
    (sample,) = read_folder(tmp_path)
    assert sample.problem is None and np.array_equal(sample.rounds[1].truth() == 1, box_mask(BLUE_BOX))
    cv2.imwrite(str(mask), rgb16((257 * 200 + 1, 0, 0), (0, 0, 257 * 200)))
    assert f"{mask} has colours of 16 bits, labelmap.txt of 8; save it" in (read_folder(tmp_path)[0].problem or "")


def test_a_colour_mask_with_numbers_for_labels_is_refused(tmp_path: Path) -> None:
    mask = write_mask(tmp_path, rgb16((1, 0, 0), (0, 0, 1)))
    (tmp_path / "labels.json").write_text('{"1": "mug"}')
    assert f"{mask} is in colour, but its labels are numbers" in (read_folder(tmp_path)[0].problem or "")
    (tmp_path / "labels.json").unlink()
    (tmp_path / "texts.json").write_text('{"a": "both squares"}')
    (sample,) = read_folder(tmp_path)
    assert np.array_equal(sample.rounds[0].truth() == 1, box_mask(RED_BOX, BLUE_BOX))
