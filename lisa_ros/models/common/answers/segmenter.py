# SPDX-License-Identifier: Apache-2.0
"""What the Segmenters and Sessions of all models share; see lisa_ros.segmentation.interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from lisa_ros.dialogue.references import without_marks
from lisa_ros.segmentation.answers import (
    AnswerKind,
    CommandError,
    Event,
    Finished,
    MaskFound,
    ObjectMask,
    Reference,
    TextDelta,
)
from lisa_ros.segmentation.interface import Capabilities, DeviceMemory
from lisa_ros.segmentation.pointing import NO_POINTING, Pointing
from lisa_ros.segmentation.scoring import Calibration
from lisa_ros.segmentation.text import without_surrogates

if TYPE_CHECKING:
    from lisa_ros.models.common.answers.steps import MaskStep


class Model(Protocol):
    """See lisa_ros.models.common.loaded.LoadedModel."""

    @property
    def name(self) -> str: ...  # noqa: D102

    def encode(self, image: Any) -> Any: ...  # noqa: D102

    def memory(self) -> DeviceMemory: ...  # noqa: D102

    def release(self) -> None: ...  # noqa: D102


class LoadedSegmenter:
    """The part of a Segmenter that is the same for all models.

    Attributes:
        threads: CPU threads that torch computes with, where the loader has set them; else None.
    """

    threads: int | None = None
    capabilities = Capabilities()

    def __init__(self, model: Model) -> None:
        """Takes the model."""
        self._model = model

    @property
    def name(self) -> str:
        """Checkpoint, precision, device and, where it was chosen, the number of CPU threads; for logs."""
        if self.threads is None:
            return self._model.name
        return f"{self._model.name}, {self.threads} {'thread' if self.threads == 1 else 'threads'}"

    def encode(self, image: Any) -> Any:
        """Prepares an image for commands about it; each encoder runs once, when it is first needed."""
        return self._model.encode(image)

    def memory(self) -> DeviceMemory:
        """See Segmenter."""
        return self._model.memory()

    def release(self) -> None:
        """See Segmenter."""
        self._model.release()


def command_text(command: str) -> str:
    """The text of a command for a model that takes no references: without `[REF:...]`.

    Raises:
        CommandError: there is no other text.
    """
    if not isinstance(command, str):
        raise CommandError(f"A command is a text (str); this is {type(command).__name__}.")
    text = without_marks(command)
    if text != without_surrogates(text):
        raise CommandError("The command has bytes that are not UTF-8.")
    if not text.strip():
        raise CommandError("The command is empty; say what to look for.")
    return text


def first_turn_that_fits(turns: int, free: Callable[[int], int], needed: int, max_history_tokens: int) -> int:
    """The oldest turn, counted from 0, from which on the history fits; `turns` where none fits.

    Args:
        turns: number of turns.
        free: positions of the context that remain where the history begins with a turn, counted from 0. Each call
            tokenizes a prompt, so as few turns as possible are tried.
        needed: positions that must remain for the answer.
        max_history_tokens: most positions that the history takes; 0: as many as fit.

    Raises:
        CommandError: the command is too long even without history.
    """
    alone = free(turns)
    spare = alone - needed
    if spare < 0:
        raise CommandError(f"The command is too long for the model by {-spare} tokens; say it in fewer words.")
    longest = min(spare, max_history_tokens or spare)

    def fits(first: int) -> bool:
        return alone - free(first) <= longest

    if turns and fits(0):
        return 0
    return bisect_left(range(turns), True, lo=min(1, turns), key=fits)


@dataclass(frozen=True)
class Query:
    """A command and how it is to be answered.

    Attributes:
        command: its text, without `[REF:...]`.
        kind, max_new_tokens, cancelled, pointing: see Session.segment.
    """

    command: str
    kind: AnswerKind
    max_new_tokens: int
    cancelled: Callable[[], bool]
    pointing: Pointing


class TextSession(ABC):
    """One dialogue about one image, with a model that answers in text with `[SEG]` in it."""

    def __init__(self, calibration: Calibration) -> None:
        """Takes what turns the evidence for a mask into its score."""
        self._calibration = calibration

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

        The model cannot be given masks: references and `[REF:...]` are ignored, and the text alone counts.
        """
        text = command_text(command)
        self._check_pointing(pointing)
        if cancelled():  # before the image is encoded, which is expensive
            yield Finished("", (), "cancelled")
            return
        steps = self._steps(Query(text, answer, max_new_tokens, cancelled, pointing))
        yield from self._events(steps, answer, self._note(text, answer))

    @abstractmethod
    def _check_pointing(self, pointing: Pointing) -> None:
        """Raises a CommandError for points and boxes that the model cannot use."""

    @abstractmethod
    def _steps(self, query: Query) -> Iterator[Any]:
        """The model's steps, see lisa_ros.models.common.answers.steps."""

    def _object(self, step: MaskStep, kind: AnswerKind) -> ObjectMask:
        """The object of a mask step."""
        from lisa_ros.models.common.answers.scored_objects import scored_object

        return scored_object(step, self._calibration, kind)

    def _other_step(self, step: Any, objects: list[ObjectMask]) -> None:
        """Updates the objects after a step that only this model has."""
        raise TypeError(f"{type(step).__name__} is not a step of this model")

    def _finished(self, answer: str, objects: Sequence[ObjectMask]) -> tuple[ObjectMask, ...]:
        """The objects of the whole answer."""
        return tuple(objects)

    def _note(self, command: str, kind: AnswerKind) -> str:
        """What the model cannot do of a command, see Finished.note."""
        return ""

    def _events(self, steps: Iterator[Any], kind: AnswerKind, note: str) -> Iterator[Event]:
        """The events of an answer's steps."""
        from lisa_ros.models.common.answers.steps import Answer, MaskStep, TextStep

        objects: list[ObjectMask] = []
        sent = ""
        for step in steps:
            # A character of several bytes is U+FFFD until its last byte is generated.
            text = step.text if isinstance(step, Answer) else step.text.rstrip("\ufffd")
            # The end token may change white space inside the decoded answer, which is no new text.
            is_continued = not isinstance(step, Answer) or text.startswith(sent)
            if len(text) > len(sent) and is_continued:
                yield TextDelta(text[len(sent) :])
                sent = text
            if isinstance(step, MaskStep):
                objects.append(self._object(step, kind))
                yield MaskFound(objects[-1])
            elif isinstance(step, Answer):
                yield Finished(step.text, self._finished(step.text, objects), step.reason, note=note)
            elif not isinstance(step, TextStep):
                self._other_step(step, objects)
