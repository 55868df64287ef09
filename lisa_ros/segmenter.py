# SPDX-License-Identifier: Apache-2.0
"""The one doorway to a model: image + dialogue + command -> a stream of events.

`look` is dear and once per picture; a Session on a picture is cheap and one per dialogue. Only numpy is in the types,
so that whoever calls needs no torch, and a stand-in for tests needs no weights.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lisa_ros.models.options import LoadOptions

if TYPE_CHECKING:
    from lisa_ros.dialogue import Turn
    from lisa_ros.models.lisa import Lisa, Picture

Image = NDArray[np.uint8]
"""RGB, (H, W, 3)."""

Mask = NDArray[np.bool_]
"""(H, W), size of the picture."""

SEG_TEXT = "[SEG]"

AnswerKind = Literal["full", "mask_only"]
"""What is wanted of a model: all that it says, or one mask, as soon as can be, and none of its words."""
ANSWER_KINDS: tuple[AnswerKind, ...] = ("full", "mask_only")

__all__ = [
    "ANSWER_KINDS",
    "AnswerKind",
    "CommandError",
    "Event",
    "Finished",
    "Forcible",
    "Frame",
    "Image",
    "LisaSegmenter",
    "LoadOptions",
    "Mask",
    "MaskFound",
    "ObjectMask",
    "OnDevice",
    "Segmenter",
    "Session",
    "TextDelta",
    "embedded_checkpoint",
    "explanation_of",
    "load_segmenter",
]


class CommandError(ValueError):
    """A command that the model cannot be asked; the text is one sentence for the operator."""


@dataclass(frozen=True)
class ObjectMask:
    """One object that an answer names.

    Attributes:
        mask: where it is.
        span: [begin, end) of its `[SEG]` in the raw answer, in characters.
    """

    mask: Mask
    span: tuple[int, int]


@dataclass(frozen=True)
class MaskFound:
    """An object was named; the answer may go on."""

    object: ObjectMask


@dataclass(frozen=True)
class TextDelta:
    """More of the raw answer. All deltas together are the answer, up to white space."""

    text: str


@dataclass(frozen=True)
class Finished:
    """The answer is whole; nothing follows.

    Attributes:
        answer: the raw answer, `[SEG]` in place of each object.
        objects: in the order in which the answer names them.
        reason: "end", "length" (cut at max_new_tokens) or "cancelled".
    """

    answer: str
    objects: tuple[ObjectMask, ...]
    reason: Literal["end", "length", "cancelled"]


Event = MaskFound | TextDelta | Finished

Frame = Any
"""A picture that a Segmenter has looked at; opaque. May be shared between sessions, operators and threads."""


class Session(Protocol):
    """One dialogue about one picture."""

    def segment(
        self,
        command: str,
        references: Sequence[int] = (),
        *,
        max_new_tokens: int = 512,
        cancelled: Callable[[], bool] = lambda: False,
        answer: AnswerKind = "full",
    ) -> Iterator[Event]:
        """Answers a command.

        Args:
            command: what the operator said.
            references: earlier turns whose masks the command refers to, counted from 1.
            max_new_tokens: the answer is cut there.
            cancelled: asked at least once per token; when true, the answer ends there.
            answer: "mask_only": the model is not asked whether there is such a thing, only where; it always marks one.

        Yields:
            MaskFound and TextDelta in the order the model makes them, then exactly one Finished.

        Raises:
            CommandError: the command cannot be asked.
        """
        ...


class Segmenter(Protocol):
    """A loaded model."""

    @property
    def name(self) -> str:
        """Checkpoint, precision and device, for logs."""
        ...

    def look(self, image: Image) -> Frame:
        """Takes a picture to ask about."""
        ...

    def session(self, frame: Frame, turns: Sequence[Turn] = ()) -> Session:
        """A dialogue about a frame, after the turns it has had."""
        ...


@runtime_checkable
class Forcible(Protocol):
    """A model that can be told its answer, and shows where it would have masked. LISA's paper measures so."""

    def force(self, frame: Frame, command: str, answer: str, turns: Sequence[Turn] = ()) -> tuple[Mask, ...]:
        """The masks of an answer that is put into the model's mouth.

        Args:
            frame: from `look`.
            command: what is asked.
            answer: the raw answer, with one `[SEG]` or more.
            turns: earlier turns of the dialogue.

        Returns:
            a mask for each `[SEG]` of the answer.

        Raises:
            CommandError: the command cannot be asked.
        """
        ...


@runtime_checkable
class OnDevice(Protocol):
    """A model that knows what it takes of a GPU."""

    def gpu_bytes(self) -> int:
        """Memory that the process has allocated on the GPU, bytes; 0 on a CPU."""
        ...

    def release(self) -> None:
        """Forgets the weights and gives their memory back; nothing may be asked afterwards."""
        ...


def embedded_checkpoint() -> Path:
    """The small LISA that comes with the package, trained on the simulated table."""
    return Path(__file__).parent / "checkpoints" / "tabletop"


def load_segmenter(checkpoint: Path, options: LoadOptions | None = None) -> Segmenter:
    """Loads a checkpoint folder.

    Args:
        checkpoint: a LISA folder as released.
        options: precision, quantization, device and so on.

    Raises:
        ValueError: the folder or an option cannot be used; the text says what would be right.
    """
    # A robot's CPU has other work. OpenMP's threads spin while they wait for each other, which then makes a small
    # network many times slower; torch reads this when it is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # torch and transformers take seconds to import, and the callers' own import must not wait for them.
    from lisa_ros.models.lisa import load_lisa

    return LisaSegmenter(load_lisa(checkpoint, options))


def explanation_of(answer: str) -> str:
    """A raw answer without its `[SEG]`, for people: "Sure, [SEG] . It is red." -> "Sure. It is red."."""
    text = re.sub(r"\s+", " ", answer.replace(SEG_TEXT, " "))
    text = re.sub(r" (?=[.,;:!?])", "", text)
    text = re.sub(r"[,;:]+(?=[.!?])", "", text)  # the comma before a [SEG] that ended the sentence
    return re.sub(r"^[\s.,;:!?]+", "", text).strip()


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
        references: Sequence[int] = (),
        *,
        max_new_tokens: int = 512,
        cancelled: Callable[[], bool] = lambda: False,
        answer: AnswerKind = "full",
    ) -> Iterator[Event]:
        """See Session.segment. Where the dialogue is longer than the model's context, its oldest turns are left out."""
        from lisa_ros.models.lisa import Answer, MaskStep

        if not command.strip():
            raise CommandError("The command is empty; say what to look for.")
        if references:
            raise CommandError("LISA cannot refer to the masks of earlier turns; say in words what is meant.")
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
