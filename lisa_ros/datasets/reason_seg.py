# SPDX-License-Identifier: Apache-2.0
"""ReasonSeg (arXiv 2308.00692): pictures that each have a LabelMe-like JSON file of the same name beside them.

`{"text": ["..."], "is_sentence": true, "shapes": [{"label": "target", "points": [[x, y], ...]}, ...]}`. Labels are
"target", "ignore" and the deprecated "flag". What is done with them is what upstream's utils/data_processing.py does.

Our own addition, for `lisa finetune`, are dialogues: `{"dialogue": [{"text": "...", "answer": "...", "shapes": [...]},
...]}`. The answer is what the model is to say, with one `[SEG]` where there are shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_ros.datasets.files import PICTURES, read_json_file
from lisa_ros.datasets.samples import IGNORE, DataError, Round, Sample, Truth
from lisa_ros.segmentation.image_files import read_image

SEG = "[SEG]"
"""Stands for the mask in the answers of dialogues."""

Points = NDArray[np.int32]
"""(n, 2): x, y in pixels."""


def read_reason_seg(folder: Path, explanations: Path | None = None) -> list[Sample]:
    """Reads a folder of pictures and JSON files.

    Args:
        folder: holds NAME.jpg (.jpeg, .png) and NAME.json, as ReasonSeg's train, val and test do.
        explanations: explanatory/train.json, a list of {"image", "query", "outputs"}; None: the one beside the folder,
            where there is one. Its outputs become the answers of the pictures that it names.

    Returns:
        a sample for each picture, by name; a round for each text, each to be asked afresh. Upstream's validation asks
        the first text alone. A JSON file that is missing, damaged or, like two of the test set's, without "shapes"
        makes a sample with a problem (upstream's code ends with an exception there). A dialogue makes a sample whose
        rounds are its turns.

    Raises:
        DataError: there is no such folder, no picture in it, or a damaged file of explanations.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; one with pictures and a JSON file for each is expected")
    images = sorted(file for file in folder.iterdir() if file.suffix.lower() in PICTURES and file.is_file())
    if not images:
        raise DataError(f"{folder} has no pictures ({', '.join(PICTURES)}), each with a JSON file of the same name")
    answers = _read_explanations(folder.parent / "explanatory" / "train.json", explanations)
    return [_read_sample(image, answers.get(image.name)) for image in images]


def paint(shapes: Sequence[tuple[str, Any]], size: tuple[int, int]) -> Truth:
    """The true mask of labelled polygons.

    Polygons are painted with their outlines, the largest first, so that smaller ones overwrite larger ones. A label
    that contains "ignore" paints IGNORE, any other 1; "flag" paints nothing.

    Args:
        shapes: (label, points [[x, y], ...] in pixels; fractions are cut off).
        size: (H, W) of the picture.

    Raises:
        DataError: points are no points.
    """
    polygons = [(label.lower(), _points(points)) for label, points in shapes if label.lower() != "flag"]
    areas = []
    for _, points in polygons:
        areas.append(_paint_polygon(np.zeros(size, dtype=np.uint8), points, 1).sum())
    truth = np.zeros(size, dtype=np.uint8)
    for i in np.argsort(areas)[::-1].astype(np.int64):
        label, points = polygons[i]
        _paint_polygon(truth, points, IGNORE if "ignore" in label else 1)
    return truth


def _read_sample(image: Path, answer: str | None) -> Sample:
    annotation = image.with_suffix(".json")
    try:
        said = read_json_file(annotation)
        if isinstance(said, dict) and "dialogue" in said:
            return Sample(image.name, image, _read_dialogue(image, annotation, said["dialogue"]), dialogue=True)
        texts, is_sentence, shapes = _read_annotation(annotation, said)
    except (DataError, OSError) as error:
        return Sample(image.name, image, problem=str(error))
    truth = partial(_truth, image, annotation, shapes)
    return Sample(image.name, image, tuple(Round(text, is_sentence, truth, answer) for text in texts))


def _read_dialogue(image: Path, file: Path, turns: Any) -> tuple[Round, ...]:
    if not isinstance(turns, list) or not turns:
        raise DataError(f"{file} has {turns!r:.80} for 'dialogue'; a list of one turn or more is expected")
    return tuple(_read_turn(image, file, turn) for turn in turns)


def _read_turn(image: Path, file: Path, turn: Any) -> Round:
    keys = ("text", "answer")
    if not isinstance(turn, dict) or not all(isinstance(turn.get(key), str) and turn[key].strip() for key in keys):
        raise DataError(f"{file} has the turn {turn!r:.80}; an object with a text, an answer and shapes is expected")
    shapes = _shapes(file, turn.get("shapes"))
    wanted = 1 if any(label.lower() != "flag" and "ignore" not in label.lower() for label, _ in shapes) else 0
    if turn["answer"].count(SEG) != wanted:
        raise DataError(f"{file} has the answer {turn['answer']!r:.80}; one {SEG} is expected with shapes, else none")
    return Round(turn["text"], True, partial(_truth, image, file, shapes), turn["answer"])


def _read_annotation(file: Path, said: Any) -> tuple[list[str], bool, list[tuple[str, Any]]]:
    """(texts, is_sentence, (label, points) of the shapes)."""
    if not isinstance(said, dict):
        raise DataError(f'{file} is no JSON object with "text", "is_sentence" and "shapes"')
    missing = [key for key in ("text", "is_sentence", "shapes") if key not in said]
    if missing:
        raise DataError(f"{file} has no {', '.join(map(repr, missing))}, so there is nothing to judge an answer by")
    texts = [said["text"]] if isinstance(said["text"], str) else said["text"]
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise DataError(f"{file} has {texts!r:.80} for 'text'; one text or more is expected")
    if not isinstance(said["is_sentence"], bool | int):
        raise DataError(f"{file} has {said['is_sentence']!r:.80} for 'is_sentence'; true or false is expected")
    return texts, bool(said["is_sentence"]), _shapes(file, said["shapes"])


def _shapes(file: Path, shapes: Any) -> list[tuple[str, Any]]:
    if not isinstance(shapes, list):
        raise DataError(f"{file} has {type(shapes).__name__} for 'shapes'; a list is expected")
    for shape in shapes:
        if not isinstance(shape, dict) or not isinstance(shape.get("label"), str) or "points" not in shape:
            raise DataError(f"{file} has the shape {shape!r:.80}; an object with a label and points is expected")
    return [(shape["label"], shape["points"]) for shape in shapes]


def _truth(image: Path, annotation: Path, shapes: Sequence[tuple[str, Any]]) -> Truth:
    # The file is read again, not its header: only OpenCV knows how it turns a picture that was taken upright.
    height, width = read_image(image).shape[:2]
    try:
        return paint(shapes, (height, width))
    except DataError as error:
        raise DataError(f"{annotation}: {error}") from error


def _points(points: Any) -> Points:
    try:
        array = np.array(points, dtype=np.float64)
        usable = array.ndim == 2 and array.shape[1] == 2 and len(array) > 0 and bool((np.abs(array) < 2**30).all())
    except (TypeError, ValueError, OverflowError):
        usable = False
    if not usable:
        raise DataError(f"a shape has the points {points!r:.80}; a list of [x, y] in pixels is expected")
    return array.astype(np.int32)


def _paint_polygon(canvas: Truth, points: Points, value: int) -> Truth:
    cv2.polylines(canvas, [points], True, (value,), 1)
    cv2.fillPoly(canvas, [points], (value,))
    return canvas


def _read_explanations(beside: Path, given: Path | None) -> Mapping[str, str]:
    """Picture's file name -> the answer that it is to be explained with."""
    file = given or beside
    if given is None and not file.is_file():
        return {}
    entries = read_json_file(file)
    if not isinstance(entries, list):
        raise DataError(f'{file} is no list of {{"image", "query", "outputs"}}')
    found = {}
    for entry in entries:
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("image", "outputs")):
            raise DataError(f'{file} has the entry {entry!r:.80}; {{"image", "query", "outputs"}} of texts is expected')
        found[entry["image"]] = entry["outputs"]
    return found
