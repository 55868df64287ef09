# SPDX-License-Identifier: Apache-2.0
"""LIRA behind the doorway."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
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
    from lisa_ros.models.lira import EncodedImage, Exchange, Lira
    from lisa_ros.models.lira.answers.steps import AnswerStep
    from lisa_ros.segmentation.turns import Turn


def load(checkpoint: Path, options: LoadOptions | None) -> LiraSegmenter:
    """See `lisa_ros.models.loading.load_segmenter`."""
    from lisa_ros.models.lira import load_lira

    calibration = read_calibration(checkpoint)
    return LiraSegmenter(load_lira(checkpoint, options), calibration)


class LiraSegmenter(LoadedSegmenter):
    """LIRA behind the doorway."""

    def __init__(self, lira: Lira, calibration: Calibration = UNCALIBRATED) -> None:
        super().__init__(lira)
        self._lira, self._calibration = lira, calibration

    def encode(self, image: Image) -> EncodedImage:
        """Takes a picture to ask about; both eyes see it when they are first needed, once."""
        return self._lira.encode(image)

    def session(self, encoded: EncodedImage, turns: Sequence[Turn] = (), *, max_history_tokens: int = 0) -> LiraSession:
        """A dialogue about a frame, after the turns it has had, see Segmenter.session."""
        return LiraSession(self._lira, self._calibration, encoded, turns, max_history_tokens)

    def refer(self, encoded: EncodedImage, expression: str) -> tuple[str, Mask | None]:
        """See Referring."""
        answer, logits = self._lira.refer(encoded, expression)
        return answer, None if logits is None else logits > 0


class LiraSession:
    """One dialogue about one picture, with LIRA, whose history is text and close looks at what was found."""

    def __init__(
        self,
        lira: Lira,
        calibration: Calibration,
        picture: EncodedImage,
        turns: Sequence[Turn],
        max_history_tokens: int,
    ) -> None:
        self._lira, self._calibration, self._picture = lira, calibration, picture
        self._max_history_tokens = max_history_tokens
        self._history = _usable([_exchange(turn) for turn in turns], picture.size)

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

        A MaskFound comes before the object's phrase is said and before it is marked again; Finished has both. LIRA has
        no way to be shown chosen masks: references and `[REF:...]` are ignored, what is meant is told by the words.
        """
        command = without_marks(command)
        if not command.strip():
            raise CommandError("The command is empty; say what to look for.")
        pointing.refuse("LIRA")
        if cancelled():  # before the picture is looked at, which is dear
            yield Finished("", (), "cancelled")
            return
        steps = self._lira.answer(
            self._picture,
            command,
            self._fit(command, max_new_tokens),
            max_new_tokens=max_new_tokens,
            cancelled=cancelled,
            mask_only=answer == "mask_only",
        )
        yield from self._events(steps, answer)

    def _events(self, steps: Iterator[AnswerStep], kind: AnswerKind) -> Iterator[Event]:
        """An answer's steps as the doorway tells them."""
        from lisa_ros.models.lira import Answer, MaskStep, RefinedStep, phrase_after

        objects: list[ObjectMask] = []
        said = 0
        for step in steps:
            text = step.text if isinstance(step, Answer) else step.answer.rstrip("\ufffd")
            if len(text) > said:
                yield TextDelta(text[said:])
                said = len(text)
            if isinstance(step, MaskStep):
                found = marked_object(step, self._calibration, kind)
                objects.append(replace(found, attributes=step.attributes or {}))
                yield MaskFound(objects[-1])
            elif isinstance(step, RefinedStep) and step.logits is not None:
                objects[-1] = replace(objects[-1], refined=step.logits > 0)
            elif isinstance(step, Answer):
                named = (replace(one, phrase=phrase_after(step.text, one.span[1])) for one in objects)
                yield Finished(step.text, tuple(named), step.reason)

    def _fit(self, command: str, max_new_tokens: int) -> list[Exchange]:
        """The newest turns that fit into the context and max_history_tokens."""
        wanted = min(max_new_tokens, self._lira.answer_room)
        spare = self._lira.room(self._picture, command) - wanted
        if spare < 0:
            raise CommandError(f"The command is too long for the model by {-spare} tokens; say it in fewer words.")
        longest = min(spare, self._max_history_tokens or spare)
        for first in range(len(self._history)):
            history = self._history[first:]
            if spare + wanted - self._lira.room(self._picture, command, history) <= longest:
                return history
        return []


def _exchange(turn: Turn) -> Exchange:
    from lisa_ros.models.lira import Exchange

    marked = tuple((found.span[1], found.mask) for found in turn.objects)
    return Exchange(without_marks(turn.command), turn.answer, marked)


def _usable(turns: list[Exchange], size: tuple[int, int]) -> list[Exchange]:
    """The newest turns, back to one whose close looks cannot be taken again in a picture of this size."""
    for first in range(len(turns), 0, -1):
        looks = turns[first - 1].looked_at()
        if looks is None or any(mask.shape != size for mask in looks):
            return turns[first:]
    return turns
