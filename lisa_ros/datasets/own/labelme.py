# SPDX-License-Identifier: Apache-2.0
"""LabelMe's own files: labelled shapes beside an image, without texts.

All shapes of a label are one mask, since a question for "mug" means every mug. A shape's description, LabelMe's free
text, is a text of its own, about that shape and those of its group.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lisa_ros.datasets.own.texts import Texts, rounds_of
from lisa_ros.datasets.reason_seg import PaintedTruth, image_size
from lisa_ros.datasets.samples import IGNORE, DataError, Round, Sample
from lisa_ros.datasets.shapes import BACKGROUND, Shape, parse_shapes


def read_labelme(image: Path, file: Path, content: dict[str, Any], texts: Texts) -> Sample:
    """One image with its LabelMe file; a file that cannot be used makes a sample with a problem.

    Args:
        image: the image's file.
        file: where the content was read.
        content: its JSON object, with "shapes".
        texts: see own.texts.
    """
    try:
        shapes = parse_shapes(content["shapes"])
        _check_size(image, file, content)
        rounds = _by_label(image, file, shapes, texts) + _by_description(image, file, shapes)
        if not rounds:
            raise DataError("it has no shape, so there is nothing to ask")
        return Sample(image.name, image, tuple(rounds))
    except (ValueError, OSError) as error:
        text = str(error)
        return Sample(image.name, image, problem=text if str(image) in text else f"{file}: {text}")


def _by_label(image: Path, file: Path, shapes: Sequence[Shape], texts: Texts) -> list[Round]:
    labels = dict.fromkeys(shape.label for shape in shapes if shape.value == 1 and not shape.is_flag)
    rounds: list[Round] = []
    for label in labels:
        chosen = tuple(shape for shape in shapes if shape.label == label or shape.value in (0, IGNORE))
        rounds += rounds_of(label, PaintedTruth(image, file, chosen), texts)
    return rounds


def _by_description(image: Path, file: Path, shapes: Sequence[Shape]) -> list[Round]:
    described = [shape for shape in shapes if shape.description and shape.value == 1 and not shape.is_flag]
    rounds: list[Round] = []
    for text in dict.fromkeys(shape.description for shape in described):
        members = [shape for shape in described if shape.description == text]
        groups = {(shape.label, shape.group) for shape in members if shape.group is not None}
        chosen = tuple(
            shape
            for shape in shapes
            if shape in members or (shape.label, shape.group) in groups or shape.label.lower() == BACKGROUND
        )
        rounds += rounds_of(text, PaintedTruth(image, file, chosen), {text: [text]})
    return rounds


def _check_size(image: Path, file: Path, content: dict[str, Any]) -> None:
    """Shapes that were drawn on an image of another size would lie in wrong places."""
    height, width = image_size(image)
    drawn_on = content.get("imageWidth"), content.get("imageHeight")
    if None not in drawn_on and drawn_on != (width, height):
        raise DataError(
            f"{file}: the shapes were drawn on an image of {drawn_on[0]} x {drawn_on[1]} pixels, but {image} has "
            f"{width} x {height}; put the image that was annotated beside the file"
        )
