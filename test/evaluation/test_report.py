# SPDX-License-Identifier: Apache-2.0
"""Tables, CSV files and the page of a run."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluated_models import BLUE, RED, Loader, Model, results
from numpy.typing import NDArray
from tiny_datasets import image, reason, write_reason_seg

from lisa_ros.datasets.catalogue import DATASETS
from lisa_ros.datasets.samples import Round, Sample
from lisa_ros.evaluation.evaluate import Evaluation, run_evaluation
from lisa_ros.evaluation.items import Item, ItemLog
from lisa_ros.evaluation.protocols import generate
from lisa_ros.evaluation.report import RunReport, report_page
from lisa_ros.evaluation.runner import evaluate
from lisa_ros.evaluation.tables import cells_of, markdown, rows_of
from lisa_ros.segmentation.files.output_folders import OutputError


def truth(mask: NDArray[np.bool_]) -> Any:
    return lambda: mask.astype(np.uint8)


@pytest.fixture
def table() -> Sample:
    rounds = (
        Round("the red one", True, truth(RED), group="direct"),
        Round("no, the blue one", True, truth(BLUE), group="follow-up"),
        Round("the dog", True, truth(np.zeros_like(RED)), group="absent"),
    )
    return Sample("7", image, rounds, dialogue=True)


def test_families_of_questions(table: Sample, tmp_path: Path) -> None:
    model = Model()
    with ItemLog(tmp_path / "items.jsonl") as log:
        evaluate([table], model, generate(model, "plain"), log)
        items = list(log.items.values())
    rows = {row["row"]: row for row in rows_of(items)}
    assert list(rows) == ["all", "direct", "follow-up", "absent", "turn 1", "turn 2", "turn 3"]
    assert rows["absent"]["refused_absent"] == 1 and rows["all"]["refused_present"] == 0
    assert "refused though present" in markdown(rows_of(items)) and "100.0%" in markdown(rows_of(items))
    with ItemLog(tmp_path / "items.jsonl") as again:
        assert list(again.items.values()) == items
    report = RunReport(tmp_path, "t", {}, items, DATASETS["folder"], {("", "7"): table})
    shown = report_page(report, report.rows, None, 2)
    assert shown.count("<img") == 6 and "2 of 3" in shown


def test_results_that_another_process_writes_are_not_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "items.jsonl"
    with ItemLog(file) as first:
        first.append(Item("a", 1))
        whole = file.read_bytes()
        file.write_bytes(whole + b'{"sample": "b", "rou')  # the line that it is just writing
        second, third = ItemLog(file), ItemLog(file)
        with file.open("ab") as stream:
            stream.write(b'nd": 1}\n')
        first.append(Item("c", 1))
        with second, pytest.raises(OutputError, match=r"another process is writing .*items\.jsonl now"):
            second.append(Item("b", 1))
    with third, pytest.raises(OutputError, match=r"another process has written .*items\.jsonl meanwhile"):
        third.append(Item("b", 1))
    with ItemLog(file) as again:
        assert [name for _, name, _ in again.items] == ["a", "b", "c"]
        again.append(Item("d", 1))
    assert len(ItemLog(file).items) == 4


def test_a_row_of_absent_objects_has_no_iou(table: Sample, tmp_path: Path) -> None:
    model = Model()
    with ItemLog(tmp_path / "items.jsonl") as log:
        evaluate([table], model, generate(model, "plain"), log)
        rows = rows_of(list(log.items.values()))
    titles, *lines = cells_of(rows)
    (absent,) = (dict(zip(titles, line, strict=True)) for line in lines if line[0] == "absent")
    assert (absent["gIoU"], absent["cIoU"], absent["absent refused"]) == ("-", "-", "100.0%")
    (row,) = (row for row in rows if row["row"] == "absent")
    assert (row["giou"], row["ciou"]) == (None, None)


def test_csv_files_have_units(wanted: Evaluation) -> None:
    run_evaluation(wanted, Loader())
    with (wanted.output / "results.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert row["items (questions)"] == "3"
    assert float(row["giou (0 to 1)"]) == pytest.approx(results(wanted)["rows"][0]["giou"])
    with (wanted.output / "items.csv").open() as stream:
        items = list(csv.DictReader(stream))
    assert [item["sample"] for item in items] == ["a.jpg", "b.jpg", "c.jpg"]
    assert int(items[0]["true_pixels (pixels)"]) == RED.sum() and float(items[0]["seconds (s)"]) >= 0
    units = results(wanted)["units"]
    assert units["rows"]["giou"] == "0 to 1" and units["items"]["seconds"] == "s"


def test_the_page_shows_the_worst_first_and_runs_nothing(wanted: Evaluation) -> None:
    evil = "<script>alert('red')</script> & \u00e9"
    write_reason_seg(wanted.source.home / "val", {"<img src=x>": reason(evil)})
    run_evaluation(replace(wanted, report_images=3), Loader())
    shown = (wanted.output / "report.html").read_text()
    assert "<script" not in shown and "<img src=x" not in shown and "&lt;script&gt;" in shown
    assert shown.count("<article>") == 3 and shown.count("data:image/jpeg;base64,") == 9
    assert shown.index("Where is the dog?") < shown.index("What is two squares")
    assert "http" not in shown, "the page needs no other file"
    run_evaluation(replace(wanted, report_images=0), Loader())
    assert "<article>" not in (wanted.output / "report.html").read_text()


def test_images_that_are_gone_when_the_page_is_made(wanted: Evaluation) -> None:
    run_evaluation(wanted, Loader())
    (wanted.source.home / "val" / "c.jpg").write_bytes(b"")
    run_evaluation(wanted, Loader())
    assert "No images" in (wanted.output / "report.html").read_text()


def test_rows_of_several_models_do_not_mix() -> None:
    items = [
        Item("1", 1, variant=variant, group="direct", dialogue=True, intersection=both, union=4, true_pixels=4)
        for variant, both in (("8bit", 4), ("4bit", 2))
    ]
    rows = {row["row"]: row["giou"] for row in rows_of(items)}
    assert list(rows) == ["8bit", "8bit, direct", "8bit, turn 1", "4bit", "4bit, direct", "4bit, turn 1"]
    assert rows["8bit, direct"] == pytest.approx(1, abs=1e-4) and rows["4bit, turn 1"] == pytest.approx(0.5, abs=1e-4)
    assert rows_of([]) == [] and "gIoU" in markdown([])
