# SPDX-License-Identifier: Apache-2.0
"""Runs the model on one command: an encoded frame and the operator's dialogue in, an Outcome out."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from lisa_ros.dialogue.dialogues import DialogueSnapshot, ForgottenTurnError
from lisa_ros.msg import Segmentation
from lisa_ros.nodes.lisa.camera.frames import EncodedFrame
from lisa_ros.nodes.lisa.request import Outcome, Request
from lisa_ros.segmentation.answers import CommandError, Event, Finished, MaskFound, checked_events
from lisa_ros.segmentation.found import answer_detail, found_objects, is_object
from lisa_ros.segmentation.interface import Segmenter, answering
from lisa_ros.segmentation.turns import Turn, turn_of


@dataclass(frozen=True)
class _Collected:
    finished: Finished
    first_mask_s: float | None


@dataclass(frozen=True)
class InferenceSettings:
    """Settings of the model for one command.

    Attributes:
        max_new_tokens: Maximum length of the answer in tokens.
        answer: "full", or "mask_only" for one mask and no text.
        max_history_tokens: See Segmenter.session; 0: no limit except the model's context.
        min_score: Masks with a lower score are not reported as objects. Masks without a score always are.
    """

    max_new_tokens: int
    answer: str
    max_history_tokens: int = 0
    min_score: float = 0.0


def run_inference(
    segmenter: Segmenter,
    dialogue: DialogueSnapshot,
    request: Request,
    encoded: EncodedFrame,
    settings: InferenceSettings,
    cancelled: Callable[[], bool],
    started_s: float,
) -> tuple[Outcome, Turn | None]:
    """Run the model on a command.

    Args:
        segmenter: The model.
        dialogue: The operator's dialogue when processing of the command started.
        request: The command.
        encoded: The frame it is about.
        settings: Settings of the model.
        cancelled: Returns whether the model should stop.
        started_s: Start of processing in monotonic seconds.

    Returns:
        The outcome, and the turn that the answer becomes; None: it does not become one.

    Raises:
        ValueError: What the model says is invalid, see checked_events.
        Exception: Any error of the model.
    """
    try:
        dialogue.check_kept(request.references)
        session = segmenter.session(encoded.encoded, dialogue.turns, max_history_tokens=settings.max_history_tokens)
        events = session.segment(
            request.text,
            request.references,
            max_new_tokens=settings.max_new_tokens,
            cancelled=cancelled,
            answer="mask_only" if settings.answer == "mask_only" else "full",
            pointing=request.pointing,
        )
        with answering(request.id):
            checked = checked_events(events, encoded.image.shape[:2])
            collected = _collect(_reported(checked, request, encoded, settings.min_score))
    except (CommandError, ForgottenTurnError) as error:
        return Outcome(Segmentation.REJECTED, str(error), encoded.header), None
    finished = collected.finished
    if finished.reason == "cancelled":
        sentence = "The command was cancelled before it was answered."
        return Outcome(Segmentation.CANCELLED, sentence, encoded.header), None
    outcome = _outcome(collected, segmenter, dialogue, encoded, settings, started_s)
    return outcome, turn_of(request.text, finished)


def _outcome(
    collected: _Collected,
    segmenter: Segmenter,
    dialogue: DialogueSnapshot,
    encoded: EncodedFrame,
    settings: InferenceSettings,
    started_s: float,
) -> Outcome:
    finished = collected.finished
    return Outcome(
        *_status(finished, settings.min_score),
        header=encoded.header,
        answer=finished.answer,
        model=finished.model or segmenter.name,
        objects=found_objects(finished.objects, settings.min_score),
        references=finished.references,
        history=dialogue.turns,
        frame_known=encoded.known,
        first_mask_ms=1000 * (collected.first_mask_s - started_s) if collected.first_mask_s is not None else 0.0,
    )


def _reported(events: Iterable[Event], request: Request, encoded: EncodedFrame, min_score: float) -> Iterator[Event]:
    """The events without masks that do not count as objects; the listener gets each of them at once."""
    for event in events:
        if isinstance(event, MaskFound) and not is_object(event.object, min_score):
            continue
        if request.listener is not None:
            request.listener.on_event(event, encoded.header)
        yield event


def _collect(events: Iterable[Event]) -> _Collected:
    first_mask_s = None
    finished = None
    for event in events:
        if isinstance(event, MaskFound) and first_mask_s is None:
            first_mask_s = time.monotonic()
        elif isinstance(event, Finished):
            finished = event
    if finished is None:
        raise RuntimeError("the model's answer ended without Finished")
    return _Collected(finished, first_mask_s)


def _status(finished: Finished, min_score: float) -> tuple[int, str]:
    """The answer's status and detail."""
    status = Segmentation.OK if found_objects(finished.objects, min_score) else Segmentation.NO_OBJECT
    return status, answer_detail(finished, min_score)
