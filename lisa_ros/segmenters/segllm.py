# SPDX-License-Identifier: Apache-2.0
"""SegLLM behind the doorway."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lisa_ros.geometry import union
from lisa_ros.models.options import LoadOptions
from lisa_ros.referring import Refer, ReferringError, by_marks, by_words, without_marks
from lisa_ros.scoring import pixel_probability
from lisa_ros.segmenter import (
    SEG_TEXT,
    AnswerKind,
    CommandError,
    Event,
    Finished,
    Image,
    Mask,
    MaskFound,
    ObjectMask,
    Reference,
    Region,
    TextDelta,
)

if TYPE_CHECKING:
    from lisa_ros.dialogue import Turn
    from lisa_ros.models.segllm import Answer, Segllm, SegllmPicture
    from lisa_ros.models.segllm.prompt import Round
    from lisa_ros.models.segllm.shown import Shown


def load(checkpoint: Path, options: LoadOptions | None) -> SegllmSegmenter:
    """See `lisa_ros.segmenter.load_segmenter`."""
    from lisa_ros.models.segllm import load_segllm

    explicit = options is not None and options.explicit_references
    return SegllmSegmenter(load_segllm(checkpoint, options), by_marks if explicit else by_words)


class SegllmSegmenter:
    """SegLLM behind the doorway."""

    def __init__(self, segllm: Segllm, refer: Refer = by_words) -> None:
        """Takes the model, and the rule by which words refer to earlier turns where a command says none outright."""
        self._segllm, self._refer = segllm, refer

    @property
    def name(self) -> str:
        """Checkpoint, precision and device, for logs."""
        return self._segllm.name

    def gpu_bytes(self) -> int:
        """See OnDevice."""
        return self._segllm.gpu_bytes()

    def release(self) -> None:
        """See OnDevice."""
        self._segllm.release()

    def look(self, image: Image) -> SegllmPicture:
        """Takes a picture to ask about; CLIP and HIPIE see it when they are first needed, once."""
        return self._segllm.look(image)

    def session(
        self, frame: SegllmPicture, turns: Sequence[Turn] = (), *, max_history_tokens: int = 0
    ) -> SegllmSession:
        """A dialogue about a frame, after the turns it has had, see Segmenter.session."""
        return SegllmSession(self._segllm, frame, turns, self._refer, max_history_tokens)


class SegllmSession:
    """One dialogue about one picture, with SegLLM: every answer is one mask, and earlier masks can be shown again.

    A mask of an earlier turn is laid over *this* picture: where the camera has moved since, it shows something else.
    """

    def __init__(
        self,
        segllm: Segllm,
        picture: SegllmPicture,
        turns: Sequence[Turn],
        refer: Refer,
        max_history_tokens: int,
    ) -> None:
        self._segllm, self._picture, self._turns, self._refer = segllm, picture, tuple(turns), refer
        self._max_history_tokens = max_history_tokens

    def segment(
        self,
        command: str,
        references: Sequence[Reference] = (),
        *,
        max_new_tokens: int = 512,
        cancelled: Callable[[], bool] = lambda: False,
        answer: AnswerKind = "full",
    ) -> Iterator[Event]:
        """See Session.segment. SegLLM says nothing and always marks one thing, so two of the options change nothing.

        Where the dialogue is longer than the model's context, its oldest turns are left out.
        """
        text, meant = self._meant(command, references)
        shown = [self._shown(reference) for reference in meant]
        numbers = tuple(reference for reference in meant if isinstance(reference, int))
        rounds = self._fit(self._segllm.round_of(text, shown=shown), oldest=min(numbers, default=0))
        found = self._segllm.answer(self._picture, rounds, cancelled)
        if found is None:
            yield Finished("", (), "cancelled", numbers)
            return
        yield TextDelta(SEG_TEXT)
        marked = self._object(found)
        yield MaskFound(marked)
        yield Finished(SEG_TEXT, (marked,), "end", numbers)

    def _meant(self, command: str, references: Sequence[Reference]) -> tuple[str, Sequence[Reference]]:
        """What is said, and what it refers to: what is given outright, or what the words come to."""
        if not without_marks(command).strip():
            raise CommandError("The command is empty; say what to look for.")
        if len(references):
            return without_marks(command), references
        try:
            said = self._refer(command, len(self._turns))
        except ReferringError as error:
            raise CommandError(str(error)) from error
        return said.text, said.turns

    def _shown(self, reference: Reference) -> Shown:
        """Raises a CommandError where there is nothing to show."""
        if not isinstance(reference, int):
            return self._shown_from_outside(reference)
        if not 1 <= reference <= len(self._turns):
            there = f"turns 1 to {len(self._turns)} are" if self._turns else "no turn is"
            raise CommandError(f"The command refers to turn {reference}, but {there} there to refer to.")
        shown = self._shown_again(self._turns[reference - 1])
        if shown is None:
            raise CommandError(f"The command refers to turn {reference}, which has no mask that fits this picture.")
        return shown

    def _shown_from_outside(self, mask: Mask) -> Shown:
        from lisa_ros.models.segllm.shown import shown_from_outside

        size = self._picture.canvas.original
        if mask.shape != size or mask.dtype != np.bool_ or not mask.any():
            raise CommandError(
                f"A mask to refer to must be boolean, of the picture's {size[0]} x {size[1]} (height x width) and not "
                f"empty; this one is {mask.dtype} of {' x '.join(map(str, mask.shape))} with {np.count_nonzero(mask)} "
                "pixels."
            )
        return shown_from_outside(self._picture.image, mask)

    def _shown_again(self, turn: Turn) -> Shown | None:
        """An earlier turn's answer; None where it has nothing to show. Another model's masks count as from outside."""
        from lisa_ros.models.segllm.shown import shown_again

        if len(turn.objects) == 1 and (region := turn.objects[0].region) is not None:
            return shown_again(self._picture.canvas, region.mask, region.box)
        size = self._picture.canvas.original
        masks = [found.mask for found in turn.objects if found.mask.shape == size]
        both = union(masks, size) if masks else np.zeros(size, dtype=np.bool_)
        return self._shown_from_outside(both) if both.any() else None

    def _fit(self, asked: Round, oldest: int) -> list[Round]:
        """The newest turns that fit, and what is asked now, which refers to the turn `oldest`; 0: to none."""
        spare = self._segllm.room(self._picture, [asked])
        if spare < 0:
            raise CommandError(f"The command is too long for the model by {-spare} tokens; say it in fewer words.")
        longest = min(spare, self._max_history_tokens or spare)
        for first in range(len(self._turns) + 1):
            rounds = [*self._history(first), asked]
            if spare - self._segllm.room(self._picture, rounds) <= longest:
                break
        if 0 < oldest <= first:
            raise CommandError(f"The command refers to turn {oldest}, which is no longer part of the dialogue.")
        return rounds

    def _history(self, first: int) -> list[Round]:
        """The turns from `first` on, counted from 0; what they referred to before that is left out."""
        rounds = []
        for place in range(first, len(self._turns)):
            turn = self._turns[place]
            earlier = [self._turns[place - back] for back in turn.references if place - back >= first]
            shown = [one for one in map(self._shown_again, earlier) if one is not None]
            rounds.append(self._segllm.round_of(without_marks(turn.command), shown=shown))
        return rounds

    def _object(self, found: Answer) -> ObjectMask:
        x0, y0, x1, y1 = (edge / self._picture.canvas.scale for edge in found.box)
        return ObjectMask(
            found.logits > 0,
            (0, len(SEG_TEXT)),
            score=found.score,
            probability=partial(pixel_probability, found.logits),
            region=Region(found.canvas_mask, found.box),
            box=(x0, y0, x1, y1),
        )
