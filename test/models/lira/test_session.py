# SPDX-License-Identifier: Apache-2.0
"""LIRA behind the interface: events, dialogues, scores, references, and what ends an answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_lira import Case, ask, read_case

from lisa_ros.models.lira import Exchange, Lira, MaskStep
from lisa_ros.models.lira.segmenter import LiraSegmenter
from lisa_ros.segmentation.answers import (
    AnswerKind,
    CommandError,
    Finished,
    MaskFound,
    ObjectMask,
    Reference,
    TextDelta,
)
from lisa_ros.segmentation.interface import Segmenter
from lisa_ros.segmentation.pointing import Pointing
from lisa_ros.segmentation.text import explanation_of
from lisa_ros.segmentation.turns import Turn


def test_events_come_in_order(segmenter: Segmenter, golden_lira: Path) -> None:
    case = read_case(golden_lira, 3)
    events = list(segmenter.session(segmenter.encode(case.image)).segment(case.question))
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == case.answer
    *_, end = events
    assert isinstance(end, Finished) and (end.answer, end.reason) == (case.answer, "end")
    found = [event.object for event in events if isinstance(event, MaskFound)]
    assert [(one.span, one.phrase) for one in found] == [(one.span, "") for one in end.objects]
    assert [one.phrase for one in end.objects] == ["white triangle", "white triangle"]
    assert all(case.answer[slice(*one.span)] == "[SEG]" and one.refined is not None for one in end.objects)
    # The first mask arrives before the model generates the second.
    kinds = [type(event) for event in events if not isinstance(event, TextDelta)]
    place = events.index(next(event for event in events if isinstance(event, MaskFound)))
    assert kinds == [MaskFound, MaskFound, Finished] and any(isinstance(e, TextDelta) for e in events[place:])
    assert explanation_of(end.answer) == "① white triangle and ② white triangle."


def test_points_and_boxes_are_refused(segmenter: Segmenter, golden_lira: Path) -> None:
    """OMG-Seg's mask decoder has no prompts for them."""
    session = segmenter.session(segmenter.encode(read_case(golden_lira, 3).image))
    for pointing in (Pointing(((3, 4),)), Pointing((), ((0, 0, 9, 8),))):
        with pytest.raises(CommandError, match="LIRA takes no points or boxes; say in the text which object is meant"):
            list(session.segment("this", pointing=pointing))


def test_a_dialogue_through_the_interface(segmenter: Segmenter, golden_lira: Path) -> None:
    case = read_case(golden_lira, 0)
    encoded = segmenter.encode(case.image)
    *_, first = segmenter.session(encoded).segment(case.question)
    assert isinstance(first, Finished)
    turn = Turn(case.question, first.answer, first.objects)
    *_, second = segmenter.session(encoded, [turn]).segment("Please segment the blue circle.")
    *_, repeated = segmenter.session(segmenter.encode(case.image), [turn]).segment("Please segment the blue circle.")
    assert isinstance(second, Finished) and isinstance(repeated, Finished)
    assert second.answer == repeated.answer
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(second.objects, repeated.objects, strict=True))


def test_turns_without_usable_masks_are_left_out(segmenter: Segmenter, golden_lira: Path) -> None:
    """A turn that was stored without masks, or came from a camera with another image size."""
    case = read_case(golden_lira, 0)
    encoded = segmenter.encode(case.image)
    *_, alone = segmenter.session(encoded).segment(case.question)
    for objects in ((), tuple(smaller_objects(case))):
        *_, end = segmenter.session(encoded, [Turn("the red one", case.answer, objects)]).segment(case.question)
        assert isinstance(end, Finished) and isinstance(alone, Finished) and end.answer == alone.answer


def smaller_objects(case: Case) -> Iterator[ObjectMask]:
    yield ObjectMask(case.masks[0][::2], (0, 5))


def test_the_oldest_turns_are_left_out_first(
    segmenter: LiraSegmenter, golden_lira: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = read_case(golden_lira, 0)
    encoded, lira = segmenter.encode(case.image), segmenter._lira
    turn = Turn(case.question, case.answer, (ObjectMask(case.masks[0], (0, 5)),))
    past = Exchange(case.question, case.answer, ((5, case.masks[0]),))
    turn_positions = lira.free_positions(encoded, "x") - lira.free_positions(encoded, "x", [past])
    assert turn_positions > 256
    histories: list[int] = []
    answer = lira.answer
    monkeypatch.setattr(lira, "answer", lambda *a, **k: (histories.append(len(a[2])), answer(*a, **k))[1])
    for limit in (0, 2 * turn_positions, 2 * turn_positions - 1, turn_positions - 1):
        list(segmenter.session(encoded, [turn, turn], max_history_tokens=limit).segment("x", max_new_tokens=1))
    assert histories == [2, 2, 1, 0]


def test_scores_and_their_evidence(segmenter: Segmenter, lira: Lira, golden_lira: Path) -> None:
    """The evidence is that of the step's logits, and the same with mask_only."""
    case = read_case(golden_lira, 0)
    *_, end = segmenter.session(segmenter.encode(case.image)).segment(case.question)
    assert isinstance(end, Finished)
    (found,) = end.objects
    assert found.evidence is not None and found.evidence["firmness"] > 1 and found.score is not None
    assert 0.8 < found.score == found.evidence["expected_iou"] <= 1
    logits = torch.from_numpy(case.arrays["step_logits"])
    least = float(logits.log_softmax(-1).amax(-1)[0])  # of the first token, `[SEG]`
    assert found.evidence["log_prob"] == pytest.approx(least, abs=1e-4)
    assert found.probability is not None
    assert np.array_equal(found.probability() > 0.5, found.mask)
    *_, forced = segmenter.session(segmenter.encode(case.image)).segment(case.question, answer="mask_only")
    assert isinstance(forced, Finished) and forced.objects[0].evidence == pytest.approx(found.evidence, abs=1e-3)
    (step,) = (step for step in ask(lira, case)[0] if isinstance(step, MaskStep))
    assert step.low_res.shape == (48, 64)  # of 64 x 64, without the padding above and below


def test_mask_only(segmenter: Segmenter, golden_lira: Path) -> None:
    case = read_case(golden_lira, 0)
    *_, full = segmenter.session(segmenter.encode(case.image)).segment(case.question)
    events = list(segmenter.session(segmenter.encode(case.image)).segment(case.question, answer="mask_only"))
    end = events[-1]
    assert isinstance(end, Finished) and isinstance(full, Finished)
    assert [type(event) for event in events] == [TextDelta, MaskFound, Finished] and end.answer == "[SEG]"
    assert np.array_equal(end.objects[0].mask, full.objects[0].mask)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_answers_cut_at_max_new_tokens(segmenter: Segmenter, golden_lira: Path, length: int) -> None:
    case = read_case(golden_lira, 0)
    *_, end = segmenter.session(segmenter.encode(case.image)).segment(case.question, max_new_tokens=length)
    assert isinstance(end, Finished) and end.reason == "length"
    assert len(end.objects) == 1 and end.objects[0].phrase == ""
    assert case.answer.startswith(end.answer)


def test_empty_commands_are_refused(segmenter: Segmenter, golden_lira: Path) -> None:
    session = segmenter.session(segmenter.encode(read_case(golden_lira, 0).image))
    with pytest.raises(CommandError, match="empty"):
        list(session.segment("  "))
    with pytest.raises(CommandError, match="empty"):
        list(session.segment("[REF:1]"))


def test_references_are_ignored(segmenter: Segmenter, golden_lira: Path) -> None:
    """LIRA takes no masks as input, and `[REF:1]` is not text, in the command or in the history."""
    case = read_case(golden_lira, 0)
    encoded, mask = segmenter.encode(case.image), np.ones(case.image.shape[:2], dtype=np.bool_)
    objects = (ObjectMask(case.masks[0], (0, 5)),)
    plain = [Turn(case.question, case.answer, objects)]
    marked = [Turn(f"{case.question} [REF:1]", case.answer, objects)]

    def texts(turns: Sequence[Turn], command: str, references: Sequence[Reference] = ()) -> list[str]:
        events = segmenter.session(encoded, turns).segment(command, references)
        return [event.text for event in events if isinstance(event, TextDelta)]

    expected = texts(plain, "the blue circle")
    assert expected
    assert texts(plain, "the blue circle", (1, mask)) == expected
    assert texts(marked, "the blue circle [REF:1]") == expected


def test_marks_of_references_are_removed(segmenter: LiraSegmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    lira = segmenter._lira
    answer = lira.answer
    monkeypatch.setattr(lira, "answer", lambda *a, **k: (calls.append(a[1:3]), answer(*a, **k))[1])
    encoded = segmenter.encode(np.zeros((48, 64, 3), dtype=np.uint8))
    turns = [Turn("a [REF:1] mug", "No.")]
    list(segmenter.session(encoded, turns).segment("its lid [REF:1]", max_new_tokens=1))
    assert calls == [("its lid", [Exchange("a mug", "No.")])]


@pytest.mark.parametrize("answer", ["full", "mask_only"])
def test_cancelling_before_the_image_is_encoded(segmenter: LiraSegmenter, answer: AnswerKind) -> None:
    encoded = segmenter.encode(np.zeros((48, 64, 3), dtype=np.uint8))
    events = segmenter.session(encoded).segment("a mug", cancelled=lambda: True, answer=answer)
    assert list(events) == [Finished("", (), "cancelled")]
    assert encoded.numbers == [], "no vision encoder has run"
