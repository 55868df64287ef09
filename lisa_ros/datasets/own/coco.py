# SPDX-License-Identifier: Apache-2.0
"""COCO's instances as a data set of one's own: every category on an image is a question for all its objects.

An annotation that marks no pixel, such as one with a box alone, is refused: as an empty mask it would teach the model
that the object is absent.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from lisa_ros.datasets.instances import Instances
from lisa_ros.datasets.own.texts import Texts, rounds_of
from lisa_ros.datasets.samples import DataError, Sample, Truth

_log = logging.getLogger(__name__)


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
        a sample for each image that has annotations, in the file's order. Images without any are left out, with a
        warning. An image that is not found makes a sample with a problem.

    Raises:
        DataError: the file is damaged.
    """
    instances = Instances(file)
    labels: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for annotation, image, label in instances.labels():
        labels[image][label].append(annotation)
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
    rounds = [
        one
        for label, annotations in labels.items()
        for one in rounds_of(label, partial(_truth, instances, annotations, image.size), texts)
    ]
    return Sample(image.file_name, found, tuple(rounds))


def _truth(instances: Instances, annotations: Sequence[int], size: tuple[int, int]) -> Truth:
    """The mask of objects, (H, W) = size. Raises a DataError where one of them marks no pixel, or is damaged."""
    truths = [instances.truth([number], size) for number in annotations]
    for number, truth in zip(annotations, truths, strict=True):
        if not truth.any():
            raise DataError(
                f"{instances.file}: annotation {number} marks no pixel of the image of {size[1]} x {size[0]}; a "
                "segmentation of polygons or run lengths is needed, a box is not enough"
            )
    return np.maximum.reduce(truths)
