# SPDX-License-Identifier: Apache-2.0
"""A run's folder: resumed, refused to other runs, limited, and complete in the face of damaged data."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluated_models import RED, Loader, Model, TeacherForcedModel, results
from scripted_segmenter import ScriptedSegmenter
from tiny_datasets import image, reason, write_image, write_reason_seg

from lisa_ros.datasets import catalogue
from lisa_ros.datasets.catalogue import DATASETS, DataSet, Source
from lisa_ros.datasets.samples import DataError, Round, Sample
from lisa_ros.evaluation.evaluate import Evaluation, run_evaluation
from lisa_ros.evaluation.items import Item, ItemLog
from lisa_ros.evaluation.protocols import generate
from lisa_ros.evaluation.runner import evaluate
from lisa_ros.evaluation.tables import rows_of
from lisa_ros.models.combined.by_name import ByNameSegmenter
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.segmentation.files.output_folders import OutputError


def limited(wanted: Evaluation, limit: int) -> Evaluation:
    return replace(wanted, source=replace(wanted.source, limit=limit))


def test_nothing_is_scored_twice(wanted: Evaluation) -> None:
    loader = Loader([first := TeacherForcedModel(), second := TeacherForcedModel()])
    run_evaluation(limited(wanted, 2), loader)
    assert len(first.asked) == 2 and results(wanted)["limit"] == 2
    run_evaluation(wanted, loader)
    assert [question for question, _ in second.asked] == ["Where is the dog? Please output segmentation mask."]
    assert results(wanted)["rows"][0]["items"] == 3
    run_evaluation(wanted, loader)
    assert len(loader.loaded) == 2, "with nothing left to ask no model is loaded"


def test_with_two_models_each_item_says_which_one_answered(wanted: Evaluation) -> None:
    """Also the rows, the page and the CSV file; and a run that an earlier version began is resumed."""
    texts = {"a": "the red cube", "b": "the blue cube", "c": "something green"}
    write_reason_seg(
        wanted.source.home / "val", {name: reason(text, is_sentence=False) for name, text in texts.items()}
    )
    plain = replace(wanted, phrasing="plain")
    both = ByNameSegmenter(ScriptedSegmenter(name="<reasoning>"), ScriptedSegmenter(name="names"))
    run_evaluation(limited(plain, 1), Loader([both]))
    log = plain.output / "items.jsonl"
    (line,) = (json.loads(line) for line in log.read_text().splitlines())
    assert line.pop("model") == "names"
    log.write_text(json.dumps(line) + "\n")  # as version 0.1 wrote it
    run_evaluation(plain, Loader([both]))
    found = results(plain)
    assert [item["model"] for item in found["items"]] == ["", "names", "<reasoning>"]
    rows = {row["row"]: row["items"] for row in found["rows"]}
    assert rows == {"all": 3, "answered by names": 1, "answered by <reasoning>": 1}
    shown = (plain.output / "report.html").read_text()
    assert "mask(s) · names</p>" in shown and "mask(s) · &lt;reasoning&gt;</p>" in shown
    with (plain.output / "items.csv").open() as stream:
        assert [item["model"] for item in csv.DictReader(stream)] == ["", "names", "<reasoning>"]


def test_where_one_model_answers_it_is_named_in_the_items_alone(wanted: Evaluation) -> None:
    (wanted.source.home / "val" / "a.jpg").write_bytes(b"no image")
    run_evaluation(wanted, Loader([TeacherForcedModel(name="LISA")]))
    found = results(wanted)
    assert [item["model"] for item in found["items"]] == ["", "LISA", "LISA"]
    assert [row["row"] for row in found["rows"]] == ["all"]
    assert "LISA</p>" not in (wanted.output / "report.html").read_text()


def test_a_limited_run_says_so(wanted: Evaluation, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_evaluation(limited(wanted, 2), Loader()) == 0
    found = results(wanted)
    assert (found["questions"], found["images"], found["images_of_split"], found["complete"]) == (2, 2, 3, False)
    sentence = "Limited to the first 2 of 3 images"
    assert sentence in capsys.readouterr().out and sentence in (wanted.output / "report.html").read_text()
    run_evaluation(wanted, Loader())
    assert results(wanted)["complete"] and results(wanted)["questions"] == 3
    assert sentence not in capsys.readouterr().out


def test_a_rendered_data_set_makes_no_more_than_the_limit(wanted: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int | None] = []

    def read(source: Source) -> list[Sample]:
        made.append(source.limit)
        rounds = (Round("red", True, lambda: RED.astype(np.uint8)),)
        return [Sample(f"view {i}", image, rounds) for i in range(source.limit or 5)]

    monkeypatch.setitem(DATASETS, "tabletop", DataSet(read, lambda source: 5, plain=True))
    table = replace(wanted, dataset="tabletop", source=Source(None, "test", limit=2))
    assert run_evaluation(table, Loader()) == 0
    assert made == [2]
    assert (results(table)["images_of_split"], results(table)["complete"]) == (5, False)
    assert run_evaluation(replace(table, source=Source(None, "test")), Loader()) == 0
    assert results(table)["complete"], "a limited run resumes as a whole one"
    assert catalogue.DATASETS is DATASETS


def test_answers_to_other_questions_are_refused(wanted: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "red"

    def read(source: Source) -> list[Sample]:
        return [Sample("view 0", image, (Round(text, True, lambda: RED.astype(np.uint8)),))]

    monkeypatch.setitem(DATASETS, "tabletop", DataSet(read, lambda source: 1, plain=True))
    table = replace(wanted, dataset="tabletop", source=Source(None, "test"))
    run_evaluation(table, Loader())
    text = "blue"
    with pytest.raises(OutputError, match="view 0, round 1 was 'red', now 'blue'"):
        run_evaluation(table, Loader())


def test_an_item_that_was_being_written(wanted: Evaluation) -> None:
    run_evaluation(wanted, Loader())
    log = wanted.output / "items.jsonl"
    before, data = results(wanted)["rows"], log.read_bytes()
    for cut in (1, 20, len(data.splitlines(keepends=True)[-1]) - 1):
        log.write_bytes(data[:-cut])
        model = TeacherForcedModel()
        run_evaluation(wanted, Loader([model]))
        assert len(model.asked) == 1 and results(wanted)["rows"] == before
    log.write_bytes(data + b'{"sample": "c.jpg"\n')
    run_evaluation(wanted, Loader())
    assert results(wanted)["rows"] == before
    log.write_bytes(b"not an item\n" + data)
    with pytest.raises(OutputError, match="line 1 is not an item"):
        run_evaluation(wanted, Loader())


def test_a_folder_belongs_to_one_run(wanted: Evaluation, checkpoint: Path) -> None:
    run_evaluation(wanted, Loader())
    changes: list[tuple[dict[str, Any], str]] = [
        ({"protocol": "teacher_forced"}, "protocol was 'generate', now 'teacher_forced'"),
        ({"all_texts": True}, "questions was 3, now 4"),
        ({"max_new_tokens": 9}, "max_new_tokens"),
        ({"options": LoadOptions(device="cpu", precision="bf16")}, "bfloat16"),
    ]
    for change, what in changes:
        with pytest.raises(OutputError, match=what):
            run_evaluation(replace(wanted, **change), Loader())
    (checkpoint / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(OutputError, match="weights_sha256"):
        run_evaluation(wanted, Loader())


def test_results_of_an_unknown_run(wanted: Evaluation) -> None:
    wanted.output.mkdir()
    (wanted.output / "results.json").write_text("{}")
    with pytest.raises(OutputError, match=r"results\.json, but no run\.json"):
        run_evaluation(wanted, Loader())
    (wanted.output / "run.json").write_text("[")
    with pytest.raises(OutputError, match="damaged"):
        run_evaluation(wanted, Loader())


def test_the_output_is_checked_before_the_data_is_read(wanted: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match="is a file; name a folder"):
            run_evaluation(replace(wanted, output=output, source=Source(None, "val")), Loader())


def test_broken_items_are_counted_shown_and_tried_again(wanted: Evaluation, capsys: pytest.CaptureFixture[str]) -> None:
    data = wanted.source.home / "val"
    (data / "a.jpg").write_bytes(b"no image")
    (data / "c.json").write_text('{"text": ["What?"], "is_sentence": true}')
    write_image(data / "d.png")
    (data / "d.json").write_text(json.dumps(reason("a forbidden word")))
    assert run_evaluation(wanted, Loader()) == 1, "a part of the questions could not be scored"
    assert "3 of 4 questions failed" in capsys.readouterr().err
    found = results(wanted)
    assert (found["rows"][0]["items"], found["rows"][0]["failed"]) == (1, 3)
    why = {item["sample"]: item["failed"] for item in found["items"]}
    assert "not an image" in why["a.jpg"] and "'shapes'" in why["c.jpg"] and why["b.jpg"] is None
    assert "does not take this word" in why["d.png"]
    shown = (wanted.output / "report.html").read_text()
    assert "3 failed" in shown and "&#x27;shapes&#x27;" in shown
    write_image(data / "a.png").rename(data / "a.jpg")
    run_evaluation(wanted, Loader())
    assert results(wanted)["rows"][0]["items"] == 2


def test_if_nothing_can_be_scored_the_reason_is_given(wanted: Evaluation) -> None:
    for file in (wanted.source.home / "val").glob("*.jpg"):
        file.write_bytes(b"")
    with pytest.raises(DataError, match=r"all questions failed.*a\.jpg"):
        run_evaluation(wanted, Loader())
    assert results(wanted)["rows"][0]["giou"] is None


def test_a_failure_of_the_model_stops_the_run_and_loses_nothing(wanted: Evaluation) -> None:
    write_reason_seg(wanted.source.home / "val", {"bb": reason("crash")})
    with pytest.raises(RuntimeError, match="the model broke"):
        run_evaluation(wanted, Loader())
    assert len((wanted.output / "items.jsonl").read_text().splitlines()) == 2


def test_control_c_ends_with_a_partial_table(wanted: Evaluation, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_evaluation(wanted, Loader([TeacherForcedModel(stop_before=2)])) == 130
    found = results(wanted)
    assert not found["complete"] and found["rows"][0]["items"] == 2
    assert "| all" in capsys.readouterr().out
    assert "stopped before its end" in (wanted.output / "report.html").read_text()
    assert run_evaluation(wanted, Loader()) == 0
    assert results(wanted)["complete"] and results(wanted)["rows"][0]["items"] == 3


def test_nothing_to_read_or_to_load(wanted: Evaluation, tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"source": Source(None, "val")}, "--data"),
        ({"source": Source(tmp_path / "nowhere", "val")}, "there is no folder"),
        ({"source": Source(tmp_path / "data", "tset")}, "ReasonSeg has no split 'tset'"),
        ({"checkpoint": tmp_path / "data"}, "no weights"),
        ({"checkpoint": tmp_path / "nowhere"}, "no checkpoint folder"),
        ({"answer": "masks_only"}, "it can be 'full' or 'mask_only'"),
    ]
    for change, sentence in cases:
        with pytest.raises(ValueError, match=sentence):
            run_evaluation(replace(wanted, **change), Loader())
    assert not wanted.output.exists()


def test_a_truth_of_another_size_fails(tmp_path: Path) -> None:
    sample = Sample("1", image, (Round("red", False, lambda: np.zeros((3, 4), np.uint8)),))
    model = Model()
    with ItemLog(tmp_path / "items.jsonl") as log:
        evaluate([sample, Sample("2", image)], model, generate(model, "plain"), log)
    (first, second) = log.items.values()
    assert "(3, 4)" in (first.failed or "") and second.failed == "it has no question"
    assert isinstance(first, Item) and rows_of([first, second])[0]["failed"] == 2
