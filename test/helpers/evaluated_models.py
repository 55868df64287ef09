# SPDX-License-Identifier: Apache-2.0
"""Models without weights for tests of evaluations: the text of a question decides the answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scripted_segmenter import ScriptedFrame, ScriptedSegmenter, ScriptedSession, pixels_of
from tiny_datasets import BLUE_BOX, RED_BOX, box_mask

from lisa_ros.evaluation.evaluate import Evaluation
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.segmentation.answers import CommandError, Finished, ObjectMask
from lisa_ros.segmentation.interface import Capabilities
from lisa_ros.segmentation.masks import bounding_box
from lisa_ros.segmentation.turns import Turn

RED, BLUE = box_mask(RED_BOX), box_mask(BLUE_BOX)


@dataclass
class Model(ScriptedSegmenter):
    """Records its questions with the answers before them; can be interrupted before a question."""

    asked: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    stop_before: int = -1

    def session(self, encoded: ScriptedFrame, turns: Sequence[Turn] = ()) -> ScriptedSession:
        record = self.asked

        class Session(ScriptedSession):
            def segment(inner, command: str, *rest: Any, **more: Any) -> Any:  # noqa: N805
                record.append((command, tuple(turn.answer for turn in turns)))
                return super().segment(command, *rest, **more)

        if len(self.asked) == self.stop_before:
            raise KeyboardInterrupt
        return Session(encoded, tuple(turns))


@dataclass
class TeacherForcedModel(Model):
    """Also takes a given answer, and then marks red."""

    capabilities: ClassVar[Capabilities] = Capabilities(teacher_forcing=True)

    def force(
        self, encoded: ScriptedFrame, command: str, answer: str, turns: Sequence[Turn] = ()
    ) -> tuple[NDArray[np.bool_], ...]:
        self.asked.append((command, tuple(turn.answer for turn in turns)))
        assert answer == "[SEG]."
        return (pixels_of(encoded.image, "red"),)


class RefusingModel(TeacherForcedModel):
    """Marks nothing."""

    def session(self, encoded: ScriptedFrame, turns: Sequence[Turn] = ()) -> ScriptedSession:
        class Session(ScriptedSession):
            def segment(inner, command: str, *rest: Any, **more: Any) -> Any:  # noqa: N805
                return super().segment("nothing", *rest, **more)

        return Session(encoded, tuple(turns))


@dataclass
class ReferenceModel(Model):
    """Reports a box of its own, and records the references and masks that it is given."""

    given: list[tuple[tuple[int, ...], list[NDArray[np.bool_]]]] = field(default_factory=list)

    def session(self, encoded: ScriptedFrame, turns: Sequence[Turn] = ()) -> Any:
        given = self.given

        class Session:
            def segment(self, command: str, references: Sequence[int] = (), **more: Any) -> Any:
                if "history" in command:
                    raise CommandError("The command cannot be answered.")
                given.append((tuple(references), [found.mask for turn in turns for found in turn.objects]))
                everything = np.ones(encoded.image.shape[:2], dtype=np.bool_)
                left, top, width, height = bounding_box(RED)
                box = (left, top, left + width, top + height)
                found = ObjectMask(everything, (0, 5), box=tuple(map(float, box)))
                yield Finished("[SEG]", (found,), "end", tuple(references))

        return Session()


@dataclass
class Loader:
    """In place of load_segmenter."""

    models: list[Any] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)

    def __call__(self, checkpoint: Path, options: LoadOptions) -> Any:
        self.loaded.append(options.quantization)
        return self.models.pop(0) if self.models else TeacherForcedModel()


def results(wanted: Evaluation) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((wanted.output / "results.json").read_text())
    return found
