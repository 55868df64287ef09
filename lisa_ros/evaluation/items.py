# SPDX-License-Identifier: Apache-2.0
"""The result of each question, one line of JSON each, written as soon as it is known."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from lisa_ros.datasets.samples import Sample
from lisa_ros.evaluation.metrics import Overlap
from lisa_ros.segmentation.files.atomic_files import naming
from lisa_ros.segmentation.files.output_folders import OutputError, lock, make_output_folder

Key = tuple[str, str, int]
"""(variant, sample, round)."""

UNITS = {
    "size": "(height, width) in pixels",
    "intersection": "pixels",
    "union": "pixels",
    "iou": "0 to 1",
    "box_iou": "0 to 1",
    "found_pixels": "pixels",
    "true_pixels": "pixels",
    "score": "0 to 1",
    "seconds": "s",
}
"""Field of an Item -> its unit; others have none."""


@dataclass(frozen=True)
class Item:
    """One question, its answer, and the scores of the answer.

    Attributes:
        sample, round: name of the sample, and number of the round, from 1.
        variant: which model, where a run compares several; else "".
        dialogue: whether the round is a turn of a dialogue.
        group: family of questions; "" where the data set has none.
        tags: further rows of the table that it is counted in.
        said: whether the answer contains the text that a right one contains; None where no text is required, or the
            model was not free to choose it.
        image: the image's file; "" where there is none.
        text: as the data set has it.
        asked: the text that the model was given.
        expected: the answer to compare with, where there is one.
        answer: the raw answer.
        model: the name of the model that answered; "" where none was asked, and in runs of earlier versions.
        masks: how many masks it has.
        cut: whether it was cut at its maximum length.
        size: (H, W) of the image.
        intersection, union: in pixels, of the scored mask and the true one.
        iou: upstream's, 1 where both are empty.
        box_iou: of the model's own box, else the one around its mask, and the one around the truth; None where the
            truth is empty.
        found_pixels, true_pixels: sizes of the mask and of the truth.
        found: the mask, see `datasets.masks.decode_mask`.
        score: the model's confidence in the scored mask; None: it reports none.
        score_calibrated: whether the score comes from a calibration.
        evidence: what the score was made of, by name.
        seconds: time of the answer.
        failed: why the question could not be asked or scored; the other numbers are then undefined.
    """

    sample: str
    round: int
    variant: str = ""
    dialogue: bool = False
    group: str = ""
    tags: tuple[str, ...] = ()
    said: bool | None = None
    image: str = ""
    text: str = ""
    asked: str = ""
    expected: str | None = None
    answer: str = ""
    model: str = ""
    masks: int = 0
    cut: bool = False
    size: tuple[int, int] = (0, 0)
    intersection: int = 0
    union: int = 0
    iou: float = 0.0
    box_iou: float | None = None
    found_pixels: int = 0
    true_pixels: int = 0
    found: str = ""
    score: float | None = None
    score_calibrated: bool = False
    evidence: dict[str, float] | None = None
    seconds: float = 0.0
    failed: str | None = None

    @property
    def key(self) -> Key:
        """Identifies it within a run."""
        return self.variant, self.sample, self.round

    @property
    def overlap(self) -> Overlap:
        """Intersection and union of mask and truth."""
        return Overlap(self.intersection, self.union)

    @property
    def refused(self) -> bool:
        """Whether nothing was marked: no `[SEG]`, or an empty mask."""
        return self.found_pixels == 0

    @property
    def absent(self) -> bool:
        """Whether there was nothing to mark."""
        return self.true_pixels == 0

    def as_json(self) -> dict[str, Any]:
        """For results.json: everything but the mask."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "found"}


class ItemLog:
    """The items of a run, in a file and in memory; of two with the same key the later one counts."""

    def __init__(self, file: Path) -> None:
        """Reads what an earlier run wrote there; writes nothing yet.

        Raises:
            OutputError: the file holds something else.
        """
        self._file = file
        self._stream: TextIO | None = None
        self.items: dict[Key, Item] = {}
        self._read_bytes = self._complete_bytes = 0
        if file.is_file():
            self._read()

    def __enter__(self) -> ItemLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            with suppress(OSError):  # what append could not write is tried once more
                self._stream.close()
            self._stream = None

    def append(self, item: Item) -> None:
        """Adds an item and writes it to the file before returning.

        Raises:
            OutputError: another process writes the file, or has written it since it was read.
            OSError: it cannot be written; the text names it.
        """
        if self._stream is None:
            self._stream = self._opened()
        with naming(self._file):
            self._stream.write(json.dumps(dataclasses.asdict(item)) + "\n")
            self._stream.flush()
        self.items[item.key] = item

    def has_result(self, key: Key) -> bool:
        """Whether there is an item of this key that did not fail; what failed is tried again."""
        item = self.items.get(key)
        return item is not None and item.failed is None

    def check_texts(self, samples: Iterable[Sample], variant: str = "") -> None:
        """Raises an OutputError where an item was asked with another text than its sample has now."""
        for sample in samples:
            for number, asked in enumerate(sample.rounds, start=1):
                item = self.items.get((variant, sample.name, number))
                if item is not None and item.text and item.text != asked.text:
                    raise OutputError(
                        f"{self._file} has answers to other questions: {sample.name}, round {number} was "
                        f"{item.text!r:.60}, now {asked.text!r:.60}. Name another output folder"
                    )

    def _opened(self) -> TextIO:
        """The file, to append to; a last line that was being written when the run died is cut off."""
        make_output_folder(self._file.parent)
        stream = self._file.open("a", encoding="utf-8")
        try:
            lock(stream, self._file)
            if self._file.stat().st_size != self._read_bytes:  # to cut it off where it was read would lose results
                raise OutputError(f"another process has written {self._file} meanwhile; the same command goes on")
            stream.truncate(self._complete_bytes)
        except BaseException:
            stream.close()
            raise
        return stream

    def _read(self) -> None:
        data = self._file.read_bytes()
        complete = data[: data.rfind(b"\n") + 1]
        lines = complete.splitlines(keepends=True)
        for number, line in enumerate(lines, start=1):
            try:
                item = _item(json.loads(line))
            except (ValueError, TypeError, UnicodeDecodeError) as error:
                if number == len(lines):  # a machine that lost its power can leave such a last line
                    complete = complete[: -len(line)]
                    break
                raise OutputError(
                    f"{self._file}, line {number} is not an item of an evaluation ({error}); name another folder, or "
                    "remove the line"
                ) from error
            self.items[item.key] = item
        self._read_bytes, self._complete_bytes = len(data), len(complete)


def _item(fields: Any) -> Item:
    if not isinstance(fields, dict):
        raise ValueError("no JSON object")
    height, width = fields.get("size", (0, 0))
    return Item(**{**fields, "size": (height, width), "tags": tuple(fields.get("tags", ()))})


def in_order(items: dict[Key, Item], keys: Iterator[Key]) -> list[Item]:
    """The items that exist, in the order of the data set, whenever they were scored."""
    return [items[key] for key in keys if key in items]
