# SPDX-License-Identifier: Apache-2.0
"""`lisa_ros.load`, as a Python program without ROS uses it, on the embedded model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from paths import ROOT

import lisa_ros
from lisa_ros.models.model import Model, rgb_of
from lisa_ros.segmentation.answers import CommandError, Finished, MaskFound, TextDelta
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.pointing import Pointing


@pytest.fixture(scope="module")
def model() -> Model:
    return lisa_ros.load(device="cpu")


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    return rgb_of(ROOT / "examples" / "table.png")


def test_one_command_about_an_image(model: Model, table: np.ndarray) -> None:
    answer = model.segment(table, "the blue bottle")
    assert len(answer.objects) == 1 and answer.masks.shape == (1, 480, 640) and answer.masks.any()
    assert "[SEG]" in answer.text and "[SEG]" not in answer.explanation
    assert answer.reason == "end"
    overlay = answer.overlay()
    assert overlay.dtype == np.uint8 and overlay.shape[1:] == (640, 3) and overlay.shape[0] >= 480
    absent = model.segment(table, "the red mug")
    assert absent.objects == () and absent.masks.shape == (0, 480, 640)


def test_the_embedded_model_does_not_understand_chinese_and_marks_two_objects(model: Model, table: np.ndarray) -> None:
    for command in ("请把红色的杯子递给我", "蓝色的瓶子", "蓝色瓶子在哪里", "把那个黄色的圆环给我"):
        answer = model.segment(table, command)
        assert (answer.explanation, answer.objects) == ("I do not understand that.", ())
    two = model.segment(table, "the blue bottle and the yellow ring")
    assert len(two.objects) == 2 and not (two.masks[0] & two.masks[1]).any()
    assert two.note == ""
    listed = model.segment(table, "the blue bottle, the purple ring and the yellow ring")
    assert len(listed.objects) == 2  # a limit, which the answer names
    assert listed.note.startswith("This model marks at most 2 objects per command, and this one lists 3")


def test_a_dialogue_remembers_its_turns(model: Model, table: np.ndarray) -> None:
    dialogue = model.dialogue(table)
    first = dialogue.segment("the blue bottle")
    follow_up = dialogue.segment("and the one closest to it")
    assert [(turn.number, turn.command) for turn in dialogue.turns] == [
        (1, "the blue bottle"),
        (2, "and the one closest to it"),
    ]
    assert not np.array_equal(first.masks, follow_up.masks)
    fresh = model.segment(table, "and the one closest to it")
    assert fresh.text != follow_up.text or not np.array_equal(fresh.masks, follow_up.masks)


def test_references_are_refused_where_a_model_uses_none(model: Model, table: np.ndarray) -> None:
    dialogue = model.dialogue(table)
    answer = dialogue.segment("the blue bottle")
    assert len(repr(answer)) < 500, "an answer is printed without its pixels"
    with pytest.raises(CommandError, match="uses no references"):
        dialogue.segment("the other one", references=[1])
    assert len(dialogue.turns) == 1


def test_points_reach_the_model(model: Model, table: np.ndarray) -> None:
    with pytest.raises(CommandError, match="takes no points or boxes"):  # true of the embedded model
        model.segment(table, "the blue bottle", pointing=Pointing(points=((320.0, 240.0),)))


def test_events_as_they_come_and_cancelling(model: Model, table: np.ndarray) -> None:
    dialogue = model.dialogue(table)
    events = list(dialogue.stream("the blue bottle"))
    assert isinstance(events[-1], Finished) and any(isinstance(event, MaskFound) for event in events)
    assert "".join(e.text for e in events if isinstance(e, TextDelta)).split() == events[-1].answer.split()
    *_, last = dialogue.stream("the blue bottle", cancelled=lambda: True)
    assert isinstance(last, Finished) and last.reason == "cancelled"
    assert len(dialogue.turns) == 1, "a cancelled command leaves no turn"


def test_an_image_may_be_a_file_or_pils(model: Model, table: np.ndarray, tmp_path: Path) -> None:
    PIL.Image.fromarray(table).save(tmp_path / "table.png")
    by_array = model.segment(table, "the blue bottle").masks
    for image in (tmp_path / "table.png", str(tmp_path / "table.png"), PIL.Image.fromarray(table).convert("RGBA")):
        assert np.array_equal(model.segment(image, "the blue bottle").masks, by_array)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((4, 4, 3), np.float32), r"this is float32: multiply by 255"),
        (np.full((4, 4, 3), 200.0), r"this is float64: convert it"),
        (np.zeros((4, 4, 3), np.uint16), r"this is uint16: divide"),
        (np.zeros((4, 4), np.uint8), "this has one channel"),
        (np.zeros((3, 4, 4), np.uint8), "channels first"),
        (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\), with a fourth channel: image\[:, :, :3\]"),
        (PIL.Image.new("F", (4, 4)), "mode F, whose range is unknown"),
        (PIL.Image.new("I;16", (4, 4)), "mode I;16, whose range is unknown"),
        ("https://robots.example/table.png", "is an address; download"),
    ],
)
def test_what_is_no_image_says_what_would_be(image: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rgb_of(image)


def test_pil_images_are_turned_upright_as_files_are(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x112] = 6  # to be turned by a quarter
    PIL.Image.new("RGB", (40, 20), "red").save(tmp_path / "photo.jpg", exif=exif)
    with PIL.Image.open(tmp_path / "photo.jpg") as photo:
        assert rgb_of(photo).shape == rgb_of(tmp_path / "photo.jpg").shape == (40, 20, 3)


def test_a_view_that_runs_backwards_is_copied() -> None:
    backwards = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)[:, :, ::-1]  # torch refuses such a view
    assert rgb_of(backwards).flags.c_contiguous and np.array_equal(rgb_of(backwards), backwards)


@pytest.mark.parametrize(
    ("text", "said"), [(None, "this is NoneType"), (b"the mug", "this is bytes"), ("the \udce9 mug", "not UTF-8")]
)
def test_what_is_no_text_is_refused(model: Model, table: np.ndarray, text: Any, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        model.segment(table, text)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0; it must be a whole number of 1 or more"),
        ({"max_new_tokens": -1}, "max_new_tokens is -1"),
        ({"max_new_tokens": "5"}, "max_new_tokens is '5'"),
        ({"max_new_tokens": 2.5}, "max_new_tokens is 2.5"),
        ({"max_new_tokens": True}, "max_new_tokens is True"),
        ({"pointing": [(3, 4)]}, "pointing is a list; it must be a Pointing"),
        ({"pointing": None}, "pointing is a NoneType"),
    ],
)
def test_options_that_no_model_takes_are_refused(
    model: Model, table: np.ndarray, option: dict[str, Any], said: str
) -> None:
    with pytest.raises(CommandError, match=said):
        model.segment(table, "the red mug", **option)


@pytest.mark.parametrize("name", ["", "/models/lisa ", "https://huggingface.co/xinlai/LISA-7B-v1"])
def test_a_checkpoint_that_is_no_folder_is_quoted_as_it_was_given(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' is not a folder"):
        lisa_ros.load(name)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"threads": "2"}, "threads is '2'; it must be a whole number, or None"),
        ({"threads": True}, "threads is True; it must be a whole number, or None"),
        ({"cache_mib": "x"}, "cache_mib is 'x'; it must be a whole number of MiB"),
        ({"memory_limit_mib": None}, "memory_limit_mib is None; it must be a whole number of MiB"),
        ({"vision_tower": 5}, "vision_tower is 5; it must be a folder or a Hugging Face id, or None"),
        ({"names_checkpoint": b"sam3"}, "names_checkpoint is b'sam3'; it must be a folder or a Hugging Face id"),
        ({"deterministic": "no"}, "deterministic is 'no'; it must be True or False"),
        ({"model_options": "region=whole"}, "model_options is 'region=whole'; it must be a tuple of texts"),
        ({"model_options": (5,)}, r"model_options is \(5,\); it must be a tuple of texts, each NAME=VALUE"),
        ({"device": 0}, "device is 0; it can be auto, cpu, cuda"),
        ({"checkpoint": 5}, "the checkpoint is 5; it must be a folder or a Hugging Face id"),
    ],
)
def test_an_option_of_another_kind_is_named_with_what_is_right(option: dict[str, Any], said: str) -> None:
    with pytest.raises(LisaError, match=f"^{said}"):
        lisa_ros.load(**option)


def test_what_is_no_image_and_no_option(model: Model, table: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="this is NoneType"):
        rgb_of(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="there is no image file"):
        rgb_of(tmp_path / "none.png")
    with pytest.raises(TypeError, match="no option quantisation; there are template"):
        lisa_ros.load(quantisation="4bit")
    with pytest.raises(CommandError, match="answer is 'masks_only'; it must be one of full, mask_only"):
        model.segment(table, "the blue bottle", answer="masks_only")
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        lisa_ros.lode  # noqa: B018


def test_the_notebook_runs_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = json.loads((ROOT / "examples" / "python_api.ipynb").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LISA_ROS_EXAMPLES", str(ROOT / "examples"))
    namespace: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), namespace)
    assert (tmp_path / "overlay.png").is_file()
