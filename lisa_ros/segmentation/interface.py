# SPDX-License-Identifier: Apache-2.0
"""The interface of every model: an image, a dialogue and a command in, a stream of events out.

    encoded = segmenter.encode(image)               # expensive, once per frame
    session = segmenter.session(encoded, turns)     # cheap, one per dialogue and frame
    for event in session.segment("the red mug"):    # MaskFound and TextDelta, then one Finished
        ...

Encoding an image runs the vision encoders (LISA: CLIP and SAM). The encoded image can be shared by any number of
sessions, operators and threads, so that each frame is encoded once. A session holds one dialogue about one encoded
image and computes nothing until a command is given.

The types are those of numpy. Callers need no torch, and a test can replace the model by a class without weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from lisa_ros.segmentation.answers import AnswerKind, Event, Image, Mask, Reference
from lisa_ros.segmentation.pointing import NO_POINTING, Pointing

if TYPE_CHECKING:
    from lisa_ros.segmentation.turns import Turn


@dataclass(frozen=True)
class Capabilities:
    """What a model can do besides answering commands. Plain data, so that a remote model can report it.

    Attributes:
        teacher_forcing: It has the method of `TeacherForcing`.
        referring: It has the method of `Referring`.
        references: It uses the references of a command. Others ignore them.
    """

    teacher_forcing: bool = False
    referring: bool = False
    references: bool = False


@dataclass(frozen=True)
class DeviceMemory:
    """GPU memory of the model's process.

    Attributes:
        allocated_bytes: In use by tensors; 0 on a CPU.
        reserved_bytes: Taken from the GPU, in use or kept for reuse; 0 on a CPU.
    """

    allocated_bytes: int = 0
    reserved_bytes: int = 0


EncodedImage = Any
"""The result of `Segmenter.encode`, with the method of Releasable. Each model has its own type; callers only hand it
back to the same segmenter."""


class Releasable(Protocol):
    """What callers may do with an encoded image besides opening sessions about it."""

    def release(self) -> None:
        """Free what was computed of the image, as soon as running answers about it have ended.

        The image must not be used in new sessions afterwards. An image that is garbage collected is released as well;
        a remote model needs the call to free memory on its side in time. May be called more than once.
        """
        ...


def release_all(*parts: Releasable) -> None:
    """Release each part, in order, also after one that raises an error; the error is raised when all were asked."""
    with ExitStack() as stack:
        for part in reversed(parts):
            stack.callback(part.release)


class AnswerOptions(TypedDict, total=False):
    """The keywords of `Session.segment`, for a model made of other models that passes them on."""

    max_new_tokens: int
    cancelled: Callable[[], bool]
    answer: AnswerKind
    pointing: Pointing


_command_id: ContextVar[str] = ContextVar("lisa_command_id", default="")


def current_command_id() -> str:
    """Return the id of the command that this thread answers, for logs and traces; empty: none is known."""
    return _command_id.get()


@contextmanager
def answering(command_id: str) -> Iterator[None]:
    """Name the command that this thread answers while the block runs. Models need not pass the id on."""
    before = _command_id.set(command_id)
    try:
        yield
    finally:
        _command_id.reset(before)


class Session(Protocol):
    """The turns of a dialogue so far, and one encoded image. To be used by one thread at a time.

    A session does not remember what is asked of it. The caller keeps the turns, so that one dialogue can go on about
    other images. A dialogue of two turns:

        turns = []
        for command in ("the red mug", "and the one left of it"):
            *_, finished = segmenter.session(encoded, turns).segment(command)
            turns.append(turn_of(command, finished, len(turns) + 1))

    `lisa_ros.models.model.Dialogue` does this for Python programs.
    """

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
        """Answer a command.

        The answer does not change the session: to continue the dialogue, open a new session with the answer's turn
        (`lisa_ros.segmentation.turns.turn_of`) appended to the turns.

        Args:
            command: The operator's text, for example "hand me something to drink from".
            references: What the command refers to: numbers of earlier turns whose masks are meant, or masks from
                elsewhere. Models that cannot take masks as input ignore them (LISA, LIRA).
            max_new_tokens: Maximum length of the answer, in tokens.
            cancelled: Called at least once per token. As soon as it returns True, the answer ends with the reason
                "cancelled". A `cancellation.CancelToken` is one that can also be waited for.
            answer: "full": the model's own answer, text and masks. "mask_only": one mask as fast as possible and no
                text; the model cannot say that there is no such object, so it always returns a mask.
            pointing: Points and boxes on the object that is meant. LISA gives them to SAM's prompt encoder, and they
                shape every mask of the answer. Models without such an input raise CommandError.

        Yields:
            MaskFound and TextDelta in the order in which the model generates them, then exactly one Finished.

        Raises:
            CommandError: The command is empty, does not fit into the model's context, has an invalid reference, or
                points outside the image or at a model that takes no points.
        """
        ...


class Segmenter(Protocol):
    """A loaded model. All methods may be called from several threads at the same time."""

    @property
    def name(self) -> str:
        """Checkpoint, precision and device, for logs."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do besides answering commands."""
        ...

    def encode(self, image: Image) -> EncodedImage:
        """Encode an image. This is the expensive part: call it once per frame and share the result.

        A model may postpone the computation until the first command needs it, or run it in the background.

        Args:
            image: The image, RGB uint8 of shape (H, W, 3). It must not be changed afterwards.

        Returns:
            The encoded image, for `session`.

        Raises:
            ImageError: The image has another shape or dtype, or is too narrow a strip for the vision encoders.
        """
        ...

    def session(self, encoded: EncodedImage, turns: Sequence[Turn] = (), *, max_history_tokens: int = 0) -> Session:
        """Continue a dialogue about an encoded image.

        Args:
            encoded: From `encode`.
            turns: The dialogue so far, oldest turn first. References in commands and answers are the numbers of
                these turns.
            max_history_tokens: Maximum length of the history in the prompt, in positions of the language model.
                The oldest turns are left out, each as a whole, until the rest fits. 0: no limit except the model's
                context, which always applies. A reference to a turn that was left out is a CommandError.

        Returns:
            The session. Opening one is cheap.
        """
        ...

    def memory(self) -> DeviceMemory:
        """Return the GPU memory of the model's process."""
        ...

    def release(self) -> None:
        """Free the weights and stop all computation. The model must not be used afterwards."""
        ...


class TeacherForcing(Protocol):
    """A model whose answer can be given instead of generated. LISA's paper measures masks in this way."""

    def force(self, encoded: EncodedImage, command: str, answer: str, turns: Sequence[Turn] = ()) -> tuple[Mask, ...]:
        """Compute the masks of a given answer.

        Args:
            encoded: From `encode`.
            command: The operator's text.
            answer: The raw answer, with at least one `[SEG]`.
            turns: Earlier turns of the dialogue, oldest first.

        Returns:
            One mask (H, W) for each `[SEG]` of the answer.

        Raises:
            CommandError: The prompt does not fit into the model's context.
        """
        ...


class Referring(Protocol):
    """A model with a prompt of its own for referring expressions. LIRA's paper measures masks in this way."""

    def refer(self, encoded: EncodedImage, expression: str) -> tuple[str, Mask | None]:
        """Segment a referring expression with the prompt of the model's authors.

        Args:
            encoded: From `encode`.
            expression: For example "the red mug".

        Returns:
            The raw answer up to its first mask, and that mask (H, W); None if the answer has no mask.

        Raises:
            CommandError: The prompt does not fit into the model's context.
        """
        ...
