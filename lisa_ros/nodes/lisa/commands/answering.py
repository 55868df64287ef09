# SPDX-License-Identifier: Apache-2.0
"""Asking the model about a picture, in the operator's dialogue."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from lisa_ros.dialogue.dialogues import Dialogues, DialogueSnapshot, ForgottenTurnError, operator_name
from lisa_ros.msg import Segmentation
from lisa_ros.nodes.lisa.camera.frames import EncodedFrame
from lisa_ros.nodes.lisa.request import Outcome, Request
from lisa_ros.segmentation.answers import CommandError, Event, Finished, MaskFound, ObjectMask, check_objects
from lisa_ros.segmentation.interface import Segmenter
from lisa_ros.segmentation.turns import turn_of


@dataclass(frozen=True)
class _Heard:
    finished: Finished
    first_mask_s: float | None


@dataclass(frozen=True)
class Limits:
    """What is asked of the model besides the command.

    Attributes:
        max_new_tokens: longest answer.
        answer: "full", or "mask_only" for one mask and no words.
        max_history_tokens: see Segmenter.session; 0: as many as the model's context holds.
        min_score: masks with a lower score are no objects; those that have no score are.
    """

    max_new_tokens: int
    answer: str
    max_history_tokens: int = 0
    min_score: float = 0.0


def ask(
    segmenter: Segmenter,
    dialogues: Dialogues,
    snapshot: DialogueSnapshot,
    request: Request,
    encoded: EncodedFrame,
    limits: Limits,
    cancelled: Callable[[], bool],
    started_s: float,
) -> Outcome:
    """Put a command to the model; the answer becomes a turn of the operator's dialogue.

    Args:
        segmenter: the model.
        dialogues: of all operators.
        snapshot: the operator's dialogue when the work on this command began.
        request: the command.
        encoded: the frame it is about.
        limits: what is asked besides.
        cancelled: asked by the model while it answers.
        started_s: monotonic seconds at which the work on this command began.

    Raises:
        ValueError: the model's masks do not fit the picture; the answer is not remembered then.
        Exception: whatever else the model raises.
    """
    operator = operator_name(request.operator_id)
    try:
        snapshot.check_kept(request.references)
        session = segmenter.session(encoded.frame, snapshot.turns, max_history_tokens=limits.max_history_tokens)
        events = session.segment(
            request.text,
            request.references,
            max_new_tokens=limits.max_new_tokens,
            cancelled=cancelled,
            answer="mask_only" if limits.answer == "mask_only" else "full",
            pointing=request.pointing,
        )
        heard = _listen(_told(events, request, encoded, limits.min_score))
    except (CommandError, ForgottenTurnError) as error:
        return Outcome(Segmentation.REJECTED, str(error), encoded.header)
    finished = heard.finished
    if finished.reason == "cancelled":
        return Outcome(Segmentation.CANCELLED, "The command was taken back before it was answered.", encoded.header)
    height, width = encoded.picture.shape[:2]
    check_objects(finished.objects, (height, width))
    turn = dialogues.append(operator, turn_of(request.text, finished), snapshot.generation)
    return Outcome(
        *_status(finished.objects, limits.min_score),
        header=encoded.header,
        answer=finished.answer,
        objects=_found(finished.objects, limits.min_score),
        turn=turn,
        references=finished.references,
        history=snapshot.turns,
        frame_known=encoded.known,
        first_mask_ms=1000 * (heard.first_mask_s - started_s) if heard.first_mask_s is not None else 0.0,
    )


def _told(events: Iterable[Event], request: Request, encoded: EncodedFrame, min_score: float) -> Iterator[Event]:
    """The events but for masks that are no objects; a listener hears each as it comes."""
    for event in events:
        if isinstance(event, MaskFound) and not counts(event.object, min_score):
            continue
        if request.listener is not None:
            request.listener.hear(event, encoded.header)
        yield event


def _listen(events: Iterable[Event]) -> _Heard:
    first_mask_s = None
    finished = None
    for event in events:
        if isinstance(event, MaskFound) and first_mask_s is None:
            first_mask_s = time.monotonic()
        elif isinstance(event, Finished):
            finished = event
    if finished is None:
        raise RuntimeError("the model's answer broke off")
    return _Heard(finished, first_mask_s)


def _visible(objects: tuple[ObjectMask, ...]) -> tuple[ObjectMask, ...]:
    return tuple(found for found in objects if found.mask.any())


def counts(found: ObjectMask, min_score: float) -> bool:
    """Whether a mask is an object: it has a pixel, and its score, where it has one, is enough."""
    return bool(found.mask.any()) and (found.score is None or found.score >= min_score)


def _found(objects: tuple[ObjectMask, ...], min_score: float) -> tuple[ObjectMask, ...]:
    return tuple(found for found in objects if counts(found, min_score))


def _status(objects: tuple[ObjectMask, ...], min_score: float) -> tuple[int, str]:
    if _found(objects, min_score):
        return Segmentation.OK, ""
    if weak := _visible(objects):
        best = max(found.score or 0.0 for found in weak)
        marked = "an object, but its" if len(weak) == 1 else f"{len(weak)} objects, but the highest"
        return Segmentation.NO_OBJECT, f"The model marked {marked} score is {best:.3f}; min_score is {min_score:g}."
    if objects:
        return Segmentation.NO_OBJECT, "The model named an object, but marked no pixel of it."
    return Segmentation.NO_OBJECT, "The model's answer names no object in the picture."
