# SPDX-License-Identifier: Apache-2.0
"""A data set of any format as a folder of images with a JSON file each: what `lisa data convert` writes.

The JSON is ReasonSeg's, with several objects of an image side by side; masks are LabelMe's "mask" shapes, which keep
every pixel.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lisa_ros.datasets.files import IMAGE_SUFFIXES
from lisa_ros.datasets.own.reading import format_of, read_as
from lisa_ros.datasets.own.texts import Texts, texts_in, unused_texts
from lisa_ros.datasets.samples import IGNORE, DataError, Round, Sample, check_size
from lisa_ros.datasets.shapes import mask_entry
from lisa_ros.segmentation.files.atomic_files import naming, write_json
from lisa_ros.segmentation.files.image_files import read_image, write_image
from lisa_ros.segmentation.files.output_folders import OutputError, whole_folder


def convert_data(source: Path, output: Path, texts: Texts | None = None) -> tuple[int, list[str]]:
    """Writes a data set as a folder of images with a JSON file each.

    The folder gets its name when it is complete, see `whole_folder`.

    Args:
        source: LabelMe's files, COCO's instances, or masks as images; see own.reading.
        output: the folder; new or empty.
        texts: label -> texts; None: those of the source's texts.json, where it has one.

    Returns:
        (images written, the problems of those that were not, and of texts that no image needs).

    Raises:
        DataError: the source cannot be read, or already has this format.
        OutputError: the output cannot be used.
    """
    if output.is_dir() and any(output.iterdir()):
        raise OutputError(f"{output} is not empty; name a new folder for the output, or delete it")
    found = format_of(source)
    if found == "reason_seg":
        raise DataError(f"{source} already has ReasonSeg's format; there is nothing to convert")
    texts = texts_in(source) if texts is None and source.is_dir() else texts or {}
    samples = read_as(found, source, texts)
    problems = [sample.problem for sample in samples if sample.problem] + unused_texts(samples, texts)
    written, names = 0, set[str]()
    sound = [one for one in samples if one.problem is None]
    with whole_folder(output) as folder:
        for sample in tqdm(sound, desc="converting", unit="image", disable=None):
            try:
                _write(sample, folder, names)
                written += 1
            except ValueError as error:
                problems.append(str(error))
    return written, problems


def _write(sample: Sample, output: Path, names: set[str]) -> None:
    assert isinstance(sample.image, Path)
    image = read_image(sample.image)
    size = (image.shape[0], image.shape[1])
    objects = [_object(sample.name, rounds, size) for rounds in _by_truth(sample.rounds)]
    name, suffix = _free_name(sample.image.stem, names), sample.image.suffix.lower()
    write_json(output / f"{name}.json", {"objects": objects})
    if suffix in IMAGE_SUFFIXES:
        with naming(output / f"{name}{suffix}"):
            shutil.copyfile(sample.image, output / f"{name}{suffix}")
    else:  # a kind of file that the written format does not have
        write_image(output / f"{name}.png", image)


def _free_name(stem: str, names: set[str]) -> str:
    """Images of several folders may share a name."""
    name, number = stem, 1
    while name in names:
        number += 1
        name = f"{stem}_{number}"
    names.add(name)
    return name


def _by_truth(rounds: Sequence[Round]) -> list[list[Round]]:
    """Groups texts of the same mask and kind: they belong to one object."""
    groups: dict[tuple[int, bool], list[Round]] = {}
    for one in rounds:
        groups.setdefault((id(one.truth), one.is_sentence), []).append(one)
    return list(groups.values())


def _object(name: str, rounds: Sequence[Round], size: tuple[int, int]) -> dict[str, Any]:
    truth = rounds[0].truth()
    check_size(name, truth, size)
    parts = [("target", truth == 1), ("ignore", truth == IGNORE)]
    return {
        "text": [one.text for one in rounds],
        "is_sentence": rounds[0].is_sentence,
        "shapes": [mask_entry(label, mask) for label, mask in parts if mask.any()],
    }
