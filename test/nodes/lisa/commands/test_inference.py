# SPDX-License-Identifier: Apache-2.0
"""Inference on one command with the scripted segmenter: which masks are objects, and the model's history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from scripted_segmenter import ScriptedSegmenter, ScriptedSession
from std_msgs.msg import Header
from tiny_datasets import image as example_image

from lisa_ros.dialogue.dialogues import DialogueLimits, Dialogues
from lisa_ros.msg import Segmentation
from lisa_ros.nodes.lisa.camera.frames import EncodedFrame
from lisa_ros.nodes.lisa.commands.inference import InferenceSettings, run_inference
from lisa_ros.nodes.lisa.request import Outcome, Request
from lisa_ros.segmentation.answers import Event, Finished, MaskFound
from lisa_ros.segmentation.turns import Turn


class Listener:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event, header: Header) -> None:
        self.events.append(event)

    def on_answer(self, answer: Segmentation) -> None:
        raise AssertionError("only the node answers")


def encoded_example(segmenter: ScriptedSegmenter) -> EncodedFrame:
    image = example_image()
    return EncodedFrame(Header(), image, segmenter.encode(image), known=False)


def infer(
    text: str, settings: InferenceSettings, dialogues: Dialogues | None = None, listener: Listener | None = None
) -> Outcome:
    segmenter = ScriptedSegmenter()
    encoded = encoded_example(segmenter)
    request = Request(id="1", operator_id="ann", text=text, listener=listener)
    dialogues = dialogues or Dialogues()
    outcome, turn = run_inference(segmenter, dialogues.snapshot("ann"), request, encoded, settings, lambda: False, 0.0)
    if turn is not None:
        dialogues.append("ann", turn)
    return outcome


def settings(min_score: float = 0.0, max_history_tokens: int = 0) -> InferenceSettings:
    return InferenceSettings(64, "full", max_history_tokens, min_score)


@pytest.mark.parametrize(
    ("text", "min_score", "scores"),
    [
        ("red 0.25", 0.0, [0.25]),
        ("red 0.25", 0.25, [0.25]),
        ("two 0.25 0.75", 0.5, [0.75]),
        ("red without a score", 1.0, [None]),
    ],
)
def test_masks_that_are_objects(text: str, min_score: float, scores: list[float | None]) -> None:
    outcome = infer(text, settings(min_score))
    assert outcome.status == Segmentation.OK and outcome.detail == ""
    assert [found.score for found in outcome.objects] == scores


def test_what_the_model_cannot_do_of_a_command_is_the_answers_detail(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = ScriptedSession.segment

    def noted(*arguments: Any, **options: Any) -> Iterator[Event]:
        for event in answered(*arguments, **options):
            yield replace(event, note="At most\ntwo.") if isinstance(event, Finished) else event

    monkeypatch.setattr(ScriptedSession, "segment", noted)
    assert infer("red", settings()).detail == "At most two."
    assert infer("two 0.25 0.75", settings(0.9)).detail.endswith("min_score is 0.9. At most two.")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("red 0.25", "found an object, but its score is 0.250; min_score is 0.5"),
        ("two 0.25 0.375", "found 2 objects, but the highest score is 0.375; min_score is 0.5"),
        ("invisible 0.0", "its mask is empty"),
        ("nothing", "names no object"),
    ],
)
def test_the_reason_why_there_is_no_object(text: str, reason: str) -> None:
    outcome = infer(text, settings(0.5))
    assert outcome.status == Segmentation.NO_OBJECT and outcome.objects == ()
    assert reason in outcome.detail


def test_a_listener_gets_only_masks_that_are_objects() -> None:
    listener = Listener()
    infer("two 0.25 0.75", settings(0.5), listener=listener)
    assert [event.object.score for event in listener.events if isinstance(event, MaskFound)] == [0.75]
    assert isinstance(listener.events[-1], Finished)


def test_a_turn_has_all_masks_of_the_model() -> None:
    dialogues = Dialogues()
    infer("two 0.25 0.75", settings(0.5), dialogues)
    (turn,) = dialogues.turns("ann")
    assert turn.answer.count("[SEG]") == len(turn.objects) == 2


@pytest.mark.parametrize(("tokens", "history"), [(0, "one of many | two"), (4, "one of many | two"), (3, "two")])
def test_the_oldest_turns_are_left_out_of_the_history(tokens: int, history: str) -> None:
    """The scripted segmenter counts words; the dialogue itself keeps its turns."""
    dialogues = Dialogues()
    for command in ("one of many", "two"):
        dialogues.append("ann", Turn(command, "answer"))
    outcome = infer("history", settings(max_history_tokens=tokens), dialogues)
    assert outcome.answer == f"History: {history}"
    assert len(dialogues.turns("ann")) == 3


def test_turns_keep_their_numbers_when_the_oldest_are_dropped() -> None:
    dialogues = Dialogues(DialogueLimits(max_turns=2))
    for _ in range(5):
        dialogues.append("ann", Turn("one", "answer"))
    assert infer("numbering", settings(), dialogues).answer == "The first of 2 is turn 4."


@pytest.mark.parametrize("score", ["nan", "inf", "1e300"])
def test_a_score_outside_of_0_to_1_fails(score: str) -> None:
    class Broken(ScriptedSegmenter):
        def session(self, encoded: Any, turns: Sequence[Turn] = (), **options: Any) -> Any:
            return BrokenSession(encoded, tuple(turns))

    class BrokenSession(ScriptedSession):
        def segment(self, command: str, *rest: Any, **options: Any) -> Iterator[Event]:
            for event in super().segment(command, *rest, **options):
                if isinstance(event, Finished):
                    event = replace(event, objects=tuple(replace(one, score=float(score)) for one in event.objects))
                yield event

    segmenter = Broken()
    request = Request(id="1", operator_id="ann", text="red")
    with pytest.raises(ValueError, match="a score lies between 0 and 1"):
        run_inference(
            segmenter, Dialogues().snapshot("ann"), request, encoded_example(segmenter), settings(), lambda: False, 0.0
        )
