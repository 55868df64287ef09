# SPDX-License-Identifier: Apache-2.0
"""Images with masks as image files: one mask for each label, or one whose values or colours stand for labels.

    images/NAME.jpg  masks/LABEL/NAME.png                      every pixel that is not black belongs to LABEL
    images/NAME.jpg  masks/NAME.png  labels.json               {"1": "mug", "2": "plate"}; 0 background, 255 ignored
    NAME.jpg         NAME_mask.png   _classes.csv              the same, as Roboflow exports it
    JPEGImages/      SegmentationClass/NAME.png  labelmap.txt  colours, as CVAT exports Pascal VOC masks

With masks/NAME.png and no file of labels, every pixel that is not black belongs to what texts.json has for NAME.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lisa_ros.datasets.files import image_files, read_json_file
from lisa_ros.datasets.own.texts import Texts, rounds_of
from lisa_ros.datasets.samples import IGNORE, DataError, Round, Sample, Truth
from lisa_ros.segmentation.files.image_files import read_pixels
from lisa_ros.segmentation.files.text_files import MOST_BYTES, read_text

_BACKGROUND = ("background", "_background_")
_SUFFIX = "_mask"

Colour = tuple[int, int, int]
Key = int | Colour | None
"""A label's value or RGB colour in a mask; None: every pixel that is not black."""


@dataclass(frozen=True)
class MaskTruth:
    """Reads the pixels of a label from a mask file, when called."""

    file: Path
    key: Key

    def __call__(self) -> Truth:
        """The truth. Raises a DataError where the file cannot be read."""
        pixels = _read(self.file, in_colour=isinstance(self.key, tuple))
        if self.key is None:
            marked: Truth = (pixels if pixels.ndim == 2 else pixels.any(axis=2)).astype(bool).astype(np.uint8)
            return marked
        if isinstance(self.key, tuple):
            coloured: Truth = (pixels == np.array(self.key)).all(axis=2).astype(np.uint8)
            return coloured
        truth: Truth = (pixels == self.key).astype(np.uint8)
        if self.key != IGNORE:
            truth[pixels == IGNORE] = IGNORE
        return truth


def mask_folder(folder: Path) -> Path | None:
    """The folder of masks of a data set in one of these layouts; None: it has none of them."""
    named = next((folder / name for name in ("masks", "SegmentationClass") if (folder / name).is_dir()), None)
    return named or (folder if any(folder.glob(f"*{_SUFFIX}.png")) else None)


def read_mask_images(folder: Path, texts: Texts) -> list[Sample]:
    """Reads a folder in one of this module's layouts; an image without a mask makes a sample with a problem.

    Raises:
        DataError: there are no images, or the file of labels is damaged.
    """
    masks = mask_folder(folder)
    assert masks is not None
    home = next((folder / name for name in ("images", "JPEGImages") if (folder / name).is_dir()), folder)
    images = [file for file in image_files(home) if not file.stem.endswith(_SUFFIX)]
    if not images:
        raise DataError(f"{home} has no images beside the masks in {masks}")
    folders = sorted(entry for entry in masks.iterdir() if entry.is_dir()) if masks != folder else []
    if folders:
        return [_sample(image, partial(_in_folders, image, folders, texts), masks) for image in images]
    labels = _labels(folder, masks)
    return [_sample(image, partial(_in_one_file, image, masks, labels, texts), masks) for image in images]


def _sample(image: Path, read: Callable[[], list[Round]], masks: Path) -> Sample:
    try:
        rounds = read()
    except DataError as error:
        return Sample(image.name, image, problem=str(error))
    problem = None if rounds else f"{image} has no mask with a labelled pixel in {masks}"
    return Sample(image.name, image, tuple(rounds), problem=problem)


def _in_folders(image: Path, folders: list[Path], texts: Texts) -> list[Round]:
    rounds: list[Round] = []
    for folder in folders:
        if (file := folder / f"{image.stem}.png").is_file():
            rounds += _rounds(folder.name, MaskTruth(file, None), texts)
    return rounds


def _in_one_file(image: Path, masks: Path, labels: Mapping[Key, str], texts: Texts) -> list[Round]:
    """The rounds of an image. Raises a DataError that says why there are none."""
    file = next((f for f in (masks / f"{image.stem}.png", masks / f"{image.stem}{_SUFFIX}.png") if f.is_file()), None)
    if file is None:
        raise DataError(f"{image} has no mask; looked for {masks / f'{image.stem}.png'}")
    if not labels:
        if image.stem not in texts:
            raise DataError(f"nothing names the object of {file}; add labels.json, or {image.stem!r} to texts.json")
        return _rounds(image.stem, MaskTruth(file, None), texts)
    present = _present(file, labels)
    return [one for key, label in present for one in _rounds(label, MaskTruth(file, key), texts)]


def _rounds(label: str, truth: MaskTruth, texts: Texts) -> list[Round]:
    try:
        return rounds_of(label, truth, texts)
    except DataError as error:
        raise DataError(f"{truth.file}: {error}") from error


def _present(file: Path, labels: Mapping[Key, str]) -> list[tuple[Key, str]]:
    """The labels that a mask has pixels of."""
    in_colour = any(isinstance(key, tuple) for key in labels)
    pixels = _read(file, in_colour=in_colour)
    found: set[Key]
    if in_colour:
        found = {(int(r), int(g), int(b)) for r, g, b in np.unique(pixels.reshape(-1, 3), axis=0)}
    elif pixels.ndim == 3:
        raise DataError(f"{file} is in colour, but its labels are numbers; save it in grey, or add a labelmap.txt")
    else:
        found = {int(value) for value in np.unique(pixels)}
    unknown = found - labels.keys() - {0, IGNORE, (0, 0, 0)}
    if unknown:
        raise DataError(f"{file} has the values {sorted(unknown, key=str)!s:.80}, which no label has")
    return [(key, label) for key, label in labels.items() if key in found and label.lower() not in _BACKGROUND]


def _read(file: Path, *, in_colour: bool) -> NDArray[Any]:
    """(H, W, 3) RGB uint8 in colour, else (H, W) values: of a palette image its indices.

    Without `in_colour`, an image whose channels differ is (H, W, 3) nevertheless.
    """
    try:
        with Image.open(file) as image:
            if not in_colour and image.mode in ("P", "L", "1", "I;16", "I"):
                return np.asarray(image if image.mode != "1" else image.convert("L"))
        pixels = read_pixels(file)
    except Exception as error:  # Pillow has several for damaged files, and one for those that claim too many pixels
        raise DataError(f"{file} cannot be read as a mask: {error}") from error
    if pixels.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{file} has pixels of {pixels.dtype}; those of a mask have 8 or 16 bits")
    if in_colour:
        return _of_8_bits(file, pixels)
    return pixels if (pixels != pixels[:, :, :1]).any() else pixels[:, :, 0]


def _of_8_bits(file: Path, colours: NDArray[Any]) -> NDArray[np.uint8]:
    """Colours as labelmap.txt has them; a DataError where different ones of 16 bits would become the same."""
    if colours.dtype == np.uint16:
        if (colours % 257).any():
            raise DataError(f"{file} has colours of 16 bits, labelmap.txt of 8; save it with 8 bits for each channel")
        colours = colours // 257
    return colours.astype(np.uint8)


def _labels(folder: Path, masks: Path) -> dict[Key, str]:
    """From labels.json, _classes.csv or labelmap.txt; empty where there is none."""
    for home in dict.fromkeys((folder, masks)):
        if (file := home / "labels.json").is_file():
            return _labels_json(file)
        if (file := home / "_classes.csv").is_file():
            return _labels_csv(file)
        if (file := home / "labelmap.txt").is_file():
            return _labels_map(file)
    return {}


def _labels_json(file: Path) -> dict[Key, str]:
    content = read_json_file(file, most_bytes=MOST_BYTES)
    try:
        return {int(value): _label(label) for value, label in content.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(f'{file} is no JSON object {{"1": "label", ...}} ({error})') from error


def _labels_csv(file: Path) -> dict[Key, str]:
    lines = read_text(file, DataError).splitlines()
    try:
        rows = list(csv.reader(lines))
        return {int(row[0]): row[1].strip() for row in rows[1:] if row}
    except (ValueError, IndexError, csv.Error) as error:
        raise DataError(f"{file} is not a table of pixel values and classes ({error})") from error


def _label(value: Any) -> str:
    if not isinstance(value, str | int | float):
        raise TypeError(f"{type(value).__name__} instead of a label")
    return str(value)


def _labels_map(file: Path) -> dict[Key, str]:
    labels: dict[Key, str] = {}
    for line in read_text(file, DataError).splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        try:
            red, green, blue = (int(part) for part in rest.split(":")[0].split(","))
        except ValueError as error:
            raise DataError(f"{file} has the line {line!r:.60}; NAME:RED,GREEN,BLUE:: is expected") from error
        labels[red, green, blue] = name.strip()
    return labels
