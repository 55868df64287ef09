# SPDX-License-Identifier: Apache-2.0
"""`lisa calibrate` and the use of its file, with a model whose command decides its confidence."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from scripted_segmenter import ScriptedFrame, ScriptedSegmenter, ScriptedSession
from tiny_datasets import BLUE_BOX, RED_BOX, reason, shape, write_reason_seg

from lisa_ros.datasets.catalogue import Source
from lisa_ros.evaluation.calibrate import FEWEST, Calibrating, calibrate
from lisa_ros.evaluation.evaluate import Evaluation, run_evaluation
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.segmentation.answers import AnswerKind, Event, Finished, MaskFound
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.checkpoint_hash import one_hash, weights_of
from lisa_ros.segmentation.files.output_folders import OutputError
from lisa_ros.segmentation.scoring import (
    FILE,
    UNCALIBRATED,
    Calibration,
    Evidence,
    LogisticRegression,
    read_calibration,
)
from lisa_ros.segmentation.turns import Turn

SURE = Evidence(6.0, 0.9, -0.001, 0.02)
DOUBTFUL = Evidence(1.0, 0.5, -0.7, 0.02)


@dataclass
class Model(ScriptedSegmenter):
    """Marks red with high confidence, or blue with low; the truth is red."""

    calibration: Calibration = UNCALIBRATED
    asked: list[tuple[str, str]] = field(default_factory=list)
    stop_before: int = -1

    def session(
        self, encoded: ScriptedFrame, turns: Sequence[Turn] = (), *, max_history_tokens: int = 0
    ) -> ScriptedSession:
        if len(self.asked) == self.stop_before:
            raise KeyboardInterrupt
        model = self

        class Session(ScriptedSession):
            def segment(inner, command: str, *rest: Any, answer: AnswerKind = "full", **more: Any) -> Iterator[Event]:  # noqa: N805
                model.asked.append((answer, command))
                evidence = DOUBTFUL if "blue" in command else SURE
                for event in super().segment(command, *rest, **more):
                    yield model._scored(event, evidence, answer)

        return Session(encoded, tuple(turns))

    def _scored(self, event: Event, evidence: Evidence, answer: str) -> Event:
        scored = {
            "score": self.calibration.score(evidence, answer),
            "score_calibrated": answer in self.calibration.regressions,
            "evidence": evidence.as_dict(),
        }
        if isinstance(event, MaskFound):
            return MaskFound(replace(event.object, **scored))
        if isinstance(event, Finished):
            return replace(event, objects=tuple(replace(found, **scored) for found in event.objects))
        return event


@dataclass
class Loader:
    """In place of load_segmenter; reads the folder's calibration, as a real model does."""

    models: list[Model] = field(default_factory=list)
    loaded: list[Model] = field(default_factory=list)
    options: list[LoadOptions] = field(default_factory=list)

    def __call__(self, checkpoint: Path, options: LoadOptions) -> Model:
        self.options.append(options)
        model = self.models.pop(0) if self.models else Model()
        model.calibration = read_calibration(checkpoint)
        self.loaded.append(model)
        return model


def write_images(folder: Path, right: int, wrong: int) -> None:
    red = [shape("target", RED_BOX)]
    texts = {f"right {i:02}": "red" for i in range(right)} | {f"wrong {i:02}": "blue" for i in range(wrong)}
    write_reason_seg(folder, {name: reason(text, is_sentence=False, shapes=red) for name, text in texts.items()})


def limited(wanted: Any, limit: int) -> Any:
    return replace(wanted, source=replace(wanted.source, limit=limit))


@pytest.fixture
def wanted(tmp_path: Path) -> Calibrating:
    """As many right masks as are needed, and two more wrong ones; right ones come first."""
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "model.safetensors").write_bytes(b"weights")
    write_images(tmp_path / "data" / "val", FEWEST, FEWEST + 2)
    options = LoadOptions(device="cpu")
    return Calibrating("reason_seg", Source(tmp_path / "data", "val"), tmp_path / "out", checkpoint, options)


def test_scores_separate_right_from_wrong(wanted: Calibrating, capsys: pytest.CaptureFixture[str]) -> None:
    loader = Loader()
    assert calibrate(wanted, loader) == 0
    found = read_calibration(wanted.checkpoint)
    assert set(found.regressions) == {"full", "mask_only"}
    assert found.score(SURE, "full") > 0.9 and found.score(DOUBTFUL, "full") < 0.1
    assert found.about["masks"]["full"] == {"right": FEWEST, "wrong": FEWEST + 2}
    assert (found.about["dataset"], found.about["split"]) == ("reason_seg", "val")
    assert "crops" not in found.about and [one.model_options for one in loader.options] == [(), ()]
    assert len(found.about["weights_sha256"]) == 64
    assert {kind for model in loader.loaded for kind, _ in model.asked} == {"full", "mask_only"}
    printed = capsys.readouterr().out
    assert str(wanted.checkpoint / FILE) in printed and "AUROC" not in printed, "there were no scores to evaluate yet"


def test_answers_with_several_masks_are_left_out(wanted: Calibrating) -> None:
    """Of two objects that are meant, each mask is right and covers one: an IoU of less than a half."""
    both = [shape("target", RED_BOX), shape("target", BLUE_BOX)]
    assert wanted.source.folder is not None
    write_reason_seg(wanted.source.folder / "val", {"both": reason("two", is_sentence=False, shapes=both)})
    calibrate(wanted, Loader())
    assert read_calibration(wanted.checkpoint).about["masks"]["full"] == {"right": FEWEST, "wrong": FEWEST + 2}


def test_nothing_is_asked_twice_with_the_new_scores_either(wanted: Calibrating) -> None:
    calibrate(wanted, Loader())
    first = (wanted.checkpoint / FILE).read_text()
    loader = Loader()
    assert calibrate(wanted, loader) == 0
    assert not loader.loaded and (wanted.checkpoint / FILE).read_text() == first


def test_control_c_writes_no_file_and_the_same_command_resumes(wanted: Calibrating) -> None:
    assert calibrate(wanted, Loader([Model(stop_before=7)])) == 130
    assert not (wanted.checkpoint / FILE).exists()
    loader = Loader()
    assert calibrate(wanted, loader) == 0
    assert len(loader.loaded[0].asked) == 2 * FEWEST + 2 - 7


@pytest.mark.parametrize(("limit", "said"), [(FEWEST + 1, "20 masks are right and 1 wrong"), (3, "3 masks are right")])
def test_too_few_masks_of_one_outcome(wanted: Calibrating, limit: int, said: str) -> None:
    with pytest.raises(ValueError, match=f"{said}.*at least {FEWEST} of each"):
        calibrate(limited(wanted, limit), Loader())
    assert not (wanted.checkpoint / FILE).exists()


def test_a_model_without_evidence(wanted: Calibrating) -> None:
    with pytest.raises(ValueError, match=r"no answer .*evidence"):
        calibrate(wanted, lambda checkpoint, options: ScriptedSegmenter())


@pytest.fixture
def evaluation(wanted: Calibrating) -> Evaluation:
    folder = wanted.output.with_name("scored")
    return Evaluation("reason_seg", wanted.source, "generate", folder, wanted.checkpoint, wanted.options)


def test_an_evaluation_reports_the_quality_of_scores(
    wanted: Calibrating, evaluation: Evaluation, capsys: pytest.CaptureFixture[str]
) -> None:
    calibrate(wanted, Loader())
    capsys.readouterr()
    assert run_evaluation(evaluation, Loader()) == 0
    found = json.loads((evaluation.output / "results.json").read_text())
    assert found["scores"]["masks"] == 2 * FEWEST + 2 and found["scores"]["auroc"] == 1.0
    assert found["scores"]["ece"] < 0.1 and found["scores"]["calibrated"]
    limit = next(one for one in found["scores"]["limits"] if one["min_score"] == 0.5)
    assert (limit["right_lost"], limit["wrong_dropped"]) == (0.0, 1.0)
    assert {round(item["score"], 6) for item in found["items"]} == {
        round(read_calibration(wanted.checkpoint).score(one, "full"), 6) for one in (SURE, DOUBTFUL)
    }
    assert "AUROC 1.000" in capsys.readouterr().out
    page = (evaluation.output / "report.html").read_text()
    assert (evaluation.output / "scores.svg").read_text().strip() in page
    assert "<svg" in page and "score 0.0" in page and "not calibrated" not in page


def test_an_evaluation_does_not_resume_with_other_scores(wanted: Calibrating, evaluation: Evaluation) -> None:
    run_evaluation(limited(evaluation, 2), Loader())
    calibrate(wanted, Loader())
    with pytest.raises(OutputError, match="score_sha256"):
        run_evaluation(evaluation, Loader())


def voting(wanted: Calibrating, *own: str) -> Calibrating:
    """The checkpoint answers from several crops of an image."""
    (wanted.checkpoint / "config.json").write_text(json.dumps({"lisa_ros_object_patches": {}}))
    return replace(wanted, options=replace(wanted.options, model_options=own))


@pytest.mark.parametrize("own", [(), ("crops=3", "region=objects")])
def test_a_calibration_depends_on_no_earlier_one(wanted: Calibrating, own: tuple[str, ...]) -> None:
    """Which of several answers counted depended on the scores that were there before."""
    loader = Loader()
    calibrate(voting(wanted, *own), loader)
    given = [dict(text.split("=") for text in options.model_options) for options in loader.options]
    assert len(given) == 2 and all(one["crops"] == "1" and len(one) == max(1, len(own)) for one in given)
    assert read_calibration(wanted.checkpoint).about["crops"] == 1


def test_an_evaluation_does_not_resume_with_another_number_of_crops(
    wanted: Calibrating, evaluation: Evaluation
) -> None:
    """Folders of earlier versions, whose models answered from one crop, resumed with other answers."""
    run_evaluation(limited(evaluation, 2), Loader())
    options = voting(wanted).options
    with pytest.raises(OutputError, match="crops was None, now 5"):
        run_evaluation(evaluation, Loader())
    for unchanged in (("crops=1",), ("region=whole",)):
        with pytest.raises(OutputError, match=r"^(?!.*crops was)"):
            run_evaluation(replace(evaluation, options=replace(options, model_options=unchanged)), Loader())
    forced = replace(limited(evaluation, 2), answer="mask_only", output=evaluation.output.with_name("forced"))
    run_evaluation(forced, Loader())
    assert "crops" not in json.loads((forced.output / "run.json").read_text())


def test_an_evaluation_whose_answers_depend_on_scores_does_not_resume_with_others(
    wanted: Calibrating, evaluation: Evaluation
) -> None:
    voting(wanted)
    unscored = replace(limited(evaluation, 2), reports_score_quality=False)
    run_evaluation(unscored, Loader())
    calibrate(wanted, Loader())
    with pytest.raises(OutputError, match="score_sha256 was None"):
        run_evaluation(unscored, Loader())


def test_an_evaluation_of_the_other_kind_of_answer(evaluation: Evaluation) -> None:
    loader = Loader()
    run_evaluation(replace(limited(evaluation, 2), answer="mask_only"), loader)
    assert [kind for kind, _ in loader.loaded[0].asked] == ["mask_only", "mask_only"]
    with pytest.raises(OutputError, match="answer was 'mask_only'"):
        run_evaluation(evaluation, Loader())
    with pytest.raises(ValueError, match="goes with the protocol generate"):
        run_evaluation(replace(evaluation, answer="mask_only", protocol="quantization"), Loader())


def test_without_scores_none_are_reported(evaluation: Evaluation) -> None:
    run_evaluation(limited(evaluation, 2), lambda checkpoint, options: ScriptedSegmenter())
    assert json.loads((evaluation.output / "results.json").read_text())["scores"] is None
    assert "<h2>Scores</h2>" not in (evaluation.output / "report.html").read_text()


class OtherEvidence(Model):
    """A model of another package, with evidence of its own."""

    def _scored(self, event: Event, evidence: Evidence, answer: str) -> Event:
        if isinstance(event, Finished):
            return replace(event, objects=tuple(replace(one, evidence={"certainty": 0.5}) for one in event.objects))
        return event


def test_evidence_of_another_kind_is_named(wanted: Calibrating) -> None:
    with pytest.raises(LisaError, match="evidence is certainty; a calibration can be fitted to firmness, expected_iou"):
        calibrate(limited(wanted, 2), Loader([OtherEvidence()]))


def test_scores_without_a_calibration_are_marked(evaluation: Evaluation, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_evaluation(limited(evaluation, 2), Loader()) == 0
    assert "masks (not calibrated)" in capsys.readouterr().out
    found = json.loads((evaluation.output / "results.json").read_text())
    assert not found["scores"]["calibrated"] and not any(item["score_calibrated"] for item in found["items"])
    assert "(not calibrated)" in (evaluation.output / "report.html").read_text()


def founded(checkpoint: Path, masks: int, weights: str) -> str:
    """Writes a calibration that says how many masks it was fitted to."""
    about = {"masks": {"full": {"right": masks, "wrong": masks}}, "weights_sha256": weights}
    text = Calibration({"full": LogisticRegression(0.0, (1.0, 0.0, 0.0, 0.0))}, about).text()
    (checkpoint / FILE).write_text(text)
    return text


def test_the_earlier_calibration_is_kept(wanted: Calibrating, capsys: pytest.CaptureFixture[str]) -> None:
    text = founded(wanted.checkpoint, 5, one_hash(weights_of(wanted.checkpoint)))
    assert calibrate(wanted, Loader()) == 0
    printed = capsys.readouterr().out
    assert f"will be written to {wanted.checkpoint / FILE}" in printed, "said before the work"
    assert (wanted.checkpoint / f"{FILE}.bak").read_text() == text and f"{FILE}.bak" in printed
    calibrate(wanted, Loader())
    assert len(list(wanted.checkpoint.glob(f"{FILE}.bak*"))) == 1, "the same calibration replaces nothing"


def test_without_room_for_the_new_calibration_the_earlier_one_stays(wanted: Calibrating) -> None:
    text = founded(wanted.checkpoint, 5, one_hash(weights_of(wanted.checkpoint)))
    (wanted.checkpoint / f"{FILE}.part").mkdir()  # nothing can be written under the name of the unfinished file
    with pytest.raises(OSError, match=f"{FILE} cannot be written"):
        calibrate(wanted, Loader())
    assert (wanted.checkpoint / FILE).read_text() == text


def test_a_better_founded_calibration_stays_unless_forced(wanted: Calibrating) -> None:
    text = founded(wanted.checkpoint, FEWEST + 1, one_hash(weights_of(wanted.checkpoint)))
    with pytest.raises(ValueError, match=f"fitted to 21 right and 21 wrong masks.*to {FEWEST} and 22.*--force"):
        calibrate(wanted, Loader())
    assert (wanted.checkpoint / FILE).read_text() == text
    assert calibrate(replace(wanted, force=True), Loader()) == 0
    assert read_calibration(wanted.checkpoint).about["masks"]["full"]["right"] == FEWEST


def test_a_calibration_of_other_weights_is_replaced(wanted: Calibrating) -> None:
    founded(wanted.checkpoint, 1000, "other weights")
    assert calibrate(wanted, Loader()) == 0


STOPPED = 7
"""Exit status of a run that ended because of the fault."""


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt() -> None:
    raise KeyboardInterrupt


def fill_disk() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def run_with_fault(wanted: Calibrating, folder: Path, number: int, fault: Callable[[], None]) -> int:
    """Calibrates in a process of its own, with a fault at the file operation of this number below a folder.

    Returns:
        the process's wait status; 0: it has fewer file operations.
    """
    if child := os.fork():
        return os.waitpid(child, 0)[1]
    left = [number]

    def on_event(event: str, arguments: tuple[object, ...]) -> None:
        writes = (event == "open" and str(arguments[1])[:1] in "wxa") or event in ("os.rename", "os.remove")
        if writes and str(arguments[0]).startswith(str(folder)):
            left[0] -= 1
            if left[0] == 0 or (left[0] < 0 and fault is fill_disk):  # a full disk stays full
                fault()

    status = STOPPED
    try:
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            sys.addaudithook(on_event)
            status = 0 if calibrate(wanted, Loader()) == 0 else STOPPED
    finally:
        os._exit(status)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("fault", [die, interrupt, fill_disk])
def test_stopped_at_any_file_and_repeated_the_checkpoint_is_as_without_it(
    wanted: Calibrating, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[], None]
) -> None:
    monkeypatch.setattr("lisa_ros.evaluation.calibrate.FEWEST", 2)
    write_images(tmp_path / "few" / "val", 2, 2)
    wanted = replace(wanted, source=Source(tmp_path / "few", "val"))
    calibrate(wanted, Loader())
    new = (wanted.checkpoint / FILE).read_bytes()
    old = new.replace(b"reason_seg", b"other_data")
    (wanted.checkpoint / FILE).write_bytes(old)
    number, stopped = 0, 0
    while True:
        number += 1 if fault is die or number >= 24 else 6  # the last operations are those in the checkpoint's folder
        again = replace(wanted, output=tmp_path / f"again {number}", force=True)
        (wanted.checkpoint / FILE).write_bytes(old)
        for kept in wanted.checkpoint.glob("*.bak*"):
            kept.unlink()
        status = run_with_fault(again, tmp_path, number, fault)
        if not status:
            break
        stopped += 1
        assert (wanted.checkpoint / FILE).read_bytes() in (old, new)
        assert read_calibration(wanted.checkpoint).regressions, "no cut file"
        assert calibrate(again, Loader()) == 0
        expected = {"model.safetensors": b"weights", FILE: new, f"{FILE}.bak": old}
        assert contents(wanted.checkpoint) == expected, f"file operation {number}"
        assert not list(again.output.rglob("*.part")), f"file operation {number}"
    assert stopped > (20 if fault is die else 6), "two runs with their reports, and the calibration"
