# SPDX-License-Identifier: Apache-2.0
"""The data sets by name, and where each of them lies in the folder that a user names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lisa_ros.datasets import refer
from lisa_ros.datasets.files import IMAGE_SUFFIXES, first_folder
from lisa_ros.datasets.mr_refcoco import read_mr_refcoco
from lisa_ros.datasets.own.reading import read_folder
from lisa_ros.datasets.reason_seg import read_reason_seg
from lisa_ros.datasets.samples import DataError, Sample

REASON_SEG_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Source:
    """A part of a data set, and where it lies.

    Attributes:
        folder: the data set's folder; None for one that is rendered, not read.
        split: "val", "test" ...
        partition: of RefCOCO's family: "unc", "umd", "google"; None elsewhere, or for the usual one.
        images: the folder of images; None: where the data set usually has it.
        limit: only the first so many images or dialogues; None: all.
        option: that named the folder, for messages.
    """

    folder: Path | None
    split: str
    partition: str | None = None
    images: Path | None = None
    limit: int | None = None
    option: str = "--data"

    @property
    def home(self) -> Path:
        """The folder.

        Raises:
            DataError: none is named, or there is no such folder.
        """
        if self.folder is None:
            raise DataError(f"this data set is read from a folder; name it with {self.option}")
        if not self.folder.is_dir():
            raise DataError(f"there is no folder {self.folder} ({self.option})")
        return self.folder


@dataclass(frozen=True)
class DataSet:
    """How a data set is read and its questions are asked.

    Attributes:
        read: Source -> its samples, all of them unless `total` is given; raises a DataError.
        total: Source -> number of images or dialogues, for a data set whose `read` makes no more than `limit`.
        resolve: fills in the fields that a Source leaves open.
        first_text: whether only the first of an image's texts is asked, as upstream's validation does, unless all are
            wanted.
        split: the split that is read where none is named: the one for validation.
        plain: whether its texts are whole commands, which are asked unchanged; otherwise they are noun phrases and
            sentences, which upstream's question is made of.
        explicit_absence: whether it names absent objects on purpose (gRefCOCO's N-acc, T-acc).
        scored_by_round: whether SegLLM's scores of each round are reported.
    """

    read: Callable[[Source], list[Sample]]
    total: Callable[[Source], int] | None = None
    resolve: Callable[[Source], Source] = lambda source: source
    first_text: bool = False
    split: str = "val"
    plain: bool = False
    explicit_absence: bool = False
    scored_by_round: bool = False


def _read_reason_seg(source: Source) -> list[Sample]:
    home, split = source.home, source.split
    if split not in REASON_SEG_SPLITS:
        raise DataError(f"ReasonSeg has no split {split!r}; there are {', '.join(REASON_SEG_SPLITS)}")
    names = (split, f"ReasonSeg/{split}", f"reason_seg/ReasonSeg/{split}")
    of_another = home.resolve().name in set(REASON_SEG_SPLITS) - {split}
    has_images = any(file.suffix.lower() in IMAGE_SUFFIXES for file in home.iterdir())
    itself = [home] if has_images and not of_another else []
    return read_reason_seg(first_folder([home / name for name in names] + itself, f"folder of split {split!r}"))


def _read_refer(name: str, source: Source) -> list[Sample]:
    return refer.read_refer(source.home, name, source.split, source.partition, source.images)


def _resolve_refer(name: str, source: Source) -> Source:
    return dataclasses.replace(source, partition=source.partition or refer.partition_of(source.home, name))


def _read_mr_refcoco(source: Source) -> list[Sample]:
    return read_mr_refcoco(source.home, source.split, source.images)


def _read_own(source: Source) -> list[Sample]:
    if source.folder is None:
        raise DataError("your own images are read from a folder; name it with --data")
    return read_folder(source.folder)


def _read_tabletop(source: Source) -> list[Sample]:
    from lisa_ros.datasets.tabletop import read_tabletop  # the simulator's modules take time to import

    return read_tabletop(source.folder, source.split, source.limit)


def _total_tabletop(source: Source) -> int:
    from lisa_ros.datasets.tabletop import view_count

    return view_count(source.split)


DATASETS: dict[str, DataSet] = {
    "reason_seg": DataSet(_read_reason_seg, first_text=True),
    **{
        name: DataSet(
            partial(_read_refer, name), resolve=partial(_resolve_refer, name), explicit_absence=name == "grefcoco"
        )
        for name in refer.NAMES
    },
    "mr_refcoco": DataSet(_read_mr_refcoco, plain=True, scored_by_round=True),
    "tabletop": DataSet(_read_tabletop, _total_tabletop, split="validation", plain=True),
    "folder": DataSet(_read_own, first_text=True),
}
