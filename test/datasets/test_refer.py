# SPDX-License-Identifier: Apache-2.0
"""RefCOCO's family, MR-RefCOCO's dialogues, and COCO's masks."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco
from tiny_datasets import (
    BLUE_BOX,
    HEIGHT,
    RED_BOX,
    WIDTH,
    box_mask,
    coco_image,
    polygon,
    reference,
    said,
    write_grefer,
    write_image,
    write_mr_refcoco,
    write_refer,
)

from lisa_ros.datasets.catalogue import DATASETS, Source
from lisa_ros.datasets.masks import decode_mask, decode_segmentation, encode_mask
from lisa_ros.datasets.mr_refcoco import find_image, read_mr_refcoco
from lisa_ros.datasets.refer import partition_of, read_refer
from lisa_ros.datasets.samples import DataError
from lisa_ros.evaluation.options import DATASETS as NAMES

SIZE = (HEIGHT, WIDTH)
REFERENCES = [
    reference(1, 11, " The RED one ", "left square"),
    reference(2, 22, "the blue one", image=2),
    reference(3, 12, "blue", split="testA"),
    reference(4, 12, "right square"),
    reference(5, 11, "red", split="testAB", image=2),
    reference(6, 11, "square", split="train"),
]


def test_the_names_of_the_command_line_are_the_readers() -> None:
    assert tuple(DATASETS) == NAMES


def test_every_sentence_of_every_reference(tmp_path: Path) -> None:
    first, second = read_refer(write_refer(tmp_path, REFERENCES), "refcoco", "val")
    assert [first.name, second.name] == ["1", "2"]
    assert [asked.text for asked in first.rounds] == ["the red one", "left square", "right square"]
    assert not any(asked.is_sentence for asked in first.rounds) and not first.dialogue
    truths = [asked.truth() for asked in first.rounds]
    for truth, box in zip(truths, (RED_BOX, RED_BOX, BLUE_BOX), strict=True):
        assert np.array_equal(truth == 1, box_mask(box))
    assert isinstance(first.image, Path) and first.image.is_file()


@pytest.mark.parametrize(
    ("split", "texts"),
    [("testA", ["blue", "red"]), ("testB", ["red"]), ("test", ["blue", "red"]), ("train", ["square"])],
)
def test_splits_are_refers(tmp_path: Path, split: str, texts: list[str]) -> None:
    samples = read_refer(write_refer(tmp_path, REFERENCES), "refcoco", split)
    assert [asked.text for sample in samples for asked in sample.rounds] == texts


def test_an_unknown_split_names_the_known(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'vall'.*testA, testAB, train, val"):
        read_refer(write_refer(tmp_path, REFERENCES), "refcoco", "vall")


def test_the_partition_is_upstreams_or_the_only_one(tmp_path: Path) -> None:
    folder = write_refer(tmp_path / "a", REFERENCES, "refcocog", "google")
    assert partition_of(folder, "refcocog") == "google"
    write_refer(tmp_path / "a", REFERENCES, "refcocog", "umd")
    assert partition_of(folder, "refcocog") == "umd"
    assert partition_of(folder / "refcocog", "refcocog") == "umd"
    with pytest.raises(DataError, match=r"refs\(unc\)\.p"):
        read_refer(folder, "refcocog", "val", "unc")


def test_folders_named_in_other_ways(tmp_path: Path) -> None:
    folder = write_refer(tmp_path / "refer_seg", REFERENCES)
    assert len(read_refer(tmp_path, "refcoco", "val")) == len(read_refer(folder / "refcoco", "refcoco", "val")) == 2
    elsewhere = tmp_path / "elsewhere"
    write_image(elsewhere / coco_image(1)["file_name"])
    (sample, _) = read_refer(folder, "refcoco", "val", images=elsewhere)
    assert sample.image == elsewhere / coco_image(1)["file_name"]
    with pytest.raises(DataError, match="nowhere"):
        read_refer(folder, "refcoco", "val", images=tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"refcoco\+ data"):
        read_refer(folder, "refcoco+", "val")
    with pytest.raises(DataError, match=r"refcoco\+ data"):
        read_refer(folder / "refcoco", "refcoco+", "val")


class Bomb:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path) -> None:
    folder = write_refer(tmp_path, REFERENCES)
    mark = tmp_path / "mark"
    (folder / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps([Bomb(f"touch {mark}")]))
    with pytest.raises(DataError, match=r"refused.*system"):
        read_refer(folder, "refcoco", "val")
    assert not mark.exists()


def test_pickles_of_python_2(tmp_path: Path) -> None:
    folder = write_refer(tmp_path, REFERENCES)
    # What Python 2 writes for [{'ref_id': 1, 'ann_id': 11, ...}] with byte strings, one of them in utf-8.
    old = (
        b"(lp0\n(dp1\nS'ref_id'\np2\nI1\nsS'ann_id'\np3\nI11\nsS'image_id'\np4\nI1\nsS'split'\np5\nS'val'\np6\n"
        b"sS'sentences'\np7\n(lp8\n(dp9\nS'sent'\np10\nS'caf\\xc3\\xa9 sign'\np11\nsasa."
    )
    (folder / "refcoco" / "refs(unc).p").write_bytes(old)
    (sample,) = read_refer(folder, "refcoco", "val")
    assert sample.rounds[0].text == "café sign"


@pytest.mark.parametrize(
    "data", [b"", b"no pickle", pickle.dumps({}), pickle.dumps([{"ref_id": 1}]), pickle.dumps([3])]
)
def test_pickles_that_are_damaged(tmp_path: Path, data: bytes) -> None:
    folder = write_refer(tmp_path, REFERENCES)
    (folder / "refcoco" / "refs(unc).p").write_bytes(data)
    with pytest.raises(DataError, match=r"refs\(unc\)\.p"):
        read_refer(folder, "refcoco", "val")


def test_what_instances_lack_is_a_problem_of_the_sample(tmp_path: Path) -> None:
    missing = [reference(1, 11, "red"), reference(2, 99, "gone"), reference(3, 11, "nowhere", image=7)]
    first, second = read_refer(write_refer(tmp_path, missing), "refcoco", "val")
    assert first.rounds[0].truth().any()
    with pytest.raises(DataError, match="no annotation 99"):
        first.rounds[1].truth()
    assert second.problem is not None and "no image 7" in second.problem


def test_instances_that_are_none(tmp_path: Path) -> None:
    folder = write_refer(tmp_path, REFERENCES)
    (folder / "refcoco" / "instances.json").write_text('{"images": [{}], "annotations": []}')
    with pytest.raises(DataError, match=r"is not an instances\.json"):
        read_refer(folder, "refcoco", "val")
    (folder / "refcoco" / "instances.json").unlink()
    with pytest.raises(DataError, match="annotations of refcoco"):
        read_refer(folder, "refcoco", "val")


def test_grefcoco_has_several_and_none(tmp_path: Path) -> None:
    references = [
        reference(1, [11, 12], "both squares"),
        reference(2, [-1], "the dog") | {"no_target": True},
        reference(3, [12], "the blue one"),
    ]
    (sample,) = read_refer(write_grefer(tmp_path, references), "grefcoco", "val")
    both, none, blue = (asked.truth() for asked in sample.rounds)
    assert np.array_equal(both == 1, box_mask(RED_BOX, BLUE_BOX))
    assert not none.any() and none.shape == SIZE
    assert np.array_equal(blue == 1, box_mask(BLUE_BOX))
    assert DATASETS["grefcoco"].resolve(Source(tmp_path, "val")).partition == "unc"


def test_masks_there_and_back() -> None:
    mask = np.random.default_rng(0).random(SIZE) < 0.3
    assert np.array_equal(decode_mask(encode_mask(mask), SIZE), mask)
    assert not decode_mask(encode_mask(np.zeros(SIZE, bool)), SIZE).any()


def test_every_way_that_coco_writes_a_mask() -> None:
    red, blue = box_mask(RED_BOX), box_mask(BLUE_BOX)
    text = {"size": list(SIZE), "counts": encode_mask(blue)}
    raw = coco.encode(np.asfortranarray(blue, dtype=np.uint8))
    assert np.array_equal(decode_segmentation([polygon(RED_BOX)], SIZE), red)
    assert np.array_equal(decode_segmentation([polygon(RED_BOX), polygon(BLUE_BOX)], SIZE), red | blue)
    for code in (text, raw, [text], [polygon(BLUE_BOX), text]):
        assert np.array_equal(decode_segmentation(code, SIZE), blue)
    overlapping = decode_segmentation([polygon(RED_BOX), polygon(RED_BOX)], SIZE)
    assert np.array_equal(overlapping, red), "parts that overlap are one mask"
    assert not decode_segmentation([], SIZE).any()


@pytest.mark.parametrize(
    "bad",
    [
        None,
        "polygon",
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        [["a"] * 6],
        {"size": [3, 3], "counts": [9]},
        {"size": [HEIGHT, WIDTH], "counts": [1, 2]},
        {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH + 5, -5]},
        {"size": [HEIGHT, WIDTH], "counts": "`P1"},
        {"size": [HEIGHT, WIDTH], "counts": "é"},
        {"size": [HEIGHT, WIDTH], "counts": "o" * 40},
        {"size": [HEIGHT], "counts": None},
        {"counts": [1]},
    ],
)
def test_masks_that_are_none(bad: object) -> None:
    with pytest.raises(DataError):
        decode_segmentation(bad, SIZE)


RED_ID, BLUE_ID = "coco/train2014/COCO_train2014_000000000001.png|refcoco|11", "x|refcoco|12"
IMAGE = "[IMAGE256:coco/val2014/COCO_train2014_000000000001.png]"


def test_rounds_of_a_dialogue(tmp_path: Path) -> None:
    dialogue = said(
        f"{IMAGE} Segment the red square .",
        f"[MASK-DECODE:{RED_ID}]",
        f"[MASK-ENCODE:{RED_ID}][BOX-ENCODE:{RED_ID}]Segment what is right of it [sic]",
        "[MASK-DECODE:rel:11:12:coco/train2014/COCO_train2014_000000000001.png:refcoco]",
        f"Nothing of [MASK-ENCODE:{BLUE_ID}] and [MASK-ENCODE:{RED_ID}].",
        f"Sure. [MASK-DECODE:{RED_ID}]",
        "And this?",
        "<FAKE_MASK_OUT>",
        f"[MASK-ENCODE:{RED_ID}][BOX-ENCODE:{RED_ID}][MASK-ENCODE:{BLUE_ID}][MASK-ENCODE:x|refcoco|13] Again",
        f"[MASK-DECODE:{BLUE_ID}]",
    )
    (sample,) = read_mr_refcoco(write_mr_refcoco(tmp_path, [dialogue]))
    assert sample.dialogue and isinstance(sample.image, Path) and sample.image.is_file()
    assert [asked.text for asked in sample.rounds] == [
        "Segment the red square.",
        "Segment what is right of it [sic]",
        "Nothing of and.",
        "Again",
    ]
    assert [asked.references for asked in sample.rounds] == [(), (1,), (2, 1), (3, 2)]
    assert np.array_equal(sample.rounds[1].truth() == 1, box_mask(BLUE_BOX))
    assert all(asked.is_sentence for asked in sample.rounds)


def test_dialogues_that_are_damaged(tmp_path: Path) -> None:
    dialogues = [
        said(f"{IMAGE} Segment it.", f"[MASK-DECODE:{RED_ID}]"),
        {"conversations": 3},
        said("only one"),
        said(f"{IMAGE} Segment it.", "no mask"),
        said(f"{IMAGE} Segment it.", "[MASK-DECODE:what]"),
        said(f"{IMAGE}", f"[MASK-DECODE:{RED_ID}]"),
        "no dialogue",
    ]
    good, *rest = read_mr_refcoco(write_mr_refcoco(tmp_path, dialogues))
    assert good.problem is None
    for i, sample in enumerate(rest, start=1):
        assert sample.problem is not None and f"dialogue {i}" in sample.problem


@pytest.mark.parametrize(
    ("target", "why"), [("x|INFERENCE|1", "no truth"), ("x|ade20k|1", "ade20k"), ("x|refcoco|one", "not the number")]
)
def test_masks_that_cannot_be_looked_up(tmp_path: Path, target: str, why: str) -> None:
    dialogue = said(f"{IMAGE} Segment it.", f"[MASK-DECODE:{target}]")
    (sample,) = read_mr_refcoco(write_mr_refcoco(tmp_path, [dialogue]))
    with pytest.raises(DataError, match=why):
        sample.rounds[0].truth()


def test_files_of_dialogues(tmp_path: Path) -> None:
    folder = write_mr_refcoco(tmp_path, [said(f"{IMAGE} It.", f"[MASK-DECODE:{RED_ID}]")], "mr_refcoco+_val")
    assert len(read_mr_refcoco(folder, "refcoco+_val")) == 1
    with pytest.raises(DataError, match=r"mr_refcoco_test\.json"):
        read_mr_refcoco(folder, "test")
    (folder / "conversations_folder" / "mr_refcoco_empty.json").write_text(json.dumps([]))
    with pytest.raises(DataError, match="no list of dialogues"):
        read_mr_refcoco(folder, "empty")


def test_segllms_corrections_of_file_names(tmp_path: Path) -> None:
    for name in ("coco/train2014/a.jpg", "vg/VG_100K/b.jpg", "train2017/c.jpg", "object365/d.jpg"):
        write_image((tmp_path / name).with_suffix(".png")).rename(tmp_path / name)
    assert find_image(tmp_path, "coco/val2014/new_a.jpg") == tmp_path / "coco/train2014/a.jpg"
    assert find_image(tmp_path, "VG_100K/b.jpg") == tmp_path / "vg/VG_100K/b.jpg"
    assert find_image(tmp_path, "val2017/c.jpg") == tmp_path / "train2017/c.jpg"
    assert find_image(tmp_path, "images/d.jpg") == tmp_path / "object365/d.jpg"
    assert find_image(tmp_path, "elsewhere/a.jpg") == tmp_path / "coco/train2014/a.jpg"
    assert find_image(tmp_path, "gone.jpg") == tmp_path / "gone.jpg"
