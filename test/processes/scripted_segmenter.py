# SPDX-License-Identifier: Apache-2.0
"""A segmenter without weights: the words of the command decide the answer."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lisa_ros.segmentation.answers import (
    AnswerKind,
    CommandError,
    Event,
    Finished,
    Mask,
    MaskFound,
    ObjectMask,
    TextDelta,
)
from lisa_ros.segmentation.errors import ImageError
from lisa_ros.segmentation.interface import Capabilities, DeviceMemory
from lisa_ros.segmentation.pointing import NO_POINTING, Pointing
from lisa_ros.segmentation.turns import Turn

SEG = "[SEG]"


@dataclass(frozen=True)
class ScriptedFrame:
    image: NDArray[np.uint8]
    number: int

    def release(self) -> None:
        """Nothing was computed."""


def pixels_of(image: NDArray[np.uint8], colour: str) -> Mask:
    """The pixels in which one channel is the strongest; they differ in a wrongly decoded image."""
    others = {"red": (0, 1, 2), "green": (1, 0, 2), "blue": (2, 0, 1)}[colour]
    strong, weak, faint = (image[:, :, i].astype(int) for i in others)
    return (strong > weak + 60) & (strong > faint + 60)


def bright(image: NDArray[np.uint8]) -> Mask:
    return image.astype(int).sum(axis=2) > 3 * 127


@dataclass
class ScriptedSegmenter:
    encoded: int = 0
    name: str = "scripted"
    capabilities: ClassVar[Capabilities] = Capabilities()

    def encode(self, image: NDArray[np.uint8]) -> ScriptedFrame:
        height, width = image.shape[:2]
        if max(height, width) > 256 * min(height, width):
            raise ImageError(f"an image of {width} x {height} pixels is too narrow a strip")
        self.encoded += 1
        return ScriptedFrame(image, self.encoded)

    def memory(self) -> DeviceMemory:
        return DeviceMemory()

    def release(self) -> None:
        """There are no weights."""

    def session(
        self, encoded: ScriptedFrame, turns: Sequence[Turn] = (), *, max_history_tokens: int = 0
    ) -> "ScriptedSession":
        """Counts one token per word of a command."""
        kept = list(turns)
        while max_history_tokens and sum(len(turn.command.split()) for turn in kept) > max_history_tokens:
            del kept[0]
        return ScriptedSession(encoded, tuple(kept))


@dataclass
class ScriptedSession:
    frame: ScriptedFrame
    turns: tuple[Turn, ...] = field(default=())
    negative: bool = False
    """Whether objects get a span that no message can hold."""

    def segment(
        self,
        command: str,
        references: Sequence[int] = (),
        *,
        max_new_tokens: int = 512,
        cancelled: Callable[[], bool] = lambda: False,
        answer: AnswerKind = "full",
        pointing: Pointing = NO_POINTING,
    ) -> Iterator[Event]:
        pointing.check(self.frame.image.shape[:2])
        self.negative = "negative" in command
        if answer == "mask_only":
            yield from self._answer(f"{SEG}.", [pixels_of(self.frame.image, "red")], placed=True)
            return
        if "forbidden" in command:
            raise CommandError("The model does not take this word.")
        if "surrogate" in command:
            raise CommandError("The model does not take \udce9.")
        if "pointing" in command:
            yield from self._answer(f"Points {pointing.points}, boxes {pointing.boxes}.", [], placed=True)
            return
        if "exit" in command:
            raise {"system": SystemExit(1), "keyboard": KeyboardInterrupt(), "generator": GeneratorExit()}[
                command.split()[-1]
            ]
        if "stuck" in command:  # ignores cancelling, as a hanging kernel does
            self._wait_for(Path(command.split()[-1]))
        if "crash badly" in command:
            raise RuntimeError("the model broke \udce9")
        if "crash" in command:
            raise RuntimeError("the model broke")
        if command.startswith("takes "):
            time.sleep(float(command.split()[1]))
        if "gate" in command and self._cancelled_at_gate(Path(command.split()[-1]), cancelled):
            yield Finished("", (), "cancelled")
            return
        yield from self._answer(*self._script(command, references), placed="misplaced" not in command, command=command)

    def _wait_for(self, gate: Path) -> None:
        gate.with_suffix(".reached").touch()
        while not gate.exists():
            time.sleep(0.01)

    def _cancelled_at_gate(self, gate: Path, cancelled: Callable[[], bool]) -> bool:
        """Create the file "<gate>.reached", then wait until the file <gate> exists."""
        gate.with_suffix(".reached").touch()
        while not gate.exists():
            if cancelled():
                return True
            time.sleep(0.005)
        return False

    def _script(self, command: str, references: Sequence[int]) -> tuple[str, list[Mask]]:
        image = self.frame.image
        if command.startswith("say "):
            return command.removeprefix("say "), []
        if "history" in command:
            return "History: " + " | ".join(turn.command for turn in self.turns), []
        if "numbering" in command:
            return f"The first of {len(self.turns)} is turn {self.turns[0].number}.", []
        if "references" in command:
            return f"References {list(references)}.", []
        if "frame" in command:
            return f"Frame {self.frame.number}.", []
        if "invisible" in command:
            return f"It is {SEG}.", [np.zeros(image.shape[:2], dtype=np.bool_)]
        if "misshapen" in command:
            return f"It is {SEG}.", [np.ones((3, 5), dtype=np.bool_)]
        if "misplaced" in command:
            return f"It is {SEG}.", [pixels_of(image, "red")]
        if "two" in command:
            return f"The red {SEG} and the blue {SEG}.", [pixels_of(image, "red"), pixels_of(image, "blue")]
        if "bright" in command:
            return f"The bright part is {SEG}.", [bright(image)]
        for colour in ("red", "green", "blue"):
            if colour in command:
                return f"The {colour} part is {SEG}.", [pixels_of(image, colour)]
        return "There is no such object.", []

    def _answer(self, answer: str, masks: list[Mask], placed: bool, command: str = "") -> Iterator[Event]:
        """A word such as 0.25 of the command is the score of a mask; further masks have none."""
        scores = [float(word) for word in command.split() if word.startswith("0.")]
        calibrated = "calibrated" in command.split()
        objects: list[ObjectMask] = []
        begin = 0
        for i, mask in enumerate(masks):
            score = scores[i] if i < len(scores) else None
            begin = answer.index(SEG, begin)
            span = (begin, begin + len(SEG)) if placed else ()
            objects.append(ObjectMask(mask, (-1, 4) if self.negative else span, score, score_calibrated=calibrated))
            begin += len(SEG)
            yield MaskFound(objects[-1])
        yield TextDelta(answer)
        yield Finished(answer, tuple(objects), "end")
