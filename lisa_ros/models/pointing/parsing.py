# SPDX-License-Identifier: Apache-2.0
"""From what the model writes to boxes and points. Imports no torch.

The text so far is parsed again after each token. What is not complete yet (a tag, an object's JSON) is held back, so
that the pieces of a beginning are always the first pieces of the whole.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lisa_ros.segmentation.errors import is_kind


@dataclass(frozen=True)
class Pointed:
    """One object that the model points at, in the coordinates that the model writes.

    Attributes:
        box: x0, y0, x1, y1; None: the model wrote none.
        points: (x, y) of each.
        labels: 1 for a point on the object, 0 for one beside it; as many as there are points.
        phrase: the model's name for the object; empty: it wrote none.
    """

    box: tuple[float, float, float, float] | None
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    phrase: str = ""


Piece = str | Pointed

_MARKS = re.compile(r"</?(?:think|answer)>|```(?:json)?|[{\[\],]")
_BEGINNING_OF_A_MARK = re.compile(r"(?:<[/a-z]{0,8}|`{1,3}[a-z]{0,3}|\[\s*)$")
_IN_LIST = re.compile(r"[\s\[]*[{\]]")
_KEY = re.compile(r"[\"']?([A-Za-z]\w*)[\"']?\s*:\s*")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_NO_PIXELS = re.compile(r"\d\s*[%\uff05]")
_ASCII = str.maketrans("\u201c\u201d\u2018\u2019\uff1a\uff0c\u3010\u3011", "\"\"'':,[]")
"""Chinese punctuation, with which a model may write JSON about a Chinese command."""
_NAMES = ("label", "name", "object")


def json_pieces(text: str, final: bool) -> list[Piece]:
    """The pieces of an answer whose objects are JSON: `<think>...</think><answer>[{"bbox_2d": [...], ...}]</answer>`.

    Tags, code fences and the brackets of a list are left out. JSON inside `<think>` is text, since the model considers
    objects there that it does not mean in the end.

    Args:
        text: what the model has written so far, with or without the tags.
        final: whether the model has ended.

    Returns:
        text and objects in order. JSON that is no object of the expected form stays text.
    """
    return list(_JsonReader(text, final).pieces())


class _JsonReader:
    def __init__(self, text: str, final: bool) -> None:
        self._text, self._final = text, final
        self._thinking = self._in_answer = self._in_list = self._after_object = False

    def pieces(self) -> Iterator[Piece]:
        position = 0
        while (mark := _MARKS.search(self._text, position)) is not None:
            before = self._text[position : mark.start()]
            self._after_object = self._after_object and not before.strip()
            yield before
            end = self._end_of_object(mark.start()) if mark[0] == "{" and not self._thinking else mark.end()
            if end is None or self._must_wait(mark):
                return
            yield self._piece(mark, end)
            position = end
        rest = self._text[position:]
        held = None if self._final else _BEGINNING_OF_A_MARK.search(rest)
        yield rest[: held.start()] if held else rest

    def _must_wait(self, mark: re.Match[str]) -> bool:
        """Whether only the following text decides what a bracket or a code fence is."""
        if self._final:
            return False
        following = self._text[mark.end() :]
        return (mark[0] == "[" and not following.strip(" \t\r\n[")) or (
            mark[0] == "```" and "json".startswith(following)
        )

    def _piece(self, mark: re.Match[str], end: int) -> Piece:
        """What a mark stands for; updates the state."""
        kind = mark[0]
        if kind.startswith("<"):
            self._thinking = kind == "<think>"
            self._in_answer = kind == "<answer>"
            return ""
        if self._thinking:
            return kind
        if kind == "{":
            written = self._text[mark.start() : end]
            found = pointed_in(written)
            self._after_object = found is not None
            return found or written
        return self._bracket(mark)

    def _bracket(self, mark: re.Match[str]) -> str:
        """Brackets and commas of a list of objects are left out; all others are text."""
        kind = mark[0]
        if kind.startswith("`"):
            return ""
        if kind == "[":
            self._in_list = _IN_LIST.match(self._text, mark.end()) is not None
            return "" if self._in_list else kind
        of_list = self._in_list or (self._in_answer and self._after_object)
        if kind == "]":
            self._in_list = False
        return "" if of_list else kind

    def _end_of_object(self, begin: int) -> int | None:
        """Where the object that begins with `{` ends, also where its `}` is missing; None: not known yet."""
        close = self._text.find("}", begin + 1)
        close = close if close >= 0 else len(self._text)
        # Not searched behind the bracket: with many objects that would take a time that grows with their square.
        ends = [self._text.find(one, begin + 1, close) for one in ("{", "</answer>")]
        first = min([close, *(end for end in ends if end >= 0)])
        if first == len(self._text):
            return first if self._final else None
        return first + 1 if first == close else first


def pointed_in(written: str) -> Pointed | None:
    """The object that a JSON object of the model describes; None where it has no box and no points, or damaged ones.

    Single quotes, trailing commas, wrong brackets and Chinese punctuation are accepted. Numbers are not guessed: a box
    has four, a point two, and none is a percentage.

    Args:
        written: from `{` to `}`, which may be missing.
    """
    fields = _fields_of(written)
    box: tuple[float, ...] = ()
    points: list[tuple[float, float]] = []
    phrase = ""
    for name, value in fields.items():
        numbers = _numbers_in(value)
        if "box" in name.lower():
            if box or len(numbers) != 4:
                return None
            box = tuple(numbers)
        elif "point" in name.lower():
            if not numbers or len(numbers) % 2:
                return None
            points += zip(numbers[::2], numbers[1::2], strict=True)
        elif name.lower() in _NAMES and isinstance(value, str):
            phrase = value.strip(" \"',}")
    if not box and not points:
        return None
    return Pointed((box[0], box[1], box[2], box[3]) if box else None, tuple(points), (1,) * len(points), phrase)


def _fields_of(written: str) -> dict[str, Any]:
    for parse in (json.loads, ast.literal_eval):
        try:
            fields = parse(written)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(fields, dict) and all(isinstance(name, str) for name in fields):
            return fields
    written = written.translate(_ASCII)
    keys = list(_KEY.finditer(written))
    ends = [*(key.start() for key in keys[1:]), len(written)]
    return {key[1]: written[key.end() : end] for key, end in zip(keys, ends, strict=False)}


def _numbers_in(value: Any) -> list[float]:
    """All numbers of a nested list, or of text, in order; empty where something else is among them."""
    if isinstance(value, str):
        found = [] if _NO_PIXELS.search(value) else [float(number) for number in _NUMBER.findall(value)]
        return found if all(map(math.isfinite, found)) else []
    if isinstance(value, list | tuple):
        inner = [_numbers_in(one) for one in value]
        return [number for numbers in inner for number in numbers] if all(inner) else []
    if not is_kind(value, int, float):
        return []
    try:
        return [float(value)] if math.isfinite(value) else []
    except OverflowError:  # a whole number of more than 308 digits
        return []


_TAGGED = re.compile(r"<(bbox|points|labels)>(.*?)(?:</\1>|(?=<(?:bbox|points|labels)>)|$)", re.DOTALL)
_FIRST_TAG = re.compile(r"<(?:bbox|points|labels)>")
_BEGINNING_OF_A_TAG = re.compile(r"<[/a-z]{0,8}$")


def tagged_pieces(text: str, final: bool) -> list[Piece]:
    """The pieces of an answer whose objects are tags: `<think>...</think> <bbox>...</bbox>, <points>...</points>, ...`.

    The objects are complete when the labels are, or when the model has ended. Points belong to the box that they lie
    in, if there are several. Points without as many labels are ignored.

    Args:
        text: what the model has written so far.
        final: whether the model has ended.
    """
    thought = text.rfind("</think>")
    first = _FIRST_TAG.search(text, max(thought, 0))
    said = text[: first.start()] if first else text
    if not final and not first and (held := _BEGINNING_OF_A_TAG.search(said)):
        said = said[: held.start()]
    pieces: list[Piece] = [re.sub(r"</?(?:think|answer)>", "", said)]
    if first and (final or "</labels>" in text[first.start() :]):
        pieces += _tagged_objects(text[first.start() :])
    return pieces


def _tagged_objects(text: str) -> list[Pointed]:
    found: dict[str, list[list[float]]] = {"bbox": [], "points": [], "labels": []}
    for tag, content in _TAGGED.findall(text):
        found[tag].append([float(number) for number in _NUMBER.findall(content)])
    boxes = [box for box in found["bbox"] if len(box) == 4]
    numbers = [number for block in found["points"] for number in block]
    labels = [int(label) for block in found["labels"] for label in block]
    points = list(zip(numbers[::2], numbers[1::2], strict=False))
    if len(numbers) % 2 or len(labels) != len(points) or not set(labels) <= {0, 1}:
        points, labels = [], []
    pairs = list(zip(points, labels, strict=True))
    if not boxes:
        return [Pointed(None, tuple(points), tuple(labels))] if 1 in labels else []
    return [_in_box(box, pairs if len(boxes) == 1 else _inside(box, pairs)) for box in boxes]


def _inside(box: list[float], pairs: list[tuple[tuple[float, float], int]]) -> list[tuple[tuple[float, float], int]]:
    x0, y0, x1, y1 = box
    return [((x, y), label) for (x, y), label in pairs if x0 <= x <= x1 and y0 <= y <= y1]


def _in_box(box: list[float], pairs: list[tuple[tuple[float, float], int]]) -> Pointed:
    points, labels = tuple(point for point, _ in pairs), tuple(label for _, label in pairs)
    return Pointed((box[0], box[1], box[2], box[3]), points, labels)


def on_image(pointed: Pointed, frame: tuple[int, int], size: tuple[int, int]) -> Pointed | None:
    """The object in pixels of the image; None where nothing of it lies in the image.

    Coordinates are rounded to whole pixels, as the public code of the checkpoints does.

    Args:
        pointed: in the coordinates that the model writes.
        frame: (width, height) of the image in these coordinates.
        size: (H, W) of the image, pixels.
    """
    height, width = size
    sx, sy = width / frame[0], height / frame[1]
    kept = [
        ((_rounded(x * sx), _rounded(y * sy)), label)
        for (x, y), label in zip(pointed.points, pointed.labels, strict=True)
        if 0 <= x * sx <= width and 0 <= y * sy <= height
    ]
    points, labels = tuple(point for point, _ in kept), tuple(label for _, label in kept)
    box = None
    if pointed.box is not None:
        x0, x1 = (_rounded(min(max(x * sx, 0.0), float(width))) for x in pointed.box[::2])
        y0, y1 = (_rounded(min(max(y * sy, 0.0), float(height))) for y in pointed.box[1::2])
        if x0 >= x1 or y0 >= y1:
            return None
        box = (x0, y0, x1, y1)
    if box is None and 1 not in labels:
        return None
    return Pointed(box, points, labels, pointed.phrase)


def _rounded(value: float) -> float:
    return float(math.floor(value + 0.5))
