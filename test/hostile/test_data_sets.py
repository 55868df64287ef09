# SPDX-License-Identifier: Apache-2.0
"""Data sets of any content are read, or refused with one sentence that names the file; within bounds of memory."""

from __future__ import annotations

import base64
import json
import pickle
import shutil
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hostile_cases import cases
from hypothesis import given
from hypothesis import strategies as st
from mutation import BYTES, CHANGES, changed, changed_bytes
from PIL import Image
from tiny_datasets import (
    BLUE_BOX,
    HEIGHT,
    RED_BOX,
    WIDTH,
    box_mask,
    reason,
    reference,
    said,
    shape,
    write_coco_images,
    write_image,
    write_instances,
    write_mr_refcoco,
    write_reason_seg,
    write_refer,
)

from lisa_ros.datasets.loading import load_image
from lisa_ros.datasets.masks import decode_segmentation
from lisa_ros.datasets.mr_refcoco import read_mr_refcoco
from lisa_ros.datasets.own.inspection import inspect
from lisa_ros.datasets.own.reading import read_folder
from lisa_ros.datasets.refer import read_refer
from lisa_ros.datasets.samples import DataError, Sample
from lisa_ros.datasets.shapes import mask_entry, parse_shapes
from lisa_ros.segmentation.errors import LisaError

pytestmark = pytest.mark.unit

Read = Callable[[], list[Sample]]


def is_answered(read: Read) -> None:
    """Everything can be read or is refused with a sentence; a mask has its image's size."""
    try:
        samples = read()
    except (LisaError, OSError) as error:  # what `lisa` shows as one sentence
        assert str(error)
        return
    inspect(samples)
    for sample in samples:
        if sample.problem is not None:
            continue
        for asked in sample.rounds:
            asked.text.encode()
            try:
                load_image(sample.image)
                assert asked.truth().size <= 4 * HEIGHT * WIDTH
            except LisaError as error:
                assert str(error)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


def written(folder: Path, write: Callable[[Path], Any]) -> Path:
    """The folder, made once a module."""
    if not folder.exists():
        folder.mkdir()
        write(folder)
    return folder


LABELME = {
    "version": "5.4.1",
    "imagePath": "a.jpg",
    "imageWidth": WIDTH,
    "imageHeight": HEIGHT,
    "shapes": [
        {**shape("mug", RED_BOX), "shape_type": "polygon", "group_id": 1, "description": "the red one"},
        {"label": "cup", "shape_type": "circle", "points": [[20, 20], [25, 25]]},
        {"label": "box", "shape_type": "rectangle", "points": [[2, 2], [30, 30]]},
        mask_entry("bowl", box_mask(BLUE_BOX)),
    ],
}
REASON = {**reason("the mug", "What holds coffee?"), "objects": [reason("a cup")]}
DIALOGUE = {"dialogue": [{"text": "the mug", "answer": "It is [SEG].", "shapes": [shape("target", RED_BOX)]}]}


@cases(400)
@given(content=st.sampled_from([LABELME, reason("the mug", "What is it?"), REASON, DIALOGUE]), changes=CHANGES)
def test_an_annotation_of_one_image(home: Path, content: dict[str, Any], changes: list[tuple[int, str, Any]]) -> None:
    folder = written(home / "annotated", lambda folder: write_reason_seg(folder, {"a": None}))
    (folder / "a.json").write_text(json.dumps(changed(content, changes)))
    is_answered(lambda: read_folder(folder))


@cases(200)
@given(content=st.sampled_from([LABELME, REASON, DIALOGUE]), changes=BYTES)
def test_the_bytes_of_an_annotation(home: Path, content: dict[str, Any], changes: list[tuple[int, str, bytes]]) -> None:
    folder = written(home / "annotated", lambda folder: write_reason_seg(folder, {"a": None}))
    (folder / "a.json").write_bytes(changed_bytes(json.dumps(content).encode(), changes))
    is_answered(lambda: read_folder(folder))


def coco_folder(home: Path) -> tuple[Path, dict[str, Any]]:
    folder = written(home / "coco", lambda folder: write_coco_images(folder, "images"))
    content: dict[str, Any] = json.loads(write_instances(folder / "instances.json").read_text())
    for annotation in content["annotations"]:
        annotation["category_id"] = 1
    return folder, content


@cases(400)
@given(changes=CHANGES)
def test_instances_of_coco(home: Path, changes: list[tuple[int, str, Any]]) -> None:
    folder, content = coco_folder(home)
    (folder / "instances.json").write_text(json.dumps(changed(content, changes)))
    is_answered(lambda: read_folder(folder))


REFERENCES = [reference(1, 11, "the red square", " Red "), reference(2, 12, "the blue square", image=2)]


@cases(300)
@given(changes=CHANGES, protocol=st.integers(0, 5))
def test_references_of_refcoco(home: Path, changes: list[tuple[int, str, Any]], protocol: int) -> None:
    folder = written(home / "refer", lambda folder: write_refer(folder, REFERENCES))
    data = pickle.dumps(changed(REFERENCES, changes), protocol=protocol)
    (folder / "refcoco" / "refs(unc).p").write_bytes(data)
    is_answered(lambda: read_refer(folder, "refcoco", "val"))


@cases(300)
@given(changes=BYTES, protocol=st.integers(0, 5))
def test_the_bytes_of_a_pickle_of_references(home: Path, changes: list[tuple[int, str, bytes]], protocol: int) -> None:
    folder = written(home / "refer", lambda folder: write_refer(folder, REFERENCES))
    data = changed_bytes(pickle.dumps(REFERENCES, protocol=protocol), changes)
    (folder / "refcoco" / "refs(unc).p").write_bytes(data)
    is_answered(lambda: read_refer(folder, "refcoco", "val"))


DIALOGUES = [
    said(
        "[IMAGE256:coco/train2014/x.png] the red square",
        "[MASK-DECODE:x.png|refcoco|11]",
        "left of [MASK-ENCODE:x.png|refcoco|11]",
        "[MASK-DECODE:x.png|refcoco|12]",
    )
]


@cases(200)
@given(changes=CHANGES)
def test_dialogues_of_mr_refcoco(home: Path, changes: list[tuple[int, str, Any]]) -> None:
    folder = written(home / "mr", lambda folder: write_mr_refcoco(folder, DIALOGUES))
    file = folder / "conversations_folder" / "all_data_mix_val" / "mr_refcoco_val.json"
    file.write_text(json.dumps(changed(DIALOGUES, changes)))
    is_answered(lambda: read_mr_refcoco(folder))


def write_masks(folder: Path) -> None:
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    write_image(folder / "images" / "a.png")


LABELS: dict[str, tuple[str, bytes]] = {
    "json": ("labels.json", json.dumps({"0": "background", "1": "mug", "2": "cup"}).encode()),
    "csv": ("_classes.csv", b"Pixel Value, Class\n0, background\n1, mug\n2, cup\n"),
    "map": ("labelmap.txt", b"# label:color_rgb:parts:actions\nbackground:0,0,0::\nmug:230,20,20::\n"),
    "texts": ("texts.json", json.dumps({"a": ["the mug", "what is it?"], "mug": "it"}).encode()),
}


@cases(400)
@given(
    kind=st.sampled_from(sorted(LABELS)),
    labels=st.one_of(st.just([]), BYTES),
    mask=st.one_of(st.just([]), BYTES),
    mode=st.sampled_from(["L", "P", "RGB", "1", "I;16", "RGBA", "LA"]),
)
def test_masks_as_images(home: Path, kind: str, labels: list[Any], mask: list[Any], mode: str) -> None:
    folder = home / "masks"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    write_masks(folder)
    name, data = LABELS[kind]
    (folder / name).write_bytes(changed_bytes(data, labels))
    (folder / "masks" / "a.png").write_bytes(changed_bytes(mask_file(mode), mask))
    is_answered(lambda: read_folder(folder))


def mask_file(mode: str) -> bytes:
    if mode == "I;16":
        return cv2.imencode(".png", box_mask(RED_BOX).astype(np.uint16))[1].tobytes()
    stream = BytesIO()
    Image.fromarray(box_mask(RED_BOX).astype(np.uint8)).convert(mode).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    "segmentation",
    [[[0, 0, 3e9, 0, 3e9, 3e9]], [[0, 0, float("nan"), 0, 5, 5]], [[0, 0, 1e6, 0, 0, 0] * 100]],
    ids=["far", "nan", "long"],
)
def test_polygons_that_end_the_process_in_pycocotools(segmentation: Any) -> None:
    with pytest.raises(DataError, match="a polygon has numbers up to"):
        decode_segmentation(segmentation, (HEIGHT, WIDTH))


def laughs(make: Callable[[Any], Any]) -> Any:
    """2^60 numbers in a few bytes of a pickle."""
    content: Any = make([1])
    for _ in range(60):
        content = make([content, content])
    return content


def test_pickles_that_take_memory_and_time_beyond_their_size(home: Path) -> None:
    folder = written(home / "refer", lambda folder: write_refer(folder, REFERENCES))
    entry = {**REFERENCES[0], "sentences": [{"sent": laughs(list)}]}
    reused = "it uses one tuple or number in several places"
    for data, sentence in (
        (b"\x80\x02]r\xff\xff\xff\x3f.", "it numbers an object 1073741823, more than the file can have"),
        (b"]p1073741823\n.", "it numbers an object 1073741823, more than the file can have"),
        (pickle.dumps([{"ann_id": laughs(tuple)}], protocol=2), reused),
        (
            pickle.dumps([entry], protocol=2),
            "reference 0 is {.*; image_id, ann_id, split and sentences with 'sent' are",
        ),
    ):
        (folder / "refcoco" / "refs(unc).p").write_bytes(data)
        with pytest.raises(DataError, match=sentence):
            read_refer(folder, "refcoco", "val")


def test_files_that_claim_gigabytes_of_pixels(home: Path) -> None:
    """30,000 x 30,000 pixels in some bytes: as a mask's image, within an annotation, and as an image's size."""
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 30_000, 30_000, 8, 0, 0, 0, 0)
    bomb += struct.pack(">I", zlib.crc32(bomb[12:]))
    masks = home / "bomb"
    masks.mkdir()
    write_masks(masks)
    (masks / "labels.json").write_text('{"1": "mug"}')
    (masks / "masks" / "a.png").write_bytes(bomb)
    assert "cannot be read as a mask" in str(read_folder(masks)[0].problem)
    entry = {**mask_entry("bowl", box_mask(RED_BOX)), "mask": base64.b64encode(bomb).decode()}
    with pytest.raises(DataError, match="has no 'mask' that is a PNG in base64"):
        parse_shapes([entry])
    folder, content = coco_folder(home)
    content["images"][0]["height"] = 10**12
    (folder / "instances.json").write_text(json.dumps(content))
    assert "has height 1000000000000 and width 64" in str(read_folder(folder)[0].problem)


def test_texts_that_are_no_texts(home: Path) -> None:
    folder = written(home / "annotated", lambda folder: write_reason_seg(folder, {"a": None}))
    (folder / "a.json").write_text(json.dumps(reason("the \ud800 mug")))
    assert "half of a character" in str(read_folder(folder)[0].problem)
    masks = written(home / "latin", write_masks)
    (masks / "masks" / "a.png").write_bytes(mask_file("L"))
    (masks / "labelmap.txt").write_bytes("grün:1,1,1::".encode("latin-1"))
    with pytest.raises(DataError, match="is not UTF-8 text"):
        read_folder(masks)
