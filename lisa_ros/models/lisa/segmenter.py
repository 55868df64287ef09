# SPDX-License-Identifier: Apache-2.0
"""LISA behind the doorway."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lisa_ros.dialogue.references import without_marks
from lisa_ros.models.common.loaded_segmenter import LoadedSegmenter
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.common.scored_objects import marked_object
from lisa_ros.segmentation.answers import (
    AnswerKind,
    CommandError,
    Event,
    Finished,
    Image,
    Mask,
    MaskFound,
    ObjectMask,
    Reference,
    TextDelta,
)
from lisa_ros.segmentation.pointing import NO_POINTING, Pointing
from lisa_ros.segmentation.scoring import UNCALIBRATED, Calibration, read_calibration

if TYPE_CHECKING:
    from lisa_ros.models.lisa import Answer, EncodedImage, Lisa, MaskStep, TextStep
    from lisa_ros.segmentation.turns import Turn


def load(checkpoint: Path, options: LoadOptions | None) -> LisaSegmenter:
    """See `lisa_ros.models.loading.load_segmenter`."""
    from lisa_ros.models.lisa import load_lisa

    calibration = read_calibration(checkpoint)
    return LisaSegmenter(load_lisa(checkpoint, options), calibration)


class LisaSegmenter(LoadedSegmenter):
    """LISA behind the doorway."""

    def __init__(self, lisa: Lisa, calibration: Calibration = UNCALIBRATED) -> None:
        super().__init__(lisa)
        self._lisa, self._calibration = lisa, calibration

    def encode(self, image: Image) -> EncodedImage:
        """Takes a picture to ask about; CLIP and SAM see it when they are first needed, once."""
        return self._lisa.encode(image)

    def session(self, encoded: EncodedImage, turns: Sequence[Turn] = (), *, max_history_tokens: int = 0) -> LisaSession:
        """A dialogue about a frame, after the turns it has had, see Segmenter.session."""
        return LisaSession(self._lisa, self._calibration, encoded, turns, max_history_tokens)

    def force(self, encoded: EncodedImage, command: str, answer: str, turns: Sequence[Turn] = ()) -> tuple[Mask, ...]:
        """The masks of an answer that is put into the model's mouth, see TeacherForcing."""
        from lisa_ros.models.common.answering import PromptTooLongError
        from lisa_ros.models.lisa.forcing import forced_mask_logits

        history = [(turn.command, turn.answer) for turn in turns]
        try:
            logits = forced_mask_logits(self._lisa, encoded, command, answer, history)
        except PromptTooLongError as error:
            raise CommandError(f"The command is too long for the model: {error}.") from error
        return tuple(one > 0 for one in logits)


class LisaSession:
    """One dialogue about one picture, with LISA, whose history is text alone."""

    def __init__(
        self,
        lisa: Lisa,
        calibration: Calibration,
        picture: EncodedImage,
        turns: Sequence[Turn],
        max_history_tokens: int,
    ) -> None:
        self._lisa, self._calibration, self._picture = lisa, calibration, picture
        self._max_history_tokens = max_history_tokens
        self._history = [(without_marks(turn.command), turn.answer) for turn in turns]

    def segment(
        self,
        command: str,
        references: Sequence[Reference] = (),
        *,
        max_new_tokens: int = 512,
        cancelled: Callable[[], bool] = lambda: False,
        answer: AnswerKind = "full",
        pointing: Pointing = NO_POINTING,
    ) -> Iterator[Event]:
        """See Session.segment. Where the dialogue is longer than the model's context, its oldest turns are left out.

        LISA has no way to be shown earlier masks: references and `[REF:...]` are ignored, and what is meant is told by
        the words.
        """
        command = without_marks(command)
        if not command.strip():
            raise CommandError("The command is empty; say what to look for.")
        pointing.check(self._picture.size)
        if not self._lisa.config.point_prompts:
            pointing.refuse(f"The checkpoint {self._lisa.name}, whose mask decoder was not trained with them,")
        mask_only = answer == "mask_only"
        prompt_ids, room = self._fit(command, self._lisa.answer_room if mask_only else max_new_tokens)
        steps = self._lisa.answer_prompt(
            self._picture,
            prompt_ids,
            max_new_tokens=room,
            cancelled=cancelled,
            mask_only=mask_only,
            pointing=pointing,
        )
        yield from self._events(steps, answer)

    def _events(self, steps: Iterator[MaskStep | TextStep | Answer], kind: AnswerKind) -> Iterator[Event]:
        """An answer's steps as the doorway tells them."""
        from lisa_ros.models.lisa import Answer, MaskStep

        objects: list[ObjectMask] = []
        said = 0
        for step in steps:
            if isinstance(step, Answer):
                yield Finished(step.text, tuple(objects), step.reason)
                return
            # A letter of several bytes is U+FFFD until its last byte is said.
            whole = step.answer.rstrip("\ufffd")
            if len(whole) > said:
                yield TextDelta(whole[said:])
                said = len(whole)
            if isinstance(step, MaskStep):
                objects.append(marked_object(step, self._calibration, kind))
                yield MaskFound(objects[-1])

    def _fit(self, command: str, max_new_tokens: int) -> tuple[list[int], int]:
        """(the prompt with the newest turns that fit, tokens left for the answer, at most max_new_tokens)."""
        wanted = min(max_new_tokens, self._lisa.answer_room)
        alone = self._lisa.prompt_ids(command)
        spare = self._lisa.room(alone, self._picture) - wanted
        if spare < 0:
            raise CommandError(f"The command is too long for the model by {-spare} tokens; say it in fewer words.")
        longest = min(spare, self._max_history_tokens or spare)
        for first in range(len(self._history)):
            prompt_ids = self._lisa.prompt_ids(command, self._history[first:])
            added = len(prompt_ids) - len(alone)
            if added <= longest:
                return prompt_ids, min(max_new_tokens, spare + wanted - added)
        return alone, min(max_new_tokens, spare + wanted)
