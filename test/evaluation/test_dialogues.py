# SPDX-License-Identifier: Apache-2.0
"""Dialogues of a data set: the history in the prompt, and references to earlier masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluated_models import RED, Loader, ReferenceModel, TeacherForcedModel, results
from scripted_segmenter import ScriptedSegmenter

from lisa_ros.datasets.samples import Round, Sample
from lisa_ros.evaluation.evaluate import Evaluation, run_evaluation
from lisa_ros.evaluation.items import ItemLog
from lisa_ros.evaluation.protocols import Reply
from lisa_ros.evaluation.runner import evaluate
from lisa_ros.segmentation.answers import CommandError
from lisa_ros.segmentation.files.output_folders import OutputError
from lisa_ros.segmentation.turns import Turn


def test_the_history_is_the_models_own_answers(dialogues: Evaluation) -> None:
    model = TeacherForcedModel()
    run_evaluation(dialogues, Loader([model]))
    assert model.asked[0] == ("Segment the red one.", ())
    assert model.asked[2][1] == ("The red part is [SEG].", "The blue part is [SEG].")
    assert model.asked[3] == ("Segment the dog.", ())
    every, one, two, three = results(dialogues)["rows"]
    assert [row["row"] for row in (every, one, two, three)] == ["all", "turn 1", "turn 2", "turn 3"]
    assert (every["items"], one["items"], two["items"], three["items"]) == (4, 2, 1, 1)
    assert one["mean_iou"] == pytest.approx(0.5, abs=1e-3) and one["overall_iou"] == pytest.approx(0.5, abs=1e-3)
    assert (one["box_precision"], two["box_precision"]) == (pytest.approx(0.5), pytest.approx(1))


@pytest.mark.parametrize("references", ["own", "true", "none"])
def test_masks_of_earlier_rounds(dialogues: Evaluation, references: str) -> None:
    model = ReferenceModel()
    assert run_evaluation(replace(dialogues, references=references), Loader([model])) == 1
    (first, none), (second, masks), (third, _) = model.given
    assert (first, third, none) == ((), (), [])
    assert second == (() if references == "none" else (1,))
    assert np.array_equal(masks[0], RED) == (references == "true")
    _, one, two, three = results(dialogues)["rows"]
    assert (one["box_precision"], two["box_precision"]) == (pytest.approx(1), pytest.approx(0)), "the model's own box"
    assert three["failed"] == 1


def test_references_of_another_kind_are_another_run(dialogues: Evaluation) -> None:
    run_evaluation(dialogues, Loader([ReferenceModel()]))
    with pytest.raises(OutputError, match="references was 'own', now 'true'"):
        run_evaluation(replace(dialogues, references="true"), Loader([ReferenceModel()]))


def test_references_skip_a_round_that_failed(tmp_path: Path) -> None:
    """A round that failed is no turn of the dialogue; the others keep the numbers of their rounds."""
    given: list[tuple[int, ...]] = []

    def ask(frame: Any, asked: Round, turns: Sequence[Turn]) -> Reply:
        given.append(asked.references)
        if asked.text == "fails":
            raise CommandError("It cannot be answered.")
        return Reply(Turn(asked.text, ""), (), False, 0.0)

    rounds = tuple(
        Round(text, True, lambda: RED.astype(np.uint8), references=meant)
        for text, meant in (("one", ()), ("fails", (1,)), ("three", (1, 2)), ("four", (3,)))
    )
    sample = Sample("0", lambda: np.zeros((*RED.shape, 3), np.uint8), rounds, dialogue=True)
    with ItemLog(tmp_path / "items.jsonl") as log:
        evaluate([sample], ScriptedSegmenter(), ask, log)
    assert given == [(), (1,), (1,), (3,)]


def test_a_dialogue_that_was_cut_off_starts_again(dialogues: Evaluation) -> None:
    assert run_evaluation(dialogues, Loader([TeacherForcedModel(stop_before=2)])) == 130
    model = TeacherForcedModel()
    assert run_evaluation(dialogues, Loader([model])) == 0
    assert len(model.asked) == 4 and len(model.asked[2][1]) == 2
    assert results(dialogues)["rows"][0]["items"] == 4


def test_given_answers_are_the_history_of_teacher_forcing(dialogues: Evaluation) -> None:
    model = TeacherForcedModel()
    run_evaluation(replace(dialogues, protocol="teacher_forced"), Loader([model]))
    assert model.asked[2][1] == ("[SEG].", "[SEG].")
