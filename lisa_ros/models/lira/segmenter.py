# SPDX-License-Identifier: Apache-2.0
"""LIRA as a Segmenter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lisa_ros.dialogue.references import without_marks
from lisa_ros.models.common.answers.segmenter import LoadedSegmenter, Query, TextSession, first_turn_that_fits
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.segmentation.answers import Mask, ObjectMask
from lisa_ros.segmentation.interface import Capabilities
from lisa_ros.segmentation.pointing import Pointing
from lisa_ros.segmentation.scoring import UNCALIBRATED, Calibration, read_calibration

if TYPE_CHECKING:
    from lisa_ros.models.lira import EncodedImage, Exchange, Lira
    from lisa_ros.segmentation.turns import Turn


def load(checkpoint: Path, options: LoadOptions | None) -> LiraSegmenter:
    """See `lisa_ros.models.loading.load_segmenter`."""
    from lisa_ros.models.lira import load_lira

    calibration = read_calibration(checkpoint)
    return LiraSegmenter(load_lira(checkpoint, options), calibration)


class LiraSegmenter(LoadedSegmenter):
    """LIRA as a Segmenter."""

    capabilities = Capabilities(referring=True)

    def __init__(self, lira: Lira, calibration: Calibration = UNCALIBRATED) -> None:
        super().__init__(lira)
        self._lira, self._calibration = lira, calibration

    def session(self, encoded: EncodedImage, turns: Sequence[Turn] = (), *, max_history_tokens: int = 0) -> LiraSession:
        """See Segmenter.session."""
        return LiraSession(self._lira, self._calibration, encoded, turns, max_history_tokens)

    def refer(self, encoded: EncodedImage, expression: str) -> tuple[str, Mask | None]:
        """See Referring."""
        answer, logits = self._lira.refer(encoded, expression)
        return answer, None if logits is None else logits > 0


class LiraSession(TextSession):
    """One dialogue about one image, with LIRA, whose history is text and close-up views of the objects found.

    A MaskFound comes before the object's phrase is generated and before it is marked again; Finished has both.
    """

    def __init__(
        self,
        lira: Lira,
        calibration: Calibration,
        image: EncodedImage,
        turns: Sequence[Turn],
        max_history_tokens: int,
    ) -> None:
        super().__init__(calibration)
        self._lira, self._image = lira, image
        self._max_history_tokens = max_history_tokens
        self._history = _usable([_exchange(turn) for turn in turns], image.size)

    def _check_pointing(self, pointing: Pointing) -> None:
        pointing.refuse("LIRA")

    def _steps(self, query: Query) -> Iterator[Any]:
        return self._lira.answer(
            self._image,
            query.command,
            self._fitting_history(query.command, min(query.max_new_tokens, self._lira.min_answer_positions)),
            max_new_tokens=query.max_new_tokens,
            cancelled=query.cancelled,
            mask_only=query.kind == "mask_only",
        )

    def _fitting_history(self, command: str, needed: int) -> list[Exchange]:
        """The newest turns that leave `needed` positions for the answer."""

        def free(first: int) -> int:
            return self._lira.free_positions(self._image, command, self._history[first:])

        return self._history[first_turn_that_fits(len(self._history), free, needed, self._max_history_tokens) :]

    def _other_step(self, step: Any, objects: list[ObjectMask]) -> None:
        from lisa_ros.models.lira import RefinedStep

        if isinstance(step, RefinedStep) and step.logits is not None:
            objects[-1] = replace(objects[-1], refined=step.logits > 0)

    def _finished(self, answer: str, objects: Sequence[ObjectMask]) -> tuple[ObjectMask, ...]:
        from lisa_ros.models.lira import phrase_after

        return tuple(replace(one, phrase=phrase_after(answer, one.span[1])) for one in objects)


def _exchange(turn: Turn) -> Exchange:
    from lisa_ros.models.lira import Exchange

    marked = tuple((found.span[1], found.mask) for found in turn.objects)
    return Exchange(without_marks(turn.command), turn.answer, marked)


def _usable(turns: list[Exchange], size: tuple[int, int]) -> list[Exchange]:
    """The newest turns, back to one whose close-up views cannot be made again from an image of this size."""
    for first in range(len(turns), 0, -1):
        masks = turns[first - 1].local_masks()
        if masks is None or any(mask.shape != size for mask in masks):
            return turns[first:]
    return turns
