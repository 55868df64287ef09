# SPDX-License-Identifier: Apache-2.0
"""LISA as a Segmenter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lisa_ros.dialogue.listing import listed_objects
from lisa_ros.dialogue.references import without_marks
from lisa_ros.models.common.answers.segmenter import LoadedSegmenter, Query, TextSession, first_turn_that_fits
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.segmentation.answers import AnswerKind, CommandError, Mask
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.interface import Capabilities
from lisa_ros.segmentation.pointing import Pointing
from lisa_ros.segmentation.scoring import UNCALIBRATED, Calibration, read_calibration

if TYPE_CHECKING:
    from lisa_ros.models.lisa import EncodedImage, Lisa
    from lisa_ros.segmentation.turns import Turn

REGIONS = ("objects", "whole")
"""What the model is given of an image: the region around all objects, where the checkpoint can find it, or all."""
MOST_CROPS = 5
"""From how many crops of an image the model answers, at most: the region of the objects, and those of image.crops."""


def load(checkpoint: Path, options: LoadOptions | None) -> LisaSegmenter:
    """See `lisa_ros.models.loading.load_segmenter`."""
    from lisa_ros.models.lisa import load_lisa

    wanted, crops = _own_options(options or LoadOptions())
    calibration = read_calibration(checkpoint)
    lisa = load_lisa(checkpoint, options)
    if wanted == "objects":
        lisa.encode_objects()
    return LisaSegmenter(lisa, calibration, crops)


def _own_options(options: LoadOptions) -> tuple[str, int]:
    """The model options "region" and "crops". Raises a LisaError for values that they cannot have."""
    own = options.own_options()
    region, crops = own.get("region", REGIONS[0]), own.get("crops", str(MOST_CROPS))
    if region not in REGIONS:
        raise LisaError(f"the model option region is {region!r}; it can be {' or '.join(REGIONS)}")
    if crops not in map(str, range(1, MOST_CROPS + 1)):
        raise LisaError(f"the model option crops is {crops!r}; it can be 1 to {MOST_CROPS}")
    return region, int(crops)


def most_crops(config: Mapping[str, Any], options: LoadOptions) -> int:
    """From how many crops of an image a checkpoint answers at most, by the content of its config.json."""
    from lisa_ros.models.lisa.image.patch_classifier import OBJECT_PATCHES

    region, crops = _own_options(options)
    return crops if region == "objects" and OBJECT_PATCHES in config else 1


class LisaSegmenter(LoadedSegmenter):
    """LISA as a Segmenter."""

    capabilities = Capabilities(teacher_forcing=True)

    def __init__(self, lisa: Lisa, calibration: Calibration = UNCALIBRATED, crops: int = 1) -> None:
        """Takes the model, what turns evidence into scores, and the most crops of an image (`_own_options`)."""
        super().__init__(lisa)
        self._lisa, self._calibration, self._crops = lisa, calibration, crops

    def session(self, encoded: EncodedImage, turns: Sequence[Turn] = (), *, max_history_tokens: int = 0) -> LisaSession:
        """See Segmenter.session."""
        crops = self._crops if self._lisa.find_region else 1
        return LisaSession(self._lisa, self._calibration, encoded, turns, max_history_tokens, crops)

    def force(self, encoded: EncodedImage, command: str, answer: str, turns: Sequence[Turn] = ()) -> tuple[Mask, ...]:
        """See TeacherForcing."""
        from lisa_ros.models.common.errors import PromptTooLongError
        from lisa_ros.models.lisa.forcing import forced_mask_logits

        history = [(turn.command, turn.answer) for turn in turns]
        try:
            logits = forced_mask_logits(self._lisa, encoded, command, answer, history)
        except PromptTooLongError as error:
            raise CommandError(f"The command is too long for the model: {error}.") from error
        return tuple(one > 0 for one in logits)


class LisaSession(TextSession):
    """One dialogue about one image, with LISA, whose history is text alone."""

    def __init__(
        self,
        lisa: Lisa,
        calibration: Calibration,
        image: EncodedImage,
        turns: Sequence[Turn],
        max_history_tokens: int,
        crops: int,
    ) -> None:
        super().__init__(calibration)
        self._lisa, self._image, self._crops = lisa, image, crops
        self._max_history_tokens = max_history_tokens
        self._history = [(without_marks(turn.command), turn.answer) for turn in turns]

    def _check_pointing(self, pointing: Pointing) -> None:
        pointing.check(self._image.size)
        if not self._lisa.config.point_prompts:
            pointing.refuse(f"The checkpoint {self._lisa.name}, whose mask decoder was not trained with them,")
        if pointing and not self._lisa.engine.compute(lambda: self._image.shows(pointing)):
            raise CommandError(
                "A point or box is outside the region of the objects, which alone this model is given; point at one of "
                "them, or load the model with its option region=whole."
            )

    def _note(self, command: str, kind: AnswerKind) -> str:
        most = self._lisa.config.most_objects
        if kind == "mask_only" or not most or (listed := listed_objects(command)) <= most:
            return ""
        return f"This model marks at most {most} objects per command, and this one lists {listed}: name fewer at once."

    def _steps(self, query: Query) -> Iterator[Any]:
        from lisa_ros.models.lisa.image.crop_voting import best_supported, confidence

        mask_only = query.kind == "mask_only"
        longest = self._lisa.min_answer_positions if mask_only else query.max_new_tokens
        prompt_ids = self._fitting_prompt(query.command, min(longest, self._lisa.min_answer_positions))
        answer = partial(
            self._lisa.answer_prompt,
            prompt_ids=prompt_ids,
            max_new_tokens=min(longest, self._lisa.free_positions(prompt_ids, self._image)),
            cancelled=query.cancelled,
            mask_only=mask_only,
            pointing=query.pointing,
        )
        # The votes of forced masks marked more objects that are absent (docs/embedded_model.md).
        if self._crops == 1 or mask_only or query.pointing:
            return answer(self._image)
        images = islice(chain((self._image,), self._image.other_crops()), self._crops)
        return best_supported(map(answer, images), partial(confidence, self._calibration), query.cancelled)

    def _fitting_prompt(self, command: str, needed: int) -> list[int]:
        """The prompt with the newest turns that leave `needed` positions for the answer."""

        @cache
        def prompt(first: int) -> list[int]:
            return self._lisa.prompt_ids(command, self._history[first:])

        def free(first: int) -> int:
            return self._lisa.free_positions(prompt(first), self._image)

        return prompt(first_turn_that_fits(len(self._history), free, needed, self._max_history_tokens))
