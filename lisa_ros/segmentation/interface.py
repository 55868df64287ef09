# SPDX-License-Identifier: Apache-2.0
"""The one doorway to a model: image + dialogue + command -> a stream of events.

`look` is dear and once per picture; a Session on a picture is cheap and one per dialogue. Only numpy is in the types,
so that whoever calls needs no torch, and a stand-in for tests needs no weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from lisa_ros.segmentation.answers import (
    AnswerKind,
    Event,
    Image,
    Mask,
    Reference,
)

if TYPE_CHECKING:
    from lisa_ros.segmentation.turns import Turn


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

    def encode(self, image: Image) -> Frame:
        """Takes a picture to ask about."""
        ...

    def session(self, frame: Frame, turns: Sequence[Turn] = (), *, max_history_tokens: int = 0) -> Session:
        """A dialogue about a frame, after the turns it has had.

        Args:
            frame: from `look`.
            turns: oldest first. References of commands and answers are these turns' numbers.
            max_history_tokens: the oldest turns are left out, each as a whole, until those that stay add no more than
                so many positions to the prompt; 0: until the prompt fits into the model's context, which also holds
                for any other number. A command that refers to a turn that was left out is a CommandError.
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
