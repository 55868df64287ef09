# SPDX-License-Identifier: Apache-2.0
"""`lisa evaluate --compare`: finished runs side by side, bootstrap intervals, the questions that differ most."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from evaluated_models import Loader, RefusingModel, TeacherForcedModel

from lisa_ros.cli.main import main
from lisa_ros.evaluation.comparison.bootstrap import difference, mean_iou, share
from lisa_ros.evaluation.evaluate import Evaluation, run_evaluation
from lisa_ros.evaluation.items import Item


@pytest.fixture
def runs(wanted: Evaluation, tmp_path: Path) -> tuple[Path, Path]:
    """A run of a model that marks something, and one of a model that refuses everything."""
    folders = tmp_path / "marks", tmp_path / "refuses"
    for folder, model in zip(folders, (TeacherForcedModel(), RefusingModel()), strict=True):
        run_evaluation(replace(wanted, output=folder), Loader([model]))
    return folders


def compare(folders: Sequence[Path], output: Path, *more: str) -> int:
    return main(["evaluate", "--compare", *map(str, folders), "--output", str(output), *more])


def test_two_runs_side_by_side(runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "compared"
    capsys.readouterr()
    assert compare(runs, output, "--report-images", "1") == 0
    printed = capsys.readouterr().out
    assert "checkpoint (marks)" in printed and "checkpoint (refuses)" in printed, "a column for each run"
    assert "gIoU of" in printed and "95% confidence interval, bootstrap over images" in printed
    found = json.loads((output / "comparison.json").read_text())
    (marked, refused) = (one for one in found["numbers"] if one["number"] == "gIoU" and one["questions"] == "all")
    assert marked["value"] == pytest.approx(0.5, abs=1e-3), "IoU 1, a half and 0"
    assert marked["low"] < marked["value"] < marked["high"] and marked["images"] == 3
    assert refused["value"] == 0 and refused["low"] == refused["high"] == 0
    (less,) = found["giou_less_first"].values()
    assert less["value"] == pytest.approx(-0.5, abs=1e-3)
    with (output / "comparison.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {"value (0 to 1)", "low (0 to 1)", "high (0 to 1)", "images (count)"} <= set(rows[0])
    page = (output / "comparison.html").read_text()
    assert page.count("<article>") == 1 and "What is red?" in page, "the question with the largest difference"
    assert page.count("data:image/jpeg;base64,") == 3 and "http" not in page, "the truth and both masks"


def test_runs_that_cannot_be_compared(
    wanted: Evaluation, runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, asked, cut, damaged = (tmp_path / name for name in ("forced", "asked", "cut", "damaged"))
    run_evaluation(replace(wanted, protocol="teacher_forced", output=other), Loader([TeacherForcedModel()]))
    shutil.copytree(runs[0], asked)
    (asked / "items.jsonl").write_text((asked / "items.jsonl").read_text().replace('"text": "', '"text": "another '))
    shutil.copytree(runs[0], cut)
    (cut / "items.jsonl").write_text("")
    shutil.copytree(runs[0], damaged)
    (damaged / "results.json").write_text("[]")
    for folders, sentence in (
        ((runs[0], cut), f"{cut}/items.jsonl lacks "),
        ((runs[0], damaged), f"{damaged}/results.json is damaged; repeat"),
        ((runs[0], asked), "they asked different questions ("),
        ((runs[0], runs[0]), "two runs or more, each once"),
        ((runs[0], other), "since they differ in: protocol 'generate' and 'teacher_forced'"),
        ((runs[0], tmp_path), "has no results.json"),
        ((runs[0],), "two runs or more"),
    ):
        assert compare(folders, tmp_path / "compared") == 2
        assert sentence in capsys.readouterr().err


def test_runs_whose_folders_have_the_same_name_have_columns_of_their_own(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    folders = [shutil.copytree(run, tmp_path / str(number) / "out") for number, run in enumerate(runs)]
    assert compare(folders, tmp_path / "compared") == 0
    found = json.loads((tmp_path / "compared" / "comparison.json").read_text())["numbers"]
    values = {one["run"]: one["value"] for one in found if (one["number"], one["questions"]) == ("gIoU", "all")}
    assert list(values) == [f"checkpoint ({folder})" for folder in folders]
    assert list(values.values()) == [pytest.approx(0.5, abs=1e-3), 0]


def items(ious: Sequence[int], images: int) -> list[Item]:
    """IoUs in percent, spread over images in turn."""
    return [Item(f"image {i % images}", i // images + 1, iou=iou / 100, true_pixels=100) for i, iou in enumerate(ious)]


def test_intervals_by_hand() -> None:
    assert mean_iou([]) is None and share([], []) is None
    same = mean_iou(items([60] * 8, images=4))
    assert same is not None and same.low == pytest.approx(same.high) and same.value == pytest.approx(0.6, abs=1e-3)
    few, many = (mean_iou(items([0, 100] * count, images=2 * count)) for count in (5, 100))
    assert few is not None and many is not None and few.value == pytest.approx(many.value)
    assert few.high - few.low > 3 * (many.high - many.low), "more images, a narrower interval"
    # A mean of 200 coins has a standard deviation of 0.5 / sqrt(200); 95 % are within 1.96 of it.
    assert many.high - many.low == pytest.approx(2 * 1.96 * 0.5 / 200**0.5, rel=0.1)


def test_questions_of_one_image_count_as_one_draw() -> None:
    """100 questions of each of two images are two independent observations, not 200."""
    found = mean_iou(items([0, 100] * 100, images=2))
    assert found is not None and found.images == 2 and found.low == 0 and found.high > 0.99


def test_a_difference_is_of_the_questions_of_both_runs() -> None:
    one, other = items([80, 60, 70, 50], images=4), items([60, 40, 50], images=4)
    found = difference(one, other)
    assert found is not None and found.value == pytest.approx(0.2, abs=1e-3) and found.images == 3
    assert found.excludes_zero and difference(one, []) is None


def test_a_variant_is_compared_with_the_same_variant_where_both_runs_have_it() -> None:
    eight = [replace(item, variant="8bit") for item in items([80, 60], images=2)]
    four = [replace(item, variant="4bit") for item in items([50, 30], images=2)]
    both = [*eight, *four]
    for other, value in ((both, 0.0), (eight, 0.0), (four, 0.0)):
        found = difference(both, other)
        assert found is not None and found.value == pytest.approx(value, abs=1e-6)
    apart = difference(eight, four)
    assert apart is not None and apart.value == pytest.approx(0.3, abs=1e-3)
