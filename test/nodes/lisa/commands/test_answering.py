# SPDX-License-Identifier: Apache-2.0
"""One command put to the scripted model: what of its answer counts as an object, and what it is told of the past."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from scripted_segmenter import ScriptedSegmenter, ScriptedSession
from std_msgs.msg import Header
from tiny_datasets import picture

from lisa_ros.dialogue.dialogues import DialogueLimits, Dialogues
from lisa_ros.msg import Segmentation
from lisa_ros.nodes.lisa.camera.frames import EncodedFrame
from lisa_ros.nodes.lisa.commands.answering import Limits, ask
from lisa_ros.nodes.lisa.request import Outcome, Request
from lisa_ros.segmentation.answers import Event, Finished, MaskFound
from lisa_ros.segmentation.turns import Turn


class Listener:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def hear(self, event: Event, header: Header) -> None:
        self.events.append(event)

    def settle(self, answer: Segmentation) -> None:
        raise AssertionError("the node settles, not what asks the model")


def put(text: str, limits: Limits, dialogues: Dialogues | None = None, listener: Listener | None = None) -> Outcome:
    segmenter = ScriptedSegmenter()
    encoded = EncodedFrame(header=Header(), picture=picture(), frame=segmenter.encode(picture()), known=False)
    request = Request(id="1", operator_id="ann", text=text, listener=listener)
    dialogues = dialogues or Dialogues()
    return ask(segmenter, dialogues, dialogues.snapshot("ann"), request, encoded, limits, lambda: False, 0.0)


def limits(min_score: float = 0.0, max_history_tokens: int = 0) -> Limits:
    return Limits(64, "full", max_history_tokens, min_score)


@pytest.mark.parametrize(
    ("text", "min_score", "scores"),
    [
        ("red 0.25", 0.0, [0.25]),
        ("red 0.25", 0.25, [0.25]),
        ("two 0.25 0.75", 0.5, [0.75]),
        ("red without a score", 1.0, [None]),
    ],
)
def test_what_counts_as_an_object(text: str, min_score: float, scores: list[float | None]) -> None:
    outcome = put(text, limits(min_score))
    assert outcome.status == Segmentation.OK and outcome.detail == ""
    assert [found.score for found in outcome.objects] == scores


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("red 0.25", "marked an object, but its score is 0.250; min_score is 0.5"),
        ("two 0.25 0.375", "marked 2 objects, but the highest score is 0.375; min_score is 0.5"),
        ("invisible 0.0", "marked no pixel"),
        ("nothing", "names no object"),
    ],
)
def test_what_does_not_is_said(text: str, said: str) -> None:
    outcome = put(text, limits(0.5))
    assert outcome.status == Segmentation.NO_OBJECT and outcome.objects == ()
    assert said in outcome.detail


def test_a_listener_does_not_hear_of_what_is_no_object() -> None:
    listener = Listener()
    put("two 0.25 0.75", limits(0.5), listener=listener)
    assert [event.object.score for event in listener.events if isinstance(event, MaskFound)] == [0.75]
    assert isinstance(listener.events[-1], Finished)


def test_the_model_is_told_all_that_it_said_itself() -> None:
    dialogues = Dialogues()
    put("two 0.25 0.75", limits(0.5), dialogues)
    (turn,) = dialogues.turns("ann")
    assert turn.answer.count("[SEG]") == len(turn.objects) == 2


@pytest.mark.parametrize(("tokens", "told"), [(0, "one of many | two"), (4, "one of many | two"), (3, "two")])
def test_the_oldest_turns_are_left_out_of_what_the_model_is_told(tokens: int, told: str) -> None:
    """The scripted model counts words; the dialogue itself keeps its turns."""
    dialogues = Dialogues()
    for command in ("one of many", "two"):
        dialogues.append("ann", Turn(command, "answer"))
    outcome = put("history", limits(max_history_tokens=tokens), dialogues)
    assert outcome.answer == f"I was told: {told}"
    assert len(dialogues.turns("ann")) == 3


def test_the_model_is_told_how_the_operator_counts() -> None:
    """Also when the oldest turns are forgotten."""
    dialogues = Dialogues(DialogueLimits(max_turns=2))
    for _ in range(5):
        dialogues.append("ann", Turn("one", "answer"))
    assert put("numbering", limits(), dialogues).answer == "The first of 2 is turn 4."


def test_a_reset_meanwhile_does_not_mix_the_old_dialogue_with_the_new_one() -> None:
    """The command is answered with the dialogue that it was given in, and is not kept in the new one."""
    dialogues, segmenter = Dialogues(), ScriptedSegmenter()
    dialogues.append("ann", Turn("old", "answer"))
    snapshot = dialogues.snapshot("ann")
    dialogues.reset("ann")
    dialogues.append("ann", Turn("new", "answer"))
    encoded = EncodedFrame(header=Header(), picture=picture(), frame=segmenter.encode(picture()), known=False)
    request = Request(id="1", operator_id="ann", text="history", references=(1,))
    outcome = ask(segmenter, dialogues, snapshot, request, encoded, limits(), lambda: False, 0.0)
    assert (outcome.answer, outcome.turn) == ("I was told: old", 0)
    assert [turn.command for turn in outcome.history] == ["old"], "the tracker asks again with these turns"
    assert [turn.command for turn in dialogues.turns("ann")] == ["new"]


@pytest.mark.parametrize("score", ["nan", "inf", "1e300"])
def test_a_score_that_is_no_number_from_0_to_1_fails_and_leaves_no_turn(score: str) -> None:
    class Broken(ScriptedSegmenter):
        def session(self, encoded: Any, turns: Sequence[Turn] = (), **options: Any) -> Any:
            return BrokenSession(encoded, tuple(turns))

    class BrokenSession(ScriptedSession):
        def segment(self, command: str, *rest: Any, **options: Any) -> Iterator[Event]:
            for event in super().segment(command, *rest, **options):
                if isinstance(event, Finished):
                    event = replace(event, objects=tuple(replace(one, score=float(score)) for one in event.objects))
                yield event

    dialogues, segmenter = Dialogues(), Broken()
    encoded = EncodedFrame(header=Header(), picture=picture(), frame=segmenter.encode(picture()), known=False)
    request = Request(id="1", operator_id="ann", text="red")
    with pytest.raises(ValueError, match="a score lies between 0 and 1"):
        ask(segmenter, dialogues, dialogues.snapshot("ann"), request, encoded, limits(), lambda: False, 0.0)
    assert dialogues.turns("ann") == ()
