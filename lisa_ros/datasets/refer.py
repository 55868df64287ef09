# SPDX-License-Identifier: Apache-2.0
"""RefCOCO, RefCOCO+, RefCOCOg (refer's pickles) and gRefCOCO (grefs as JSON), with COCO's instances.json.

A folder as refer and LISA's upstream lay it out: NAME/refs(unc).p, NAME/instances.json (grefcoco/grefs(unc).json), and
COCO's train2014 images in images/mscoco/images/train2014.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lisa_ros.datasets.files import first_file, first_folder, read_json_file, read_plain_pickle
from lisa_ros.datasets.instances import Instances
from lisa_ros.datasets.samples import DataError, Round, Sample, shown
from lisa_ros.segmentation.text import without_surrogates

NAMES = ("refcoco", "refcoco+", "refcocog", "grefcoco")

# The partitions that upstream reports on.
_PARTITIONS = {"refcoco": "unc", "refcoco+": "unc", "refcocog": "umd", "grefcoco": "unc"}

_NO_TARGET = -1

_EVERY_TEST = {"testA": "A", "testB": "B", "testC": "C"}


@dataclass(frozen=True)
class _Reference:
    """Expressions for objects of one image; no annotations: the object is absent."""

    image: int
    annotations: tuple[int, ...]
    split: str
    texts: tuple[str, ...]


def partition_of(folder: Path, name: str) -> str:
    """The partition that is read where none is named: upstream's, or the only one in the folder.

    Args:
        folder: holds a folder of the data set's name, or is that folder.
        name: one of NAMES.
    """
    home, prefix = _home(folder, name), _prefix(name)
    endings = (".json", ".p") if name == "grefcoco" else (".p",)
    present = sorted({file.stem.removeprefix(f"{prefix}(").removesuffix(")") for file in home.glob(f"{prefix}(*).*")})
    usual = _PARTITIONS[name]
    if any((home / f"{prefix}({usual}){ending}").is_file() for ending in endings) or len(present) != 1:
        return usual
    return present[0]


def read_refer(
    folder: Path, name: str, split: str, partition: str | None = None, images: Path | None = None
) -> list[Sample]:
    """Reads one of the RefCOCO family.

    Args:
        folder: holds a folder of the data set's name, or is that folder.
        name: one of NAMES.
        split: "train", "val", "test", "testA" ... as the references have it; refer's "test" is all that begin so.
        partition: "unc", "google", "umd" ...: the name in brackets; None: see `partition_of`.
        images: the folder with COCO's train2014 images; None: looked for in the usual places.

    Returns:
        a sample for each image, in the order of the references; a round for each sentence of each reference, in
        small letters and without outer spaces as upstream has them, each to be asked by itself. The truth is
        everything that the annotation's polygons or run lengths cover; in gRefCOCO of several objects, or of none.

    Raises:
        DataError: a file is missing or damaged, or has no such split.
    """
    home = _home(folder, name)
    references = list(_read_references(home, name, partition or partition_of(folder, name)))
    chosen = [reference for reference in references if _is_of(reference.split, split)]
    if not chosen:
        known = ", ".join(sorted({reference.split for reference in references})) or "none"
        raise DataError(f"{home} has no references of split {split!r}; there are: {known}")
    instances = Instances(first_file([home / "instances.json", folder / "instances.json"], f"annotations of {name}"))
    instances.keep(number for reference in chosen for number in reference.annotations)
    images = images or _image_folder(home)
    if not images.is_dir():
        raise DataError(f"there is no folder of images {images} (--images)")
    of_image: dict[int, list[_Reference]] = defaultdict(list)
    for reference in chosen:
        of_image[reference.image].append(reference)
    return [_sample(number, chosen, instances, images) for number, chosen in of_image.items()]


def _sample(number: int, references: Sequence[_Reference], instances: Instances, images: Path) -> Sample:
    try:
        image = instances.image(number)
    except DataError as error:
        return Sample(str(number), images, problem=str(error))
    rounds = tuple(
        Round(text, False, partial(instances.truth, reference.annotations, image.size))
        for reference in references
        for text in reference.texts
    )
    return Sample(str(number), images / image.file_name, rounds)


def _home(folder: Path, name: str) -> Path:
    candidates = [folder / name, folder / "refer_seg" / name]
    another = folder.name in NAMES and folder.name != name  # its files have the same names
    itself = [folder] if any(folder.glob(f"{_prefix(name)}(*).*")) and not another else []
    return first_folder([*itself, *candidates], f"{name} data, a folder with {_prefix(name)}(...) and instances.json")


def _prefix(name: str) -> str:
    return "grefs" if name == "grefcoco" else "refs"


def _image_folder(home: Path) -> Path:
    root = home.parent
    names = ("images/mscoco/images/train2014", "images/train2014", "train2014", "coco/train2014", "images")
    return first_folder([root / name for name in names] + [home / "images"], "images of COCO's train2014 (--images)")


def _is_of(split: str, wanted: str) -> bool:
    """As refer's getRefIds: testA is also in testAB, and test is every split that begins so."""
    if wanted in _EVERY_TEST:
        return split.startswith("test") and _EVERY_TEST[wanted] in split.removeprefix("test")
    return "test" in split if wanted == "test" else split == wanted


def _read_references(home: Path, name: str, partition: str) -> Iterator[_Reference]:
    stem = f"{_prefix(name)}({partition})"
    candidates = [home / f"{stem}.json", home / f"{stem}.p"] if name == "grefcoco" else [home / f"{stem}.p"]
    file = first_file(candidates, f"references of {name}")
    content = read_json_file(file) if file.suffix == ".json" else read_plain_pickle(file)
    if not isinstance(content, list) or not content:
        raise DataError(f"{file} holds no list of references")
    for i, reference in enumerate(content):
        try:
            yield _reference(reference)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise DataError(
                f"{file}: reference {i} is {shown(reference)}; image_id, ann_id, split and sentences with 'sent' are "
                "expected"
            ) from error


def _reference(entry: Any) -> _Reference:
    numbers = entry["ann_id"] if isinstance(entry["ann_id"], list) else [entry["ann_id"]]
    annotations = () if entry.get("no_target") else tuple(int(number) for number in numbers if number != _NO_TARGET)
    texts = tuple(_text(sentence["sent"]).strip().lower() for sentence in entry["sentences"])
    return _Reference(int(entry["image_id"]), annotations, _text(entry["split"]), texts)


def _text(value: Any) -> str:
    """A text without lone surrogates, which a pickle can have; containers, which may be endless, are none."""
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} instead of a text")
    return without_surrogates(value)
