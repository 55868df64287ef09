# SPDX-License-Identifier: Apache-2.0
"""COCO's instances as your own data set: every category on an image is a question for all its objects.

An annotation without a pixel, such as a box without a segmentation, is refused: its empty mask would teach the model
that the object is absent.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lisa_ros.datasets.instances import Instances
from lisa_ros.datasets.own.texts import Texts, rounds_of
from lisa_ros.datasets.samples import DataError, Sample, Truth

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class CocoTruth:
    """The mask of objects of one category, when called.

    Attributes:
        instances: the annotations.
        annotations: numbers of the objects.
        size: (H, W) of the image.
    """

    instances: Instances
    annotations: tuple[int, ...]
    size: tuple[int, int]

    @property
    def file(self) -> Path:
        """Where the annotations were read."""
        return self.instances.file

    def __call__(self) -> Truth:
        """The truth. Raises a DataError where an annotation is damaged or marks no pixel."""
        truths = [self.instances.truth([number], self.size) for number in self.annotations]
        for number, truth in zip(self.annotations, truths, strict=True):
            if not truth.any():
                height, width = self.size
                raise DataError(
                    f"{self.file}: annotation {number} marks no pixel of the image of {width} x {height}; a "
                    "segmentation of polygons or run lengths is needed, a box is not enough"
                )
        together: Truth = np.maximum.reduce(truths)
        return together


def looks_like_coco(file: Path) -> bool:
    """Whether a JSON file has the keys of COCO's instances; it is not parsed, since it can be large."""
    data = file.read_bytes()
    return b'"images"' in data and b'"annotations"' in data


def read_coco(file: Path, homes: list[Path], texts: Texts) -> list[Sample]:
    """Reads an instances file; segmentations are polygons or run-length codes, crowds included.

    Args:
        file: the JSON file.
        homes: folders that the images' file names may be relative to; the first that has one counts.
        texts: see own.texts.

    Returns:
        a sample for each image that has annotations, in the file's order. Images without any, and annotations of images
        that the file does not list, are left out, with a warning. An image that is not found makes a sample with a
        problem.

    Raises:
        DataError: the file is damaged.
    """
    instances = Instances(file)
    labels: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for annotation, image, label in instances.labels():
        labels[image][label].append(annotation)
    strange = len(labels.keys() - set(instances.numbers()))
    if strange:
        _log.warning("%s: annotations of images that it does not list are left out: of %d images", file, strange)
    bare = sum(number not in labels for number in instances.numbers())
    if bare:
        _log.warning("%s: images without an annotation are left out: %d of them", file, bare)
    if not labels:
        raise DataError(f"{file} has no annotations")
    return [
        _sample(instances, number, labels[number], homes, texts) for number in instances.numbers() if number in labels
    ]


def _sample(instances: Instances, number: int, labels: dict[str, list[int]], homes: list[Path], texts: Texts) -> Sample:
    try:
        image = instances.image(number)
    except DataError as error:
        return Sample(str(number), homes[0], problem=str(error))
    names = [home / image.file_name for home in homes] + [home / Path(image.file_name).name for home in homes]
    found = next((file for file in names if file.is_file()), None)
    if found is None:
        problem = f"{instances.file}: image {number}, {image.file_name}, is in none of {', '.join(map(str, homes))}"
        return Sample(image.file_name, homes[0] / image.file_name, problem=problem)
    try:
        rounds = [
            one
            for label, annotations in labels.items()
            for one in rounds_of(label, CocoTruth(instances, tuple(annotations), image.size), texts)
        ]
    except DataError as error:
        return Sample(image.file_name, found, problem=f"{instances.file}: {error}")
    return Sample(image.file_name, found, tuple(rounds))
