# SPDX-License-Identifier: Apache-2.0
"""ReasonSeg (arXiv 2308.00692): images, each with a LabelMe-like JSON file of the same name beside it.

`{"text": ["..."], "is_sentence": true, "shapes": [{"label": "target", "points": [[x, y], ...]}, ...]}`. Labels are
"target", "ignore" and the deprecated "flag". They are painted as by upstream's utils/data_processing.py, see shapes.py.

Two additions of our own, for `lisa finetune` and `lisa data`:

- several objects of one image, each with its texts: `{"objects": [{"text": ["..."], "is_sentence": false, "shapes":
  [...]}, ...]}`;
- dialogues: `{"dialogue": [{"text": "...", "answer": "...", "shapes": [...]}, ...]}`. The answer is what the model
  learns to say, with one `[SEG]` where there are shapes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from lisa_ros.datasets.files import IMAGE_SUFFIXES, image_files, read_json_file
from lisa_ros.datasets.samples import DataError, Round, Sample, Truth, shown
from lisa_ros.datasets.shapes import Shape, cut_shapes, paint, parse_shapes
from lisa_ros.segmentation.files.image_files import read_image

SEG = "[SEG]"
"""In the answers of dialogues: the mask."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PaintedTruth:
    """Paints shapes, when called. Every object is a truth of its own, so it is compared by identity.

    Attributes:
        image: the file whose size the truth has.
        file: the annotation.
        shapes: of one question.
    """

    image: Path
    file: Path
    shapes: tuple[Shape, ...]

    def __call__(self) -> Truth:
        """The truth; shapes that reach outside the image are cut, with a warning once per file.

        Raises:
            DataError: a shape lies outside the image, or the image cannot be read.
        """
        try:
            truth = paint(self.shapes, image_size(self.image))
            if cut := self.cut_shapes():
                _warn_once(f"{self.file}: {_listed(cut)} the image and is cut at its edge")
            return truth
        except ValueError as error:
            text = str(error)
            raise DataError(text if str(self.image) in text else f"{self.file}: {text}") from error

    def cut_shapes(self) -> list[Shape]:
        """The shapes that reach outside the image. Raises a ValueError where the image cannot be read."""
        return cut_shapes(self.shapes, image_size(self.image))


def image_size(file: Path) -> tuple[int, int]:
    """(H, W) of an image file. Raises a ValueError where it cannot be read."""
    return _image_size(file, file.stat().st_mtime_ns if file.is_file() else 0)


@lru_cache(maxsize=65_536)
def _image_size(file: Path, changed_ns: int) -> tuple[int, int]:
    # The image is decoded, not its header: only OpenCV knows how it turns an image with an EXIF orientation.
    height, width = read_image(file).shape[:2]
    return height, width


def read_reason_seg(folder: Path, explanations: Path | None = None) -> list[Sample]:
    """Reads a folder of images and JSON files.

    Args:
        folder: holds NAME.jpg (.jpeg, .png) and NAME.json, as ReasonSeg's train, val and test do.
        explanations: explanatory/train.json, a list of {"image", "query", "outputs"}; None: the one beside the folder,
            where there is one. Its outputs become the answers of the images that it names.

    Returns:
        a sample for each image, by name; a round for each text, each to be asked by itself. Upstream's validation asks
        the first text alone. A JSON file that is missing, damaged or, like two of the test set's, without "shapes"
        makes a sample with a problem (upstream's code ends with an exception there). A dialogue makes a sample whose
        rounds are its turns.

    Raises:
        DataError: there is no such folder, no image in it, or a damaged file of explanations.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; one with images and a JSON file for each is expected")
    images = image_files(folder)
    if not images:
        raise DataError(f"{folder} has no images ({', '.join(IMAGE_SUFFIXES)}), each with a JSON file of the same name")
    answers = _read_explanations(folder.parent / "explanatory" / "train.json", explanations)
    return [read_annotated(image, image.with_suffix(".json"), answers.get(image.name)) for image in images]


def read_annotated(image: Path, file: Path, answer: str | None = None) -> Sample:
    """One image with its annotation; a file that cannot be used makes a sample with a problem.

    Args:
        image: the image's file.
        file: its JSON file.
        answer: the explanation to learn with its masks; None: none.
    """
    try:
        content = read_json_file(file)
        if not isinstance(content, dict):
            raise DataError('it is no JSON object with "text", "is_sentence" and "shapes"')
        if "dialogue" in content:
            return Sample(image.name, image, _read_dialogue(image, file, content["dialogue"]), dialogue=True)
        entries = content.get("objects", [content])
        if not isinstance(entries, list) or not entries:
            raise DataError(f"it has {shown(entries)} for 'objects'; a list of one object or more is expected")
        rounds = tuple(one for entry in entries for one in _read_object(image, file, entry, answer))
        return Sample(image.name, image, rounds)
    except (DataError, OSError) as error:
        text = str(error)
        return Sample(image.name, image, problem=text if str(file) in text else f"{file}: {text}")


def _read_object(image: Path, file: Path, entry: Any, answer: str | None) -> tuple[Round, ...]:
    """A round for each text of one object."""
    if not isinstance(entry, dict):
        raise DataError(f"it has the object {shown(entry)}; texts and shapes are expected")
    missing = [key for key in ("text", "is_sentence", "shapes") if key not in entry]
    if missing:
        raise DataError(f"it has no {', '.join(map(repr, missing))}, so no answer can be scored")
    texts = [entry["text"]] if isinstance(entry["text"], str) else entry["text"]
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise DataError(f"it has {shown(texts)} for 'text'; one text or more is expected")
    if not isinstance(entry["is_sentence"], bool | int):
        raise DataError(f"it has {shown(entry['is_sentence'])} for 'is_sentence'; true or false is expected")
    truth = PaintedTruth(image, file, parse_shapes(entry["shapes"]))
    return tuple(Round(text, bool(entry["is_sentence"]), truth, answer) for text in texts)


def _read_dialogue(image: Path, file: Path, turns: Any) -> tuple[Round, ...]:
    if not isinstance(turns, list) or not turns:
        raise DataError(f"it has {shown(turns)} for 'dialogue'; a list of one turn or more is expected")
    return tuple(_read_turn(image, file, turn) for turn in turns)


def _read_turn(image: Path, file: Path, turn: Any) -> Round:
    keys = ("text", "answer")
    if not isinstance(turn, dict) or not all(isinstance(turn.get(key), str) and turn[key].strip() for key in keys):
        raise DataError(f"it has the turn {shown(turn)}; an object with a text, an answer and shapes is expected")
    shapes = parse_shapes(turn.get("shapes"))
    wanted = 1 if any(shape.value == 1 and not shape.is_flag for shape in shapes) else 0
    if turn["answer"].count(SEG) != wanted:
        raise DataError(f"it has the answer {shown(turn['answer'])}; one {SEG} is expected with shapes, else none")
    return Round(turn["text"], True, PaintedTruth(image, file, shapes), turn["answer"], is_command=True)


def _read_explanations(beside: Path, given: Path | None) -> Mapping[str, str]:
    """Image's file name -> the explanation of its answer."""
    file = given or beside
    if given is None and not file.is_file():
        return {}
    entries = read_json_file(file)
    if not isinstance(entries, list):
        raise DataError(f'{file} is not a list of {{"image", "query", "outputs"}}')
    found = {}
    for entry in entries:
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("image", "outputs")):
            raise DataError(
                f'{file} has the entry {shown(entry)}; {{"image", "query", "outputs"}} of texts is expected'
            )
        found[entry["image"]] = entry["outputs"]
    return found


def _listed(shapes: list[Shape]) -> str:
    if len(shapes) == 1:
        return f"shape {shapes[0].number} reaches outside"
    return f"each of the {len(shapes)} shapes {', '.join(str(shape.number) for shape in shapes)} reaches outside"


@cache
def _warn_once(text: str) -> None:
    _log.warning(text)
