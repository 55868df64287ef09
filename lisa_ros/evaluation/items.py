# SPDX-License-Identifier: Apache-2.0
"""What came of each question, one line of JSON each, written as soon as it is known."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from lisa_ros.evaluation.metrics import Overlap

Key = tuple[str, str, int]
"""(variant, sample, round)."""


class OutputError(ValueError):
    """The output folder cannot be used; the text says why, and what would be right."""


@dataclass(frozen=True)
class Item:
    """One question, its answer and how good that was.

    Attributes:
        sample, round: which; rounds are counted from 1.
        variant: which model, where a run compares several; else "".
        dialogue: whether the round is a turn of a dialogue.
        group: family of questions; "" where the data set has none.
        tags: what else it is counted with.
        said: whether the answer has the words that a right one has; None where none are asked for, or the model was not
            free to choose them.
        image: the picture's file; "" where there is none.
        text: as the data set has it.
        asked: as it was put to the model.
        expected: the answer to compare with, where there is one.
        answer: the raw answer.
        masks: how many masks it has.
        cut: whether it was cut at its longest allowed length.
        size: (H, W) of the picture.
        intersection, union: in pixels, of the mask that is judged and the truth.
        iou: upstream's, 1 where both are empty.
        box_iou: of the model's own box, else the one around its mask, and the one around the truth; None where the
            truth is empty.
        found_pixels, true_pixels: the mask's and the truth's size.
        found: the mask, see `datasets.masks.decode_mask`.
        score: how likely the model takes the judged mask to be right; None: it has none, or does not say.
        evidence: what the score was made of, by name.
        seconds: that the answer took.
        failed: why it could not be judged; then the numbers mean nothing.
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
    evidence: dict[str, float] | None = None
    seconds: float = 0.0
    failed: str | None = None

    @property
    def key(self) -> Key:
        """What tells it from all others of a run."""
        return self.variant, self.sample, self.round

    @property
    def overlap(self) -> Overlap:
        """What the mask shares with the truth."""
        return Overlap(self.intersection, self.union)

    @property
    def refused(self) -> bool:
        """Whether nothing was marked: no `[SEG]`, or an empty mask."""
        return self.found_pixels == 0

    @property
    def absent(self) -> bool:
        """Whether there was nothing to mark."""
        return self.true_pixels == 0

    def told(self) -> dict[str, Any]:
        """For results.json: everything but the mask."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "found"}


class ItemLog:
    """The items of a run, in a file and in memory; of two with the same key the later one counts."""

    def __init__(self, file: Path) -> None:
        """Reads what an earlier run wrote there. A last line that was being written when it died is cut off.

        Raises:
            OutputError: the file holds something else.
        """
        self._file = file
        self.items: dict[Key, Item] = {}
        if file.is_file():
            self._read()
        self._stream = file.open("a", encoding="utf-8")

    def __enter__(self) -> ItemLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def append(self, item: Item) -> None:
        """Adds an item; it is in the file when this returns."""
        self._stream.write(json.dumps(dataclasses.asdict(item)) + "\n")
        self._stream.flush()
        self.items[item.key] = item

    def judged(self, key: Key) -> bool:
        """Whether there is an item of this key that did not fail; what failed is tried again."""
        item = self.items.get(key)
        return item is not None and item.failed is None

    def _read(self) -> None:
        data = self._file.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        lines = whole.splitlines(keepends=True)
        for number, line in enumerate(lines, start=1):
            try:
                item = _item(json.loads(line))
            except (ValueError, TypeError, UnicodeDecodeError) as error:
                if number == len(lines):  # a machine that lost its power can leave such a last line
                    whole = whole[: -len(line)]
                    break
                raise OutputError(
                    f"{self._file}, line {number} is no item of an evaluation ({error}); name another folder, or "
                    "remove the line"
                ) from error
            self.items[item.key] = item
        if len(whole) < len(data):
            with self._file.open("r+b") as stream:
                stream.truncate(len(whole))


def _item(said: Any) -> Item:
    if not isinstance(said, dict):
        raise ValueError("no JSON object")
    height, width = said.get("size", (0, 0))
    return Item(**{**said, "size": (height, width), "tags": tuple(said.get("tags", ()))})


def in_order(items: dict[Key, Item], keys: Iterator[Key]) -> list[Item]:
    """The items that there are, in the order of the data set, whenever they were judged."""
    return [items[key] for key in keys if key in items]
