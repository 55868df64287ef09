# SPDX-License-Identifier: Apache-2.0
"""`lisa data check`: counts, what looks wrong, and something to look at."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_datasets import BLUE_BOX, HEIGHT, RED_BOX, WIDTH, reason, shape, write_image, write_reason_seg

from lisa_ros.cli.main import main
from lisa_ros.datasets.own.contact_sheet import chosen
from lisa_ros.datasets.own.inspection import inspect
from lisa_ros.datasets.own.reading import read_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny = (5, 5, 6, 6)
    outside = {"label": "target", "points": [[-9, 5], [9, 5], [9, 9]]}
    objects = [
        {"text": ["red"], "is_sentence": False, "shapes": [shape("target", RED_BOX)]},
        {"text": ["Red"], "is_sentence": False, "shapes": [shape("target", BLUE_BOX)]},
    ]
    folder = write_reason_seg(
        tmp_path / "data",
        {
            "a": reason("red", "the red one", is_sentence=False),
            "b": reason("tiny", shapes=[shape("target", tiny)]),
            "c": reason("nothing", shapes=[]),
            "d": {"objects": objects},
            "e": reason("cut", shapes=[outside]),
            "f": reason("broken") | {"shapes": 7},
            "g": reason("far", shapes=[{"label": "mug", "points": [[900, 900], [990, 900], [990, 990]]}]),
        },
    )
    other = np.full((HEIGHT, 2 * WIDTH, 3), 90, dtype=np.uint8)
    write_image(folder / "h.png", other)
    (folder / "h.json").write_text(json.dumps(reason("red")))
    return folder


def test_counts_and_what_looks_wrong(folder: Path) -> None:
    found = inspect(read_folder(folder))
    assert (found.images, len(found.questions), found.absent, found.cut) == (6, 8, 1, 1)
    assert dict(found.sizes) == {(WIDTH, HEIGHT): 5, (2 * WIDTH, HEIGHT): 1}
    assert [one.round.text for one in found.outliers] == ["tiny"] and "4 pixels" in found.outliers[0].remark
    assert found.duplicates == [["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg"]]
    assert found.contradictions == ["d.jpg, 'red'"]
    assert len(found.problems) == 2 and "f.json" in found.problems[0] and "g.json: shape 1" in found.problems[1]
    assert chosen(found, 3)[0].round.text == "tiny" and len(chosen(found, 3)) == 3


def test_the_command_prints_and_draws(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "check"
    assert main(["data", "check", str(folder), "--output", str(output)]) == 1, "two images cannot be used"
    printed = capsys.readouterr().out
    for part in ("images: 6, sizes in pixels: 64 x 48 (5), 128 x 48 (1)", "problems: 2", "outliers: 1", "min / median"):
        assert part in printed
    sheet = cv2.imread(str(output / "sheet.png"))
    assert sheet is not None and sheet.shape[1] == 5 * 268
    page = (output / "check.html").read_text()
    assert page.count("<img") == 8 and "http" not in page and "a mask of 4 pixels" in page
    for name in ("f", "g"):
        (folder / f"{name}.jpg").unlink()
        (folder / f"{name}.json").unlink()
    assert main(["data", "check", str(folder)]) == 0


def test_texts_of_a_misspelt_label_are_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "data"
    write_image(folder / "images" / "a.png")
    (folder / "masks" / "mug").mkdir(parents=True)
    cv2.imwrite(str(folder / "masks" / "mug" / "a.png"), np.full((HEIGHT, WIDTH), 255, np.uint8))
    (folder / "texts.json").write_text('{"mug": ["the mug"], "mugg": ["the cup"]}')
    sentence = "there are texts for 'mugg', but no usable image has an object with this label"
    assert main(["data", "check", str(folder)]) == 1
    assert f"problems: 1\n  {sentence}" in capsys.readouterr().out
    assert main(["data", "convert", str(folder), str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.endswith(f"left out: {sentence}\n")
    read_folder(folder)
    assert caplog.messages == [f"{folder}: {sentence}"], "a training is warned"


def test_a_json_file_without_an_image_is_a_problem(folder: Path) -> None:
    before = len(read_folder(folder))
    (folder / "b.jpg").rename(folder / "b.webp")
    samples = read_folder(folder)
    assert len(samples) == before
    (problem,) = [one.problem or "" for one in samples if one.name == "b.json"]
    assert f"{folder / 'b.json'} has no image (.jpg, .jpeg, .png): neither one of its name" in problem


def test_what_the_command_refuses(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["data", "check", str(folder), "--output", str(tmp_path / "file")]) == 2
    assert "is a file; name a folder" in capsys.readouterr().err
    assert main(["data", "check", str(tmp_path / "nowhere")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["data", "check", str(folder), "--outptu", "x"])
    assert "is --output meant?" in capsys.readouterr().err


def test_convert_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / "in" / "images" / f"{name}.png")
    (tmp_path / "in" / "masks" / "red_square").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "in" / "masks" / "red_square" / "a.png"), np.full((HEIGHT, WIDTH), 255, np.uint8))
    texts = tmp_path / "words.json"
    texts.write_text('{"red_square": ["the red square"]}')
    arguments = ["data", "convert", str(tmp_path / "in"), str(tmp_path / "out"), "--texts", str(texts)]
    assert main(arguments) == 1, "one image has no mask"
    printed = capsys.readouterr()
    assert printed.out.endswith("out: 1\n") and "left out:" in printed.err and "b.png" in printed.err
    (sample,) = read_folder(tmp_path / "out")
    assert sample.rounds[0].text == "the red square" and (sample.rounds[0].truth() == 1).all()
