# SPDX-License-Identifier: Apache-2.0
"""The one doorway to a model: image + dialogue + command -> a stream of events.

`look` is dear and once per picture; a Session on a picture is cheap and one per dialogue. Only numpy is in the types,
so that whoever calls needs no torch, and a stand-in for tests needs no weights.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lisa_ros.models.families import family_of
from lisa_ros.models.options import LoadOptions

if TYPE_CHECKING:
    from lisa_ros.dialogue import Turn

Image = NDArray[np.uint8]
"""RGB, (H, W, 3)."""

Mask = NDArray[np.bool_]
"""(H, W), size of the picture."""

Reference = int | Mask
"""An earlier turn, its place in a session's turns counted from 1, or somebody else's mask of the picture's size."""

SEG_TEXT = "[SEG]"

_MARKS = re.compile(r"\[SEG\]|<image_id>|</?p>")
"""What stands in an answer for a mask, a close look, and the two ends of an object's phrase."""

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
    "LoadOptions",
    "Mask",
    "MaskFound",
    "ObjectMask",
    "OnDevice",
    "Reference",
    "Referring",
    "Region",
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
class Region:
    """An object as a model is shown it again in a later turn, in the picture that the model itself works on.

    Attributes:
        mask: (H', W').
        box: x0, y0, x1, y1 in its pixels; may say more than the mask, which can be empty.
    """

    mask: Mask
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class ObjectMask:
    """One object that an answer names.

    Attributes:
        mask: where it is.
        span: [begin, end) of its `[SEG]` in the raw answer, in characters.
        score: how likely the mask is right, 0 to 1: has an IoU of 0.5 or more with what was asked for. That holds where
            the checkpoint has a calibration, see lisa_ros.scoring; without one it only ranks. None: the model does not
            say.
        evidence: what the score was made of, by name; a calibration is fitted to it. None: nothing.
        probability: computes (H, W) float32, of each pixel being the object's, as the model has it; above 0.5 in the
            mask. None: the model does not say. It holds on to a picture's worth of memory, and is not kept with a turn.
        region: what the model wants to be given again with the turn; None: nothing.
        phrase: the words of the answer that name the object; empty: the model does not say.
        refined: a second, closer look at the same object; None: there was none.
        box: the model's own box around it, x0, y0, x1, y1 in the picture's pixels; may reach outside of the picture and
            differ from the mask's; None: the model does not say.
        attributes: kind of word -> word -> how much the model inclines to it at the `[SEG]` (a logit); for the eye.
    """

    mask: Mask
    span: tuple[int, int]
    score: float | None = None
    evidence: Mapping[str, float] | None = None
    probability: Callable[[], NDArray[np.float32]] | None = None
    region: Region | None = None
    phrase: str = ""
    refined: Mask | None = None
    box: tuple[float, float, float, float] | None = None
    attributes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


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
        references: the earlier turns whose masks the model was shown, counted from 1.
    """

    answer: str
    objects: tuple[ObjectMask, ...]
    reason: Literal["end", "length", "cancelled"]
    references: tuple[int, ...] = ()


Event = MaskFound | TextDelta | Finished

Frame = Any
"""A picture that a Segmenter has looked at; opaque. May be shared between sessions, operators and threads."""


class Session(Protocol):
    """One dialogue about one picture."""

    def segment(
        self,
        command: str,
        references: Sequence[Reference] = (),
        *,
        max_new_tokens: int = 512,
        cancelled: Callable[[], bool] = lambda: False,
        answer: AnswerKind = "full",
    ) -> Iterator[Event]:
        """Answers a command.

        Args:
            command: what the operator said.
            references: what the command refers to: earlier turns whose masks are meant, or masks from elsewhere. Models
                that cannot be shown earlier masks ignore them.
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

    def session(
        self, frame: Frame, turns: Sequence[Turn] = (), *, max_history_tokens: int = 0, first: int = 1
    ) -> Session:
        """A dialogue about a frame, after the turns it has had.

        Args:
            frame: from `look`.
            turns: oldest first.
            max_history_tokens: the oldest turns are left out, each as a whole, until those that stay add no more than
                so many positions to the prompt; 0: until the prompt fits into the model's context, which also holds
                for any other number. A command that refers to a turn that was left out is a CommandError.
            first: the number that the first of `turns` has in its dialogue, which may have lost older ones. What the
                operator's words count ("the first one", `[REF:1]`) and what an error says counts since the dialogue
                began; the `references` of a command and of its answer are places in `turns`.
        """
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
class Referring(Protocol):
    """A model that answers a referring expression with its first mask alone. LIRA's paper measures so."""

    def refer(self, frame: Frame, expression: str) -> tuple[str, Mask | None]:
        """The mask of a referring expression, asked for as the model's authors do.

        Args:
            frame: from `look`.
            expression: for example "the red mug".

        Returns:
            the raw answer up to the mask, and the mask; None where the model marks nothing.

        Raises:
            CommandError: it cannot be asked.
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
        checkpoint: a folder as released, or as `lisa convert` wrote it; `family_of` says whose.
        options: precision, quantization, device and so on.

    Raises:
        ValueError: the folder or an option cannot be used; the text says what would be right.
    """
    # A robot's CPU has other work. OpenMP's threads spin while they wait for each other, which then makes a small
    # network many times slower; torch reads this when it is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # torch and transformers take seconds to import, and the callers' own import must not wait for them.
    family = importlib.import_module(f"lisa_ros.segmenters.{family_of(checkpoint)}")
    segmenter: Segmenter = family.load(checkpoint, options)
    return segmenter


def explanation_of(answer: str) -> str:
    """A raw answer without its marks, for people: "Sure, [SEG] . It is red." -> "Sure. It is red."."""
    text = re.sub(r"\s+", " ", _MARKS.sub(" ", answer))
    text = re.sub(r" (?=[.,;:!?])", "", text)
    text = re.sub(r"[,;:]+(?=[.!?])", "", text)  # the comma before a [SEG] that ended the sentence
    return re.sub(r"^[\s.,;:!?]+", "", text).strip()
