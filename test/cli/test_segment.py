# SPDX-License-Identifier: Apache-2.0
"""`lisa segment` with the embedded model: its files, its summary, and their format."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from jsonschema import Draft202012Validator
from tiny_datasets import HEIGHT, WIDTH, write_image
from toy_checkpoints import sam3_checkpoint

from lisa_ros.cli.main import main
from lisa_ros.models.loading import embedded_checkpoint
from lisa_ros.segmentation.answers import Finished, MaskFound, ObjectMask
from lisa_ros.segmentation.files import image_files
from lisa_ros.segmentation.files.result_files import Origin, schema, segment_image

pytestmark = pytest.mark.model


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write_image(tmp_path / "image.png")


def segment(image: Path, output: Path, *more: str) -> list[str]:
    basis = ["segment", "--image", str(image), "--output", str(output), "--device", "cpu", "--max-new-tokens", "24"]
    return [*basis, *more]


def test_the_result_names_model_image_and_precision(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    texts = ["--text", "the red cube", "--text", "the blue cube"]
    assert main(segment(image, output, *texts)) == 0
    printed = capsys.readouterr()
    result = json.loads((output / "result.json").read_text())
    Draft202012Validator(schema()).validate(result)
    assert result["model"] == "LISA" and result["checkpoint"] == str(embedded_checkpoint())
    assert (result["precision"], result["quantization"], result["device"]) == ("fp32", "none", "cpu")
    assert result["image"] == {"file": str(image), "width": WIDTH, "height": HEIGHT}
    for turn in result["turns"]:
        assert all(value is None or value == round(value, 1) for value in turn["timing_ms"].values())
        for mask in turn["masks"]:
            assert mask["score_calibrated"] and mask["score"] == round(mask["score"], 4)
    assert sorted(path.name for path in output.glob("*overlay*")) == ["turn1_overlay.png", "turn2_overlay.png"]
    for part in (f"model: LISA {embedded_checkpoint()} (fp32, quantization none, cpu)", f"{WIDTH} x {HEIGHT} pixels"):
        assert part in printed.out
    assert f"files: {output}/" in printed.out and "turn 2: the blue cube" in printed.out
    assert "the embedded demonstration model" in printed.err and "--checkpoint" in printed.err


def test_files_of_an_earlier_run_are_replaced(image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    output.mkdir()
    for name in ("turn7_mask1.png", "turn7_mask1_refined.png", "turn7_overlay.png", "result.json"):
        (output / name).write_text("old")
    (output / "turn7_notes.png").write_text("mine")
    assert main(segment(image, output, "--text", "the red cube", "--json")) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((output / "result.json").read_text())
    assert [path.name for path in output.glob("turn7*")] == ["turn7_notes.png"]


def test_a_refused_command_costs_no_earlier_results(image: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "result.json").write_text("old")
    assert main(segment(image, output, "--text", "the red cube", "--text", "x" * 9000)) == 2
    assert [(file.name, file.read_text()) for file in output.iterdir()] == [("result.json", "old")]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--output", "{image}"], "{image} is a file; name a folder for the output"),
        (["--image", "{folder}"], "{folder} is a folder; name an image file in it"),
        (["--image", "{folder}/none.png"], "there is no image file"),
    ],
)
def test_what_is_wrong_is_said_before_the_model_is_loaded(
    image: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    more: list[str],
    sentence: str,
) -> None:
    monkeypatch.setattr("lisa_ros.cli.segment.load_segmenter", pytest.fail)
    names = {"image": image, "folder": tmp_path}
    arguments = segment(image, tmp_path / "out", "--text", "x", *(one.format(**names) for one in more))
    assert main(arguments) == 2
    assert sentence.format(**names) in capsys.readouterr().err


class OneMask:
    """A model whose scores are not calibrated, and that has everything that a model can report."""

    name = "one mask"

    def encode(self, image: Any) -> Any:
        return image

    def session(self, encoded: Any, turns: Any = ()) -> Any:
        return self

    def segment(self, command: str, references: Any = (), **_: Any) -> Any:
        mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
        mask[2:5, 3:9] = True
        found = ObjectMask(mask, (0, 5), 0.123456, box=(3.0, 2.0, 9.123456, 5.0), phrase="mug", refined=mask)
        yield MaskFound(found)
        yield Finished("[SEG]", (found, ObjectMask(np.zeros_like(mask), (0, 5))), "end", note="One is left out.")


def test_everything_that_a_model_reports_fits_the_schema(tmp_path: Path) -> None:
    image = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    result = segment_image(OneMask(), image, ["the mug"], tmp_path, origin=Origin("a.png"))
    Draft202012Validator(schema()).validate(result)
    Draft202012Validator.check_schema(schema())
    assert result["turns"][0]["note"] == "One is left out."
    first, empty = result["turns"][0]["masks"]
    assert first["bbox"] == [3, 2, 6, 3] and first["centroid"] == [5.5, 3.0] and first["file"] == "turn1_mask1.png"
    assert (first["score"], first["score_calibrated"], first["box"]) == (0.1235, False, [3.0, 2.0, 9.12, 5.0])
    assert (empty["pixels"], empty["bbox"], empty["centroid"], empty["score"]) == (0, [0, 0, 0, 0], None, None)
    assert cv2.imread(str(tmp_path / "turn1_mask1_refined.png"), cv2.IMREAD_UNCHANGED).sum() == 18 * 255
    broken = json.loads(json.dumps(result))
    broken["turns"][0]["masks"][0]["bbox"] = [3, 2, 6]
    assert not Draft202012Validator(schema()).is_valid(broken), "the schema is not empty"


def test_references_to_turns_that_are_not_there(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "segllm"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text('{"segmentator": "hipie"}')
    basis = segment(image, tmp_path / "out", "--checkpoint", str(checkpoint), "--text", "a")
    assert main([*basis, "--text", "b", "--reference", "5"]) == 2
    assert "--reference 5: turn 2 can refer to earlier turns alone, and there are turns 1 to" in capsys.readouterr().err
    assert main([*basis, "--reference", "1"]) == 2
    assert "there is no earlier turn" in capsys.readouterr().err


def test_a_name_that_is_not_utf8_is_written_and_read(tmp_path: Path) -> None:
    """OpenCV's own files end the process with a segmentation fault there."""
    file = tmp_path / os.fsdecode(b"m\xe9lange.png")
    image_files.write_image(file, np.full((4, 6, 3), (10, 20, 30), dtype=np.uint8))
    assert image_files.read_image(file)[0, 0].tolist() == [10, 20, 30]


def test_each_turn_names_the_model_that_answered(image: Path, tmp_path: Path) -> None:
    names = sam3_checkpoint(tmp_path / "sam3")
    texts = ["--text", "the red cube", "--text", "why is the cube there?"]
    two = ["--segmenter", "auto", "--names-checkpoint", str(names)]
    assert main(segment(image, tmp_path / "out", *texts, *two)) == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    Draft202012Validator(schema()).validate(result)
    assert [turn["model"].split()[0] for turn in result["turns"]] == ["sam3,", "tabletop"]
