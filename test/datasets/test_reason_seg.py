# SPDX-License-Identifier: Apache-2.0
"""ReasonSeg folders as they are released: encodings, explanations, and damaged files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_datasets import BLUE_BOX, HEIGHT, RED_BOX, WIDTH, box_mask, reason, shape, write_image, write_reason_seg

from lisa_ros.datasets.catalogue import DATASETS, Source
from lisa_ros.datasets.reason_seg import read_reason_seg
from lisa_ros.datasets.samples import DataError, usable

SIZE = (HEIGHT, WIDTH)


def test_a_sample_has_its_texts_and_its_truth(tmp_path: Path) -> None:
    folder = write_reason_seg(
        tmp_path / "val", {"b": reason("what is red?", "and why?"), "a": reason("red", is_sentence=False)}
    )
    first, second = read_reason_seg(folder)
    assert [first.name, second.name] == ["a.jpg", "b.jpg"]
    assert [asked.text for asked in second.rounds] == ["what is red?", "and why?"]
    assert (first.rounds[0].is_sentence, second.rounds[0].is_sentence) == (False, True)
    assert not second.dialogue and second.rounds[0].answer is None
    truth = second.rounds[1].truth()
    assert truth.dtype == np.uint8
    assert np.array_equal(truth == 1, box_mask(RED_BOX))


def test_cp1252_and_a_byte_order_mark(tmp_path: Path) -> None:
    files = {
        "a": json.dumps(reason("the café sign"), ensure_ascii=False).encode("cp1252"),
        "b": b"\xef\xbb\xbf" + json.dumps(reason("das grüne Glas"), ensure_ascii=False).encode(),
    }
    texts = [sample.rounds[0].text for sample in read_reason_seg(write_reason_seg(tmp_path, files))]
    assert texts == ["the café sign", "das grüne Glas"]


def test_damaged_files_are_problems_of_their_samples(tmp_path: Path) -> None:
    without = {key: value for key, value in reason("what?").items() if key != "shapes"}
    files = {
        "0good": reason("what?"),
        "1noshapes": without,
        "2missing": None,
        "3broken": b'{"text": ["wh',
        "4list": b"[1, 2]",
        "5notext": reason(),
        "6points": reason("what?", shapes=[{"label": "target"}]),
        "7bytes": b'{"text": ["\x81\xff"]}',
        "8number": reason("what?") | {"is_sentence": "yes"},
    }
    samples = read_reason_seg(write_reason_seg(tmp_path, files))
    problems = [sample.problem or "" for sample in samples]
    assert problems[0] == ""
    for problem, part in zip(
        problems[1:],
        [
            "'shapes'",
            "there is no file",
            "not a complete JSON",
            "no JSON object",
            "'text'",
            "shape 1 is",
            "neither",
            "'is_sentence'",
        ],
        strict=True,
    ):
        assert part in problem and str(tmp_path) in problem
    with pytest.raises(DataError, match=r"'shapes'.*and 7 more"):
        usable(samples)
    assert usable(samples[:1]) == samples[:1]


def test_a_dialogue_is_read_turn_by_turn(tmp_path: Path) -> None:
    square = [{"label": "target", "points": [[1, 1], [4, 1], [4, 4], [1, 4]]}]
    turns = [
        {"text": "the mug", "answer": "Sure, it is [SEG].", "shapes": square},
        {"text": "and the blue one?", "answer": "There is no blue mug here.", "shapes": []},
    ]
    (sample,) = read_reason_seg(write_reason_seg(tmp_path, {"a": {"dialogue": turns}}))
    assert sample.dialogue and sample.problem is None
    assert [(one.text, one.answer) for one in sample.rounds] == [(one["text"], one["answer"]) for one in turns]
    assert [int((one.truth() == 1).sum()) for one in sample.rounds] == [16, 0]


@pytest.mark.parametrize(
    ("turns", "part"),
    [
        ([], "one turn or more"),
        ("the mug", "one turn or more"),
        ([{"text": "the mug", "shapes": []}], "a text, an answer and shapes"),
        ([{"text": "the mug", "answer": "No.", "shapes": None}], "'shapes'"),
        ([{"text": "the mug", "answer": "[SEG].", "shapes": []}], "one [SEG] is expected with shapes"),
        (
            [
                {
                    "text": "the mug",
                    "answer": "Sure.",
                    "shapes": [{"label": "target", "points": [[1, 1], [2, 2], [1, 2]]}],
                }
            ],
            "one [SEG] is expected with shapes",
        ),
    ],
)
def test_an_invalid_dialogue_is_a_problem(tmp_path: Path, turns: object, part: str) -> None:
    (sample,) = read_reason_seg(write_reason_seg(tmp_path, {"a": {"dialogue": turns}}))
    assert part in (sample.problem or "") and str(tmp_path) in (sample.problem or "")


def test_an_image_with_an_exif_orientation_is_turned_as_opencv_turns_it(tmp_path: Path) -> None:
    from PIL import Image

    folder = write_reason_seg(tmp_path, {"a": reason("what?")})
    upright = Image.new("RGB", (HEIGHT, WIDTH))
    turned = upright.getexif()
    turned[0x0112] = 6
    upright.save(folder / "a.jpg", exif=turned)
    (sample,) = read_reason_seg(folder)
    assert sample.rounds[0].truth().shape == SIZE


def test_explanations_become_answers(tmp_path: Path) -> None:
    folder = write_reason_seg(tmp_path / "train", {"a": reason("what?"), "b": reason("why?")})
    explained = tmp_path / "explanatory" / "train.json"
    explained.parent.mkdir()
    explained.write_text(json.dumps([{"image": "b.jpg", "query": "why?", "outputs": "Because it is red."}]))
    assert [sample.rounds[0].answer for sample in read_reason_seg(folder)] == [None, "Because it is red."]
    explained.write_text(json.dumps([{"image": "b.jpg"}]))
    with pytest.raises(DataError, match="outputs"):
        read_reason_seg(folder)
    with pytest.raises(DataError, match="there is no file"):
        read_reason_seg(folder, tmp_path / "nowhere.json")


def test_folders_without_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        read_reason_seg(tmp_path / "val")
    with pytest.raises(DataError, match="no images"):
        read_reason_seg(tmp_path)


def test_png_images_too(tmp_path: Path) -> None:
    write_image(tmp_path / "a.PNG")
    (tmp_path / "a.json").write_text(json.dumps(reason("what?", shapes=[shape("target", BLUE_BOX)])))
    (sample,) = read_reason_seg(tmp_path)
    assert np.array_equal(sample.rounds[0].truth() == 1, box_mask(BLUE_BOX))


def test_several_objects_of_an_image(tmp_path: Path) -> None:
    objects = [
        {"text": ["red", "the red one"], "is_sentence": False, "shapes": [shape("target", RED_BOX)]},
        {"text": "What is blue?", "is_sentence": True, "shapes": [shape("target", BLUE_BOX)]},
    ]
    (sample,) = read_reason_seg(write_reason_seg(tmp_path, {"a": {"objects": objects}}))
    assert [(one.text, one.is_sentence) for one in sample.rounds] == [
        ("red", False),
        ("the red one", False),
        ("What is blue?", True),
    ]
    assert not sample.dialogue
    assert np.array_equal(sample.rounds[1].truth() == 1, box_mask(RED_BOX))
    assert np.array_equal(sample.rounds[2].truth() == 1, box_mask(BLUE_BOX))


def test_a_folder_of_another_split_is_not_taken_for_the_one_that_is_asked_for(tmp_path: Path) -> None:
    read = DATASETS["reason_seg"].read
    folder = write_reason_seg(tmp_path / "train", {"a": reason("the red square", is_sentence=False)})
    assert len(read(Source(folder, "train"))) == len(read(Source(tmp_path, "train"))) == 1
    with pytest.raises(DataError, match="no folder of split 'val'"):
        read(Source(folder, "val"))
    with pytest.raises(DataError, match="no split 'valid'; there are train, val, test"):
        read(Source(tmp_path, "valid"))
    (tmp_path / "train").rename(tmp_path / "mine")
    assert len(read(Source(tmp_path / "mine", "val"))) == 1, "a folder of any other name is the split itself"
