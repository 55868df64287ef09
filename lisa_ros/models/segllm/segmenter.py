# SPDX-License-Identifier: Apache-2.0
"""SegLLM behind the doorway."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lisa_ros.dialogue.references import Refer, ReferringError, by_marks, by_words, there_are, without_marks
from lisa_ros.models.common.loaded_segmenter import LoadedSegmenter
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.segmentation.answers import (
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
from lisa_ros.segmentation.masks import union
from lisa_ros.segmentation.scoring import pixel_probability

if TYPE_CHECKING:
    from lisa_ros.models.segllm import Answer, EncodedImage, Segllm
    from lisa_ros.models.segllm.prompt import Round
    from lisa_ros.models.segllm.shown import Shown
    from lisa_ros.segmentation.turns import Turn


def load(checkpoint: Path, options: LoadOptions | None) -> SegllmSegmenter:
    """See `lisa_ros.models.loading.load_segmenter`."""
    from lisa_ros.models.segllm import load_segllm

    explicit = options is not None and options.explicit_references
    return SegllmSegmenter(load_segllm(checkpoint, options), by_marks if explicit else by_words)


class SegllmSegmenter(LoadedSegmenter):
    """SegLLM behind the doorway."""

    def __init__(self, segllm: Segllm, refer: Refer = by_words) -> None:
        """Takes the model, and the rule by which words refer to earlier turns where a command says none outright."""
        super().__init__(segllm)
        self._segllm, self._refer = segllm, refer

    def encode(self, image: Image) -> EncodedImage:
        """Takes a picture to ask about; CLIP and HIPIE see it when they are first needed, once."""
        return self._segllm.encode(image)

    def session(
        self, frame: EncodedImage, turns: Sequence[Turn] = (), *, max_history_tokens: int = 0, first: int = 1
    ) -> SegllmSession:
        """A dialogue about a frame, after the turns it has had, see Segmenter.session."""
        return SegllmSession(self._segllm, frame, turns, self._refer, max_history_tokens, first)


@dataclass(frozen=True)
class _Asked:
    """A command.

    Attributes:
        text: its words.
        shown: what it refers to: a turn's place, counted from 1, or 0 for a mask from elsewhere, and what is shown.
        outright: whether somebody said so; else the rule thinks so, and nobody misses what cannot be shown.
    """

    text: str
    shown: tuple[tuple[int, Shown], ...]
    outright: bool

    @property
    def places(self) -> tuple[int, ...]:
        """The turns among what it refers to."""
        return tuple(place for place, _ in self.shown if place)


class SegllmSession:
    """One dialogue about one picture, with SegLLM: every answer is one mask, and earlier masks can be shown again.

    A mask of an earlier turn is laid over *this* picture: where the camera has moved since, it shows something else.
    """

    def __init__(
        self,
        segllm: Segllm,
        picture: EncodedImage,
        turns: Sequence[Turn],
        refer: Refer,
        max_history_tokens: int,
        first: int,
    ) -> None:
        self._segllm, self._picture, self._turns, self._refer = segllm, picture, tuple(turns), refer
        self._max_history_tokens, self._first = max_history_tokens, first

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
        asked = self._asked(command, references)
        first = self._first_that_fits(self._round(asked))
        asked = self._without_lost(asked, first)
        found = self._segllm.answer(self._picture, [*self._history(first), self._round(asked)], cancelled)
        if found is None:
            yield Finished("", (), "cancelled", asked.places)
            return
        yield TextDelta(SEG_TEXT)
        marked = self._object(found)
        yield MaskFound(marked)
        yield Finished(SEG_TEXT, (marked,), "end", asked.places)

    def _asked(self, command: str, references: Sequence[Reference]) -> _Asked:
        """What is said, and what it refers to: what is given outright, or what the words come to."""
        if not without_marks(command).strip():
            raise CommandError("The command is empty; say what to look for.")
        if len(references):
            return _Asked(without_marks(command), tuple(map(self._shown, references)), True)
        try:
            said = self._refer(command, len(self._turns), self._first)
        except ReferringError as error:
            raise CommandError(str(error)) from error
        if said.outright:
            return _Asked(said.text, tuple(map(self._shown, said.turns)), True)
        guessed = ((place, self._shown_again(self._turns[place - 1])) for place in said.turns)
        return _Asked(said.text, tuple((place, shown) for place, shown in guessed if shown is not None), False)

    def _shown(self, reference: Reference) -> tuple[int, Shown]:
        """As _Asked.shown has it. Raises a CommandError where there is nothing to show."""
        if isinstance(reference, np.ndarray) and reference.ndim:
            return 0, self._shown_from_outside(reference)
        place = _place(reference)
        number = place + self._first - 1
        if not 1 <= place <= len(self._turns):
            there = there_are(len(self._turns), self._first)
            raise CommandError(f"The command refers to turn {number}, but {there} there to refer to.")
        shown = self._shown_again(self._turns[place - 1])
        if shown is None:
            raise CommandError(f"The command refers to turn {number}, which has no mask that fits this picture.")
        return place, shown

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

    def _round(self, asked: _Asked) -> Round:
        return self._segllm.round_of(asked.text, shown=[shown for _, shown in asked.shown])

    def _first_that_fits(self, asked: Round) -> int:
        """The oldest turn, counted from 0, from which on all fit beside what is asked now."""
        spare = self._segllm.room(self._picture, [asked])
        if spare < 0:
            raise CommandError(f"The command is too long for the model by {-spare} tokens; say it in fewer words.")
        longest = min(spare, self._max_history_tokens or spare)
        for first in range(len(self._turns)):
            if spare - self._segllm.room(self._picture, [*self._history(first), asked]) <= longest:
                return first
        return len(self._turns)

    def _without_lost(self, asked: _Asked, first: int) -> _Asked:
        """Without what the rule chose of turns before `first`; where it was said outright, that is an error."""
        lost = [place for place in asked.places if place <= first]
        if lost and asked.outright:
            number = min(lost) + self._first - 1
            raise CommandError(f"The command refers to turn {number}, which is no longer part of the dialogue.")
        return replace(asked, shown=tuple(one for one in asked.shown if one[0] not in lost))

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


def _place(reference: object) -> int:
    """A turn's place, of any whole number; a CommandError for what is none."""
    try:
        if isinstance(reference, bool | np.bool_):
            raise TypeError
        return index(reference)  # type: ignore[arg-type]
    except TypeError:
        told = f"A reference is the number of a turn or a mask; {reference!r} is neither."
        raise CommandError(told) from None
