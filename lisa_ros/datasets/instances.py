# SPDX-License-Identifier: Apache-2.0
"""COCO's instances.json: images and annotated objects by number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lisa_ros.datasets.files import read_json_file
from lisa_ros.datasets.masks import decode_segmentation
from lisa_ros.datasets.samples import DataError, Truth, shown

_MAX_PIXELS = 2**28
"""A mask of an image takes a byte for each pixel that the file claims."""


@dataclass(frozen=True)
class CocoImage:
    """An image's file name, without a folder, and its size (H, W)."""

    file_name: str
    size: tuple[int, int]


class Instances:
    """The images and annotations of one instances.json.

    Attributes:
        file: where it was read.
    """

    def __init__(self, file: Path) -> None:
        """Reads the file. COCO's own take some seconds and about 1 GB of memory, which `keep` frees.

        Raises:
            DataError: it is missing, no instances.json, or two of its images or annotations have the same id.
        """
        self.file = file
        content = read_json_file(file)
        if not isinstance(content, dict):
            raise DataError(f"{file} is not an instances.json: an object with images and annotations is expected")
        self._images = _by_number(file, "images", content)
        self._annotations = _by_number(file, "annotations", content)
        self._categories: dict[Any, str] = {}
        for entry in _entries(file, "categories", content) if "categories" in content else ():
            try:
                self._categories[entry["id"]] = _text(entry["name"])
            except (KeyError, TypeError) as error:
                raise _not_expected(file, f"the entry {shown(entry)} in 'categories'", "an id and a name") from error

    def numbers(self) -> Iterator[int]:
        """The numbers of the images, in the file's order."""
        return iter(self._images)

    def labels(self) -> Iterator[tuple[int, int, str]]:
        """For each annotation: its number, its image's number, and the name of its category.

        Raises:
            DataError: an annotation lacks image_id or category_id, or there is no such category.
        """
        for number, annotation in self._annotations.items():
            image, category = annotation.get("image_id"), annotation.get("category_id")
            try:
                found = number, int(image), self._categories[category]
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise DataError(
                    f"{self.file}: annotation {number} has image_id {shown(image)} and category_id {shown(category)}; "
                    "the number of an image and the id of one of the categories are expected"
                ) from error
            yield found

    def keep(self, annotations: Iterable[int]) -> None:
        """Forgets all other annotations."""
        wanted = set(annotations)
        self._annotations = {number: one for number, one in self._annotations.items() if number in wanted}

    def image(self, number: int) -> CocoImage:
        """An image.

        Raises:
            DataError: there is none of this number, or its entry is not in COCO's format.
        """
        if number not in self._images:
            raise DataError(f"{self.file} has no image {number}")
        image = self._images[number]
        name, height, width = (image.get(key) for key in ("file_name", "height", "width"))
        try:
            found = CocoImage(_text(name), (int(height), int(width)))
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(
                f"{self.file}: image {number} has file_name {shown(name)}, height {shown(height)} and width "
                f"{shown(width)}; a text and two whole numbers are expected"
            ) from error
        height, width = found.size
        if height < 1 or width < 1 or height * width > _MAX_PIXELS:
            raise DataError(
                f"{self.file}: image {number} has height {height!s:.40} and width {width!s:.40}; "
                f"1 or more are expected, and {_MAX_PIXELS} pixels at most"
            )
        return found

    def truth(self, annotations: Sequence[int], size: tuple[int, int]) -> Truth:
        """The mask of all these objects together, (H, W) = size; none for no objects.

        Raises:
            DataError: an annotation is missing or its segmentation is damaged.
        """
        together = np.zeros(size, dtype=np.bool_)
        for number in annotations:
            annotation: Any = self._annotations.get(number)
            if not isinstance(annotation, dict) or "segmentation" not in annotation:
                raise DataError(f"{self.file} has no annotation {number} with a segmentation")
            try:
                together |= decode_segmentation(annotation["segmentation"], size)
            except DataError as error:
                raise DataError(f"{self.file}: annotation {number}: {error}") from error
        return together.astype(np.uint8)

    def image_of(self, annotation: int) -> CocoImage:
        """The image that an annotation belongs to.

        Raises:
            DataError: one of them is missing.
        """
        found: Any = self._annotations.get(annotation)
        if not isinstance(found, dict) or not isinstance(found.get("image_id"), int):
            raise DataError(f"{self.file} has no annotation {annotation} with an image_id")
        return self.image(found["image_id"])


def _by_number(file: Path, what: str, content: Any) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for entry in _entries(file, what, content):
        try:
            number = int(entry["id"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise _not_expected(file, f"the entry {shown(entry)} in {what!r}", "a number as its id") from error
        if number in found:
            raise DataError(f"{file}: two of the {what} have the id {number}; each needs one of its own")
        found[number] = entry
    return found


def _entries(file: Path, what: str, content: dict[str, Any]) -> list[Any]:
    if what not in content:
        raise DataError(f"{file} is not an instances.json: it has no {what!r}; a list of objects is expected")
    entries = content[what]
    if not isinstance(entries, list):
        found = "null" if entries is None else shown(entries)
        raise DataError(f"{file} is not an instances.json: it has {found} for {what!r}; a list of objects is expected")
    return entries


def _not_expected(file: Path, found: str, wanted: str) -> DataError:
    return DataError(f"{file} is not an instances.json: it has {found}; an object with {wanted} is expected")


def _text(value: Any) -> str:
    if not isinstance(value, str | int | float):
        raise TypeError(f"{type(value).__name__} instead of a text")
    return str(value)
