# SPDX-License-Identifier: Apache-2.0
"""What models write, literally, and the objects that are read from it; complete or cut anywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lisa_ros.models.pointing.conventions import CONVENTIONS, convention_for
from lisa_ros.models.pointing.growing_answer import NOTHING_THERE, TOO_MANY, GrowingAnswer
from lisa_ros.models.pointing.parsing import Pointed, json_pieces, on_image, pointed_in, tagged_pieces
from lisa_ros.segmentation.answers import ObjectMask
from lisa_ros.segmentation.errors import LisaError

SEVERAL = (
    "<think>The mugs are left {of} the plate [1, 2].</think>"
    '<answer>[{"bbox_2d": [10,100,200,210], "point_2d": [30,110]}, '
    '{"bbox_2d": [225,296,706,786], "point_2d": [302,410]}]</answer>'
)
ONE = "<think>The cup.</think><answer>{'bbox': [10,100,200,210], 'points_1': [30,110], 'points_2': [35,180]}</answer>"
TAGS = (
    "<think>A cup and its handle.</think> <bbox>[100,120,400,420]</bbox>, <points>[[200,220],[390,410]]</points>, "
    "<labels>[1,0]</labels>"
)
IN_PROSE = (
    'A cup on a tray.\n```json\n[\n\t{"bbox_2d": [10, 20, 30, 40], "label": "red cup"},\n'
    '\t{"bbox_2d": [50, 60, 70.5, 80], "label": "tray"}\n]\n```\nBoth, as you asked.'
)
CASES = {
    "VisionReasoner, several": (
        json_pieces,
        SEVERAL,
        [
            Pointed((10, 100, 200, 210), ((30, 110),), (1,)),
            Pointed((225, 296, 706, 786), ((302, 410),), (1,)),
        ],
        "The mugs are left {of} the plate [1, 2]. [SEG] [SEG]",
    ),
    "Seg-Zero, one with two points": (
        json_pieces,
        ONE,
        [Pointed((10, 100, 200, 210), ((30, 110), (35, 180)), (1, 1))],
        "The cup. [SEG]",
    ),
    "Seg-R1, tags": (
        tagged_pieces,
        TAGS,
        [Pointed((100, 120, 400, 420), ((200, 220), (390, 410)), (1, 0))],
        "A cup and its handle. [SEG]",
    ),
    "Seg-R1, several boxes share the points": (
        tagged_pieces,
        "<bbox>[0,0,100,100]</bbox>, <bbox>[200,0,300,100]</bbox>, "
        "<points>[[50,50],[250,50]]</points>, <labels>[1,1]</labels>",
        [Pointed((0, 0, 100, 100), ((50, 50),), (1,)), Pointed((200, 0, 300, 100), ((250, 50),), (1,))],
        "[SEG] [SEG]",
    ),
    "Seg-R1, labels that do not fit the points": (
        tagged_pieces,
        "<bbox>[0,0,100,100]</bbox>, <points>[[50,50],[60,60]]</points>, <labels>[1]</labels>",
        [Pointed((0, 0, 100, 100))],
        "[SEG]",
    ),
    "Qwen2.5-VL, JSON in prose": (
        json_pieces,
        IN_PROSE,
        [Pointed((10, 20, 30, 40), phrase="red cup"), Pointed((50, 60, 70.5, 80), phrase="tray")],
        "A cup on a tray. [SEG] [SEG] Both, as you asked.",
    ),
    "a list that is no object's": (
        json_pieces,
        "<answer>[10,100,200,210], or a cup, or [[1, 2]]: {the cup}.</answer>",
        [],
        "[10,100,200,210], or a cup, or [[1, 2]]: {the cup}.",
    ),
    "objects side by side, and lists in a list": (
        json_pieces,
        '<answer>{"bbox_2d": [1,2,30,40]}, {"bbox_2d": [5,6,70,80]}</answer>[[{"bbox_2d": [5,6,7,8]}]]',
        [Pointed((1, 2, 30, 40)), Pointed((5, 6, 70, 80)), Pointed((5, 6, 7, 8))],
        "[SEG] [SEG] [SEG]]",
    ),
    "two blocks of code": (
        json_pieces,
        'First:\n```json\n[{"bbox_2d": [1,2,30,40]},]\n```\nand:\n```\n{"bbox_2d": [5,6,70,80]}\n```',
        [Pointed((1, 2, 30, 40)), Pointed((5, 6, 70, 80))],
        "First: [SEG] and: [SEG]",
    ),
    "none": (json_pieces, "<think>There is no dog.</think><answer>[]</answer>", [], "There is no dog."),
    "none, in words": (json_pieces, "<think>Hm.</think><answer>None</answer>", [], "Hm.None"),
    "no tags at all": (json_pieces, "I see a table, and two chairs [sic].", [], "I see a table, and two chairs [sic]."),
    "a considered object is not meant": (
        json_pieces,
        '<think>Not {"bbox_2d": [1,2,3,4]}.</think><answer>[{"bbox_2d": [5,6,7,8]}]</answer>',
        [Pointed((5, 6, 7, 8))],
        'Not {"bbox_2d": [1,2,3,4]}. [SEG]',
    ),
    "the thinking is not closed": (
        json_pieces,
        "<think>The cup.<answer>{'bbox': [1,2,30,40]}</answer>",
        [Pointed((1, 2, 30, 40))],
        "The cup. [SEG]",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_objects_and_text_of_literal_outputs(name: str) -> None:
    read, written, objects, text = CASES[name]
    pieces = read(written, True)
    assert [piece for piece in pieces if isinstance(piece, Pointed)] == objects
    answer = growing()
    list(answer.update(pieces))
    assert " ".join(answer.text.split()) == text


@pytest.mark.parametrize("name", CASES)
def test_an_answer_that_grows_by_characters_is_the_same_and_its_objects_come_early(name: str) -> None:
    read, written, objects, text = CASES[name]
    answer = growing()
    events: list[object] = []
    when = []
    for end in range(len(written) + 1):
        new = list(answer.update(read(written[:end], False)))
        when += [end] * sum(type(event).__name__ == "MaskFound" for event in new)
        events += new
    list(answer.update(read(written, True)))
    assert (" ".join(answer.text.split()), len(answer.objects)) == (text, len(objects))
    if read is json_pieces and objects:
        assert len(when) == len(objects), "an object must not wait for the end of the answer"
        assert written[when[0] - 1] == "}"


def growing() -> GrowingAnswer:
    return GrowingAnswer(lambda pointed, begin: ObjectMask(None, (begin, begin + 5)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('{"bbox_2d": [1,2,3,4], "point_2d": [5,6}', Pointed((1, 2, 3, 4), ((5, 6),), (1,))),
        ('{"bbox_2d": [ [1,2,3,4], "point_2d": [5,6]}', Pointed((1, 2, 3, 4), ((5, 6),), (1,))),
        ('{"bbox_2d": (1,2,3,4), "point_2d": [5,6],}', Pointed((1, 2, 3, 4), ((5, 6),), (1,))),
        ("{bbox: [1, 2, 3, 4]", Pointed((1, 2, 3, 4))),
        ("{'point_2d': [5.5, 6]}", Pointed(None, ((5.5, 6),), (1,))),
        ('{"bbox_2d": [1,2,3]}', None),
        ('{"bbox_2d": [1,2,3,4,5]}', None),
        ('{"bbox_2d": [1,2,3,4], "point_2d": [5]}', None),
        ('{"bbox_2d": [1,2,"x",4]}', None),
        ('{"bbox_2d": [true,2,3,4]}', None),
        ('{"bbox_2d": [NaN,2,3,4]}', None),
        ('{"bbox_2d": ["10", "20", "30", "40"], "point_2d": "(12, 25)"}', Pointed((10, 20, 30, 40), ((12, 25),), (1,))),
        ('{"bbox_2d": [[10, 20], [30, 40]]}', Pointed((10, 20, 30, 40))),
        ('{"bbox_2d": ["1e1", 2.5e1, "30", 40]}', Pointed((10, 25, 30, 40))),
        ("{“bbox_2d”：[10，20，30，40]，“label”：“杯子”}", Pointed((10, 20, 30, 40), phrase="杯子")),  # noqa: RUF001
        ('{"bbox_2d": ["10%", "20%", "30%", "40%"]}', None),
        ("{'bbox_2d': [10 %, 20 %, 30 %, 40 %]}", None),
        ('{"bbox_2d": [[1,2,3,4], [5,6,7,8]]}', None),
        ('{"bbox_2d": null, "point_2d": [5, 6]}', None),
        ('{"bbox": {"x1": 1, "y1": 2, "x2": 3, "y2": 4}}', None),
        ('{"colour": "red"}', None),
        ("{}", None),
        ("{" * 5000, None),
    ],
)
def test_wrong_brackets_are_read_and_wrong_numbers_are_not(written: str, expected: Pointed | None) -> None:
    assert pointed_in(written) == expected


def test_an_object_that_was_cut_is_none() -> None:
    cut = '<answer>[{"bbox_2d": [1,2,3,4], "point_2d": [5,6]}, {"bbox_2d": [1,2,'
    found = [piece for piece in json_pieces(cut, True) if isinstance(piece, Pointed)]
    assert found == [Pointed((1, 2, 3, 4), ((5, 6),), (1,))]


@pytest.mark.parametrize(
    ("frame", "size", "given", "expected"),
    [
        # A square of 840 stands for 480 x 640 pixels: x by 640/840, y by 480/840.
        ((840, 840), (480, 640), Pointed((84, 84, 420, 420), ((210, 210),), (1,)), (64, 48, 320, 240)),
        ((1024, 1024), (512, 2048), Pointed((0, 0, 1024, 1024)), (0, 0, 2048, 512)),
        ((640, 476), (480, 640), Pointed((0, 0, 640, 476)), (0, 0, 640, 480)),
        ((840, 840), (840, 840), Pointed((-5, 800, 100, 900)), (0, 800, 100, 840)),
    ],
)
def test_coordinates_become_pixels_of_the_image(
    frame: tuple[int, int], size: tuple[int, int], given: Pointed, expected: tuple[float, ...]
) -> None:
    inside = on_image(given, frame, size)
    assert inside is not None and inside.box == expected
    if given.points:
        assert inside.points == ((160, 120),)


@pytest.mark.parametrize(
    "outside",
    [Pointed((900, 0, 950, 50)), Pointed((50, 50, 50, 90)), Pointed((90, 0, 10, 50)), Pointed(None, ((900, 5),), (1,))],
)
def test_what_is_not_in_the_image_is_no_object(outside: Pointed) -> None:
    assert on_image(outside, (840, 840), (480, 640)) is None


def test_the_convention_is_known_by_the_checkpoints_name_and_kind(tmp_path: Path) -> None:
    cached = Path("/hub/models--Ricky06662--VisionReasoner-7B/snapshots/0123")
    assert convention_for(cached) is CONVENTIONS["vision_reasoner"]
    assert convention_for(Path("Ricky06662/Seg-Zero-7B")) is CONVENTIONS["seg_zero"]
    assert convention_for(Path("geshang/Seg-R1-7B")) is CONVENTIONS["seg_r1"]
    assert convention_for(Path("Qwen/Qwen2.5-VL-7B-Instruct")) is CONVENTIONS["qwen"]
    assert convention_for(cached, "qwen") is CONVENTIONS["qwen"]
    for kind, prompt in (("qwen2_vl", "qwen_relative"), ("qwen2_5_vl", "qwen"), ("qwen3_vl", "qwen_relative")):
        (tmp_path / "config.json").write_text(f'{{"model_type": "{kind}"}}')
        assert convention_for(tmp_path) is CONVENTIONS[prompt]
    with pytest.raises(
        LisaError, match="prompt is 'segzero'; it can be auto, vision_reasoner, seg_zero, seg_r1, qwen, qw"
    ):
        convention_for(cached, "segzero")


def test_a_command_is_asked_as_in_the_training_data() -> None:
    assert 'find "the red mug" with' in CONVENTIONS["vision_reasoner"].ask("The red Mug?")
    assert "find 'the red mug?' with" in CONVENTIONS["seg_zero"].ask("The red mug?.")
    assert CONVENTIONS["seg_r1"].ask("The red mug?") == "The red mug?"


@pytest.mark.parametrize("digits", [400, 5000])
def test_numbers_that_no_float_holds_are_no_coordinates(digits: int) -> None:
    written = f'{{"bbox_2d": [1, 1, {"9" * digits}, 3], "label": "mug"}}'
    assert pointed_in(written) is None
    assert [one for one in json_pieces(written, final=True) if isinstance(one, Pointed)] == []


@pytest.mark.timeout(60)
def test_a_hundred_thousand_objects_are_read_in_seconds() -> None:
    one = '{"bbox_2d": [1, 1, 9, 9], "point_2d": [3, 3]}'
    text = f"<answer>[{', '.join([one] * 100_000)}]</answer>"
    assert sum(isinstance(piece, Pointed) for piece in json_pieces(text, final=True)) == 100_000


@pytest.mark.parametrize("box", [(1.0, 1.0, 1.7e308, 50.0), (-1.7e308, 1.0, 20.0, 50.0)])
def test_a_box_of_huge_numbers_ends_at_the_image(box: tuple[float, float, float, float]) -> None:
    found = on_image(Pointed(box), (100, 100), (200, 400))
    assert found is not None and found.box is not None
    assert found.box[0] in (0.0, 4.0) and found.box[2] in (80.0, 400.0)


@pytest.mark.parametrize("box", [(9.0, 1.0, 2.0, 5.0), (1.0, 9.0, 5.0, 2.0), (3.0, 3.0, 3.0, 3.0)])
def test_a_box_whose_corners_are_swapped_is_no_object(box: tuple[float, float, float, float]) -> None:
    assert on_image(Pointed(box, ((4.0, 4.0),), (1,)), (100, 100), (200, 400)) is None


def test_what_is_left_out_of_an_answer_is_said_in_its_text() -> None:
    one = '{"bbox_2d": [1, 1, 9, 9]}'
    outside = '{"bbox_2d": [900, 1, 950, 9]}'
    mask = np.ones((2, 2), dtype=np.bool_)

    def made(pointed: Pointed, begin: int) -> ObjectMask | None:
        inside = on_image(pointed, (100, 100), (200, 400))
        return ObjectMask(mask, (begin, begin + 5), score=None) if inside else None

    answer = GrowingAnswer(made)
    list(answer.update(json_pieces(f"The mug. [{outside}, {', '.join([one] * 100)}]", final=True)))
    assert answer.text.startswith(f"The mug. {NOTHING_THERE} [SEG]") and answer.text.rstrip().endswith(TOO_MANY)
    assert len(answer.objects) == 64 and answer.text.count(TOO_MANY) == 1
