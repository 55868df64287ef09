# SPDX-License-Identifier: Apache-2.0
"""Reads a folder of your own images, in any of the supported formats."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from lisa_ros.datasets.files import IMAGE_SUFFIXES, image_files, read_json_file
from lisa_ros.datasets.own.coco import looks_like_coco, read_coco
from lisa_ros.datasets.own.labelme import read_labelme
from lisa_ros.datasets.own.mask_images import mask_folder, read_mask_images
from lisa_ros.datasets.own.texts import FILE as TEXTS_FILE
from lisa_ros.datasets.own.texts import Texts, texts_in, unused_texts
from lisa_ros.datasets.reason_seg import read_annotated, read_reason_seg
from lisa_ros.datasets.samples import DataError, Sample

Format = Literal["reason_seg", "labelme", "coco", "masks"]

_OUR_KEYS = ("text", "objects", "dialogue")
_LABELS_FILE = "labels.json"

_log = logging.getLogger(__name__)


def read_folder(folder: Path, texts: Texts | None = None) -> list[Sample]:
    """Reads a folder of images with masks.

    Args:
        folder: images with a JSON file each (ReasonSeg's, LabelMe's), images with COCO's instances, or images with
            masks as images, see own.mask_images. Also an instances file of COCO itself.
        texts: label -> texts; None: those of the folder's texts.json, where it has one.

    Returns:
        a sample for each image; what cannot be used makes a sample with a problem. Texts for a label that no image
        has are left out, with a warning.

    Raises:
        DataError: the folder has none of these formats, or a file of all images is damaged.
    """
    texts = texts_in(folder) if texts is None else texts
    samples = read_as(format_of(folder), folder, texts)
    for sentence in unused_texts(samples, texts):
        _log.warning("%s: %s", folder, sentence)
    return samples


def read_as(found: Format, folder: Path, texts: Texts) -> list[Sample]:
    """Reads a folder whose format is known, see read_folder."""
    if found == "coco":
        return _read_coco(folder, texts)
    if found == "masks":
        return read_mask_images(folder, texts)
    if found == "reason_seg":
        return [*read_reason_seg(folder), *_without_image(folder, texts)]
    return list(_read_annotated(folder, texts))


def format_of(folder: Path) -> Format:
    """The format of a folder.

    Raises:
        DataError: it has none that is known.
    """
    if folder.is_file() and looks_like_coco(folder):
        return "coco"
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; one with images and their masks is expected")
    if _coco_files(folder):
        return "coco"
    if mask_folder(folder) is not None:
        return "masks"
    files = _annotations(folder)
    if not files and not image_files(folder):
        raise DataError(
            f"{folder} has no images ({', '.join(IMAGE_SUFFIXES)}) with masks: a JSON file for each image (ReasonSeg, "
            "LabelMe), COCO's instances, or a folder masks/ is expected"
        )
    return "labelme" if any(_is_labelme(file) for file in files) else "reason_seg"


def _is_labelme(file: Path) -> bool:
    content = _json_or_none(file)
    return isinstance(content, dict) and "shapes" in content and not any(key in content for key in _OUR_KEYS)


def _annotations(folder: Path) -> list[Path]:
    """JSON files of single images."""
    own = (TEXTS_FILE, _LABELS_FILE)
    return [file for file in sorted(folder.glob("*.json")) if file.name not in own]


def _read_coco(folder: Path, texts: Texts) -> list[Sample]:
    files = [folder] if folder.is_file() else _coco_files(folder)
    if len(files) > 1:
        raise DataError(f"{folder} has several instances files; name one of them: {', '.join(map(str, files))}")
    home = files[0].parent
    roots = dict.fromkeys([home, *([folder] if folder.is_dir() else [home.parent])])
    inside = [entry for root in roots for entry in sorted(root.iterdir()) if entry.is_dir()]
    homes = dict.fromkeys([*(root / "images" for root in roots), *roots, *inside])
    return read_coco(files[0], list(homes), texts)


def _coco_files(folder: Path) -> list[Path]:
    homes = [folder, folder / "annotations", *(folder / name for name in ("train", "valid", "test"))]
    files = [file for home in homes if home.is_dir() for file in sorted(home.glob("*.json"))]
    stems = {image.stem for image in image_files(folder)}
    return [file for file in files if file.stem not in stems and looks_like_coco(file)]


def _json_or_none(file: Path) -> Any:
    try:
        return read_json_file(file)
    except (DataError, OSError):
        return None


def _read_annotated(folder: Path, texts: Texts) -> Iterator[Sample]:
    """LabelMe's files, and ReasonSeg's among them; an image or a file without the other is a problem."""
    files, images = _annotations(folder), {image.stem: image for image in image_files(folder)}
    for file in files:
        yield _read_one(file, images.pop(file.stem, None), texts)
    for image in images.values():
        yield Sample(image.name, image, problem=f"{image} has no JSON file {image.with_suffix('.json').name} beside it")


def _without_image(folder: Path, texts: Texts) -> Iterator[Sample]:
    """Files beside which no image has their name."""
    stems = {image.stem for image in image_files(folder)}
    return (_read_one(file, None, texts) for file in _annotations(folder) if file.stem not in stems)


def _read_one(file: Path, image: Path | None, texts: Texts) -> Sample:
    content = _json_or_none(file)
    if image is None:
        named = content.get("imagePath") if isinstance(content, dict) else None
        named = named if isinstance(named, str) else ""
        # LabelMe writes Windows' paths, too.
        image = file.parent / named.replace("\\", "/")
        if not named or not image.is_file():
            kinds = ", ".join(IMAGE_SUFFIXES)
            problem = f"{file} has no image ({kinds}): neither one of its name nor {named!r}"
            return Sample(file.name, file, problem=problem)
    if not _is_labelme(file):
        return read_annotated(image, file)
    return read_labelme(image, file, content, texts)
