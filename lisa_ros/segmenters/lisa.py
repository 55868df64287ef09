# SPDX-License-Identifier: Apache-2.0
"""LISA behind the doorway."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lisa_ros.models.options import LoadOptions
from lisa_ros.segmenter import (
    SEG_TEXT,
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

if TYPE_CHECKING:
    from lisa_ros.dialogue import Turn
    from lisa_ros.models.lisa import Lisa, Picture


def load(checkpoint: Path, options: LoadOptions | None) -> LisaSegmenter:
    """See `lisa_ros.segmenter.load_segmenter`."""
    from lisa_ros.models.lisa import load_lisa

    return LisaSegmenter(load_lisa(checkpoint, options))


class LisaSegmenter:
    """LISA behind the doorway."""

    def __init__(self, lisa: Lisa) -> None:
        self._lisa = lisa

    @property
    def name(self) -> str:
        """Checkpoint, precision and device, for logs."""
        return self._lisa.name

    def gpu_bytes(self) -> int:
        """See OnDevice."""
        return self._lisa.gpu_bytes()

    def release(self) -> None:
        """See OnDevice."""
        self._lisa.release()

    def look(self, image: Image) -> Picture:
        """Takes a picture to ask about; CLIP and SAM see it when they are first needed, once."""
        return self._lisa.look(image)

    def session(self, frame: Picture, turns: Sequence[Turn] = ()) -> LisaSession:
        """A dialogue about a frame, after the turns it has had."""
        return LisaSession(self._lisa, frame, turns)

    def force(self, frame: Picture, command: str, answer: str, turns: Sequence[Turn] = ()) -> tuple[Mask, ...]:
        """The masks of an answer that is put into the model's mouth, see Forcible."""
        from lisa_ros.models.lisa.decoding import PromptTooLongError
        from lisa_ros.models.lisa.forcing import forced_mask_logits

        history = [(turn.command, turn.answer) for turn in turns]
        try:
            logits = forced_mask_logits(self._lisa, frame, command, answer, history)
        except PromptTooLongError as error:
            raise CommandError(f"The command is too long for the model: {error}.") from error
        return tuple(one > 0 for one in logits)


class LisaSession:
    """One dialogue about one picture, with LISA, whose history is text alone."""

    def __init__(self, lisa: Lisa, picture: Picture, turns: Sequence[Turn]) -> None:
        self._lisa, self._picture = lisa, picture
        self._history = [(turn.command, turn.answer) for turn in turns]

    def segment(
        self,
        command: str,
        references: Sequence[Reference] = (),
        *,
        max_new_tokens: int = 512,
        cancelled: Callable[[], bool] = lambda: False,
        answer: AnswerKind = "full",
    ) -> Iterator[Event]:
        """See Session.segment. Where the dialogue is longer than the model's context, its oldest turns are left out.

        LISA has no way to be shown earlier masks: references are ignored, and what is meant is told by the words.
        """
        from lisa_ros.models.lisa import Answer, MaskStep

        if not command.strip():
            raise CommandError("The command is empty; say what to look for.")
        mask_only = answer == "mask_only"
        history, room = self._fit(command, self._lisa.answer_room if mask_only else max_new_tokens)
        objects: list[ObjectMask] = []
        said = 0
        steps = self._lisa.answer(
            self._picture,
            command,
            history,
            max_new_tokens=room,
            cancelled=cancelled,
            mask_only=mask_only,
        )
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
                end = len(step.answer)
                objects.append(ObjectMask(step.logits > 0, (end - len(SEG_TEXT), end)))
                yield MaskFound(objects[-1])

    def _fit(self, command: str, max_new_tokens: int) -> tuple[list[tuple[str, str]], int]:
        """(the newest turns that fit into the context, tokens left for the answer, at most max_new_tokens)."""
        wanted = min(max_new_tokens, self._lisa.answer_room)
        for first in range(len(self._history) + 1):
            history = self._history[first:]
            room = self._lisa.room(self._picture, command, history)
            if room >= wanted:
                return history, min(max_new_tokens, room)
        raise CommandError(f"The command is too long for the model by {wanted - room} tokens; say it in fewer words.")
