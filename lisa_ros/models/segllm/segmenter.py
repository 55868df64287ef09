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

from lisa_ros.dialogue.references import Refer, ReferringError, from_marks, from_text, kept_turns, without_marks
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
from lisa_ros.segmentation.pointing import NO_POINTING, Pointing
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
    return SegllmSegmenter(load_segllm(checkpoint, options), from_marks if explicit else from_text)


class SegllmSegmenter(LoadedSegmenter):
    """SegLLM behind the doorway."""

    def __init__(self, segllm: Segllm, refer: Refer = from_text) -> None:
        """Takes the model, and the rule by which words refer to earlier turns where a command says none outright."""
        super().__init__(segllm)
        self._segllm, self._refer = segllm, refer

    def encode(self, image: Image) -> EncodedImage:
        """Takes a picture to ask about; CLIP and HIPIE see it when they are first needed, once."""
        return self._segllm.encode(image)

    def session(
        self, encoded: EncodedImage, turns: Sequence[Turn] = (), *, max_history_tokens: int = 0
    ) -> SegllmSession:
        """A dialogue about a frame, after the turns it has had, see Segmenter.session."""
        return SegllmSession(self._segllm, encoded, turns, self._refer, max_history_tokens)


@dataclass(frozen=True)
class _Asked:
    """A command.

    Attributes:
        text: its words.
        shown: what it refers to: a turn's number, or 0 for a mask from elsewhere, and what is shown.
        outright: whether somebody said so; else the rule thinks so, and nobody misses what cannot be shown.
    """

    text: str
    shown: tuple[tuple[int, Shown], ...]
    outright: bool

    @property
    def turns(self) -> tuple[int, ...]:
        """Numbers of the turns among what it refers to."""
        return tuple(number for number, _ in self.shown if number)


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
    ) -> None:
        self._segllm, self._picture, self._turns, self._refer = segllm, picture, tuple(turns), refer
        self._by_number = {turn.number: turn for turn in turns}
        self._max_history_tokens = max_history_tokens

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
        """See Session.segment. SegLLM says nothing and always marks one thing, so two of the options change nothing.

        Where the dialogue is longer than the model's context, its oldest turns are left out.
        """
        pointing.refuse("SegLLM")
        asked = self._asked(command, references)
        turns = self._newest_that_fit(self._round(asked))
        asked = self._without_left_out(asked, turns)
        found = self._segllm.answer(self._picture, [*self._history(turns), self._round(asked)], cancelled)
        if found is None:
            yield Finished("", (), "cancelled", asked.turns)
            return
        yield TextDelta(SEG_TEXT)
        marked = self._object(found)
        yield MaskFound(marked)
        yield Finished(SEG_TEXT, (marked,), "end", asked.turns)

    def _asked(self, command: str, references: Sequence[Reference]) -> _Asked:
        """What is said, and what it refers to: what is given outright, or what the words come to."""
        if not without_marks(command).strip():
            raise CommandError("The command is empty; say what to look for.")
        if len(references):
            return _Asked(without_marks(command), tuple(map(self._shown, references)), True)
        try:
            said = self._refer(command, [turn.number for turn in self._turns])
        except ReferringError as error:
            raise CommandError(str(error)) from error
        if said.explicit:
            return _Asked(said.text, tuple(map(self._shown, said.turns)), True)
        guessed = ((number, self._shown_again(self._by_number[number])) for number in said.turns)
        return _Asked(said.text, tuple((number, shown) for number, shown in guessed if shown is not None), False)

    def _shown(self, reference: Reference) -> tuple[int, Shown]:
        """As _Asked.shown has it. Raises a CommandError where there is nothing to show."""
        if isinstance(reference, np.ndarray) and reference.ndim:
            return 0, self._shown_from_outside(reference)
        number = _number(reference)
        if number not in self._by_number:
            raise CommandError(f"The command refers to turn {number}, but {kept_turns(list(self._by_number))}.")
        shown = self._shown_again(self._by_number[number])
        if shown is None:
            raise CommandError(f"The command refers to turn {number}, which has no mask that fits this picture.")
        return number, shown

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

    def _newest_that_fit(self, asked: Round) -> tuple[Turn, ...]:
        """The newest turns, as many as fit beside what is asked now."""
        spare = self._segllm.room(self._picture, [asked])
        if spare < 0:
            raise CommandError(f"The command is too long for the model by {-spare} tokens; say it in fewer words.")
        longest = min(spare, self._max_history_tokens or spare)
        for first in range(len(self._turns)):
            turns = self._turns[first:]
            if spare - self._segllm.room(self._picture, [*self._history(turns), asked]) <= longest:
                return turns
        return ()

    def _without_left_out(self, asked: _Asked, turns: Sequence[Turn]) -> _Asked:
        """Without what the rule chose of turns that are left out; where it was said outright, that is an error."""
        left_out = set(asked.turns) - {turn.number for turn in turns}
        if left_out and asked.outright:
            raise CommandError(f"The command refers to turn {min(left_out)}, which is no longer part of the dialogue.")
        return replace(asked, shown=tuple(one for one in asked.shown if one[0] not in left_out))

    def _history(self, turns: Sequence[Turn]) -> list[Round]:
        """These turns as rounds; what they referred to before the first of them is left out."""
        there = {turn.number for turn in turns}
        rounds = []
        for turn in turns:
            earlier = [self._by_number[number] for number in turn.references if number in there]
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


def _number(reference: object) -> int:
    """A turn's number as an int, of any kind of whole number; a CommandError for what is none."""
    try:
        if isinstance(reference, bool | np.bool_):
            raise TypeError
        return index(reference)  # type: ignore[arg-type]
    except TypeError:
        told = f"A reference is the number of a turn or a mask; {reference!r} is neither."
        raise CommandError(told) from None
