# SPDX-License-Identifier: Apache-2.0
"""SegLLM as a Segmenter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lisa_ros.dialogue.references import Refer, ReferringError, from_marks, from_text, kept_turns, without_marks
from lisa_ros.models.common.answers.segmenter import LoadedSegmenter, command_text, first_turn_that_fits
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.segmentation.answers import (
    SEG_TEXT,
    AnswerKind,
    CommandError,
    Event,
    Finished,
    Mask,
    MaskFound,
    ObjectMask,
    Reference,
    Region,
    TextDelta,
)
from lisa_ros.segmentation.errors import is_kind
from lisa_ros.segmentation.interface import Capabilities
from lisa_ros.segmentation.masks import union
from lisa_ros.segmentation.pointing import NO_POINTING, Pointing
from lisa_ros.segmentation.scoring import pixel_probability

if TYPE_CHECKING:
    from lisa_ros.models.segllm import Answer, EncodedImage, Segllm
    from lisa_ros.models.segllm.prompt import Round
    from lisa_ros.models.segllm.visual_reference import VisualReference
    from lisa_ros.segmentation.turns import Turn


def load(checkpoint: Path, options: LoadOptions | None) -> SegllmSegmenter:
    """See `lisa_ros.models.loading.load_segmenter`."""
    from lisa_ros.models.segllm import load_segllm

    explicit = options is not None and options.explicit_references
    return SegllmSegmenter(load_segllm(checkpoint, options), from_marks if explicit else from_text)


class SegllmSegmenter(LoadedSegmenter):
    """SegLLM as a Segmenter."""

    capabilities = Capabilities(references=True)

    def __init__(self, segllm: Segllm, refer: Refer = from_text) -> None:
        """Takes the model, and the rule that finds references in the text of a command without explicit ones."""
        super().__init__(segllm)
        self._segllm, self._refer = segllm, refer

    def session(
        self, encoded: EncodedImage, turns: Sequence[Turn] = (), *, max_history_tokens: int = 0
    ) -> SegllmSession:
        """See Segmenter.session."""
        return SegllmSession(self._segllm, encoded, turns, self._refer, max_history_tokens)


@dataclass(frozen=True)
class _Query:
    """A command and its references.

    Attributes:
        text: the command without `[REF:...]`.
        references: what it refers to: a turn's number (0 for a mask from elsewhere), and the model's input for it.
        explicit: whether the references were given; else the rule found them in the text, and one that cannot be used
            is left out.
    """

    text: str
    references: tuple[tuple[int, VisualReference], ...]
    explicit: bool

    @property
    def turns(self) -> tuple[int, ...]:
        """Numbers of the turns that it refers to."""
        return tuple(number for number, _ in self.references if number)


class SegllmSession:
    """One dialogue about one image, with SegLLM: every answer is one mask, and earlier masks can be inputs.

    A mask of an earlier turn is placed on *this* image: where the camera has moved since, it covers something else.
    """

    def __init__(
        self,
        segllm: Segllm,
        image: EncodedImage,
        turns: Sequence[Turn],
        refer: Refer,
        max_history_tokens: int,
    ) -> None:
        self._segllm, self._image, self._turns, self._refer = segllm, image, tuple(turns), refer
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
        """See Session.segment. SegLLM generates no text and always one mask: max_new_tokens and answer have no effect.

        Where the dialogue is longer than the model's context, its oldest turns are left out.
        """
        pointing.refuse("SegLLM")
        query = self._query(command, references)
        turns = self._newest_that_fit(self._round(query))
        query = self._without_left_out(query, turns)
        found = self._segllm.answer(self._image, [*self._history(turns), self._round(query)], cancelled)
        if found is None:
            yield Finished("", (), "cancelled", query.turns)
            return
        yield TextDelta(SEG_TEXT)
        marked = self._object(found)
        yield MaskFound(marked)
        yield Finished(SEG_TEXT, (marked,), "end", query.turns)

    def _query(self, command: str, references: Sequence[Reference]) -> _Query:
        """The command with the references that were given, or else those that its text contains."""
        text = command_text(command)
        if len(references):
            return _Query(text, tuple(map(self._reference, references)), True)
        try:
            referred = self._refer(command, [turn.number for turn in self._turns])
        except ReferringError as error:
            raise CommandError(str(error)) from error
        if referred.explicit:
            return _Query(referred.text, tuple(map(self._reference, referred.turns)), True)
        found = ((number, self._reference_to_turn(self._by_number[number])) for number in referred.turns)
        usable = tuple((number, referenced) for number, referenced in found if referenced is not None)
        return _Query(referred.text, usable, False)

    def _reference(self, reference: Reference) -> tuple[int, VisualReference]:
        """As in _Query.references. Raises a CommandError for a reference that cannot be used."""
        if isinstance(reference, np.ndarray) and reference.ndim:
            return 0, self._reference_to_mask(reference)
        number = _number(reference)
        if number not in self._by_number:
            raise CommandError(f"The command refers to turn {number}, but {kept_turns(list(self._by_number))}.")
        referenced = self._reference_to_turn(self._by_number[number])
        if referenced is None:
            raise CommandError(f"The command refers to turn {number}, which has no mask that fits this image.")
        return number, referenced

    def _reference_to_mask(self, mask: Mask) -> VisualReference:
        from lisa_ros.models.segllm.visual_reference import reference_to_mask

        size = self._image.canvas.original
        if mask.shape != size or mask.dtype != np.bool_ or not mask.any():
            raise CommandError(
                f"A mask to refer to must be boolean, of the image's {size[0]} x {size[1]} (height x width) and not "
                f"empty; this one is {mask.dtype} of {' x '.join(map(str, mask.shape))} with {np.count_nonzero(mask)} "
                "pixels."
            )
        return reference_to_mask(self._image.image, mask)

    def _reference_to_turn(self, turn: Turn) -> VisualReference | None:
        """The model's input for an earlier turn's answer; None where it has no mask.

        Masks of another model are treated as masks from elsewhere.
        """
        from lisa_ros.models.segllm.visual_reference import reference_to_answer

        if len(turn.objects) == 1 and (region := turn.objects[0].region) is not None:
            return reference_to_answer(self._image.canvas, region.mask, region.box)
        size = self._image.canvas.original
        masks = [found.mask for found in turn.objects if found.mask.shape == size]
        both = union(masks, size) if masks else np.zeros(size, dtype=np.bool_)
        return self._reference_to_mask(both) if both.any() else None

    def _round(self, query: _Query) -> Round:
        return self._segllm.round_of(query.text, references=[referenced for _, referenced in query.references])

    def _newest_that_fit(self, query: Round) -> tuple[Turn, ...]:
        """The newest turns, as many as fit into the context beside the command."""

        def free(first: int) -> int:
            return self._segllm.free_positions(self._image, [*self._history(self._turns[first:]), query])

        return self._turns[first_turn_that_fits(len(self._turns), free, 0, self._max_history_tokens) :]

    def _without_left_out(self, query: _Query, turns: Sequence[Turn]) -> _Query:
        """Without references to turns that are left out. Raises a CommandError where such a reference was given."""
        left_out = set(query.turns) - {turn.number for turn in turns}
        if left_out and query.explicit:
            raise CommandError(f"The command refers to turn {min(left_out)}, which is no longer part of the dialogue.")
        return replace(query, references=tuple(one for one in query.references if one[0] not in left_out))

    def _history(self, turns: Sequence[Turn]) -> list[Round]:
        """These turns as rounds; their references to turns before the first of them are left out."""
        kept = {turn.number for turn in turns}
        rounds = []
        for turn in turns:
            earlier = [self._by_number[number] for number in turn.references if number in kept]
            referenced = [one for one in map(self._reference_to_turn, earlier) if one is not None]
            rounds.append(self._segllm.round_of(without_marks(turn.command), references=referenced))
        return rounds

    def _object(self, found: Answer) -> ObjectMask:
        x0, y0, x1, y1 = (edge / self._image.canvas.scale for edge in found.box)
        return ObjectMask(
            found.logits > 0,
            (0, len(SEG_TEXT)),
            score=found.score,
            probability=partial(pixel_probability, found.logits),
            region=Region(found.canvas_mask, found.box),
            box=(x0, y0, x1, y1),
        )


def _number(reference: Any) -> int:
    """A turn's number as an int, of any kind of whole number; a CommandError for anything else."""
    if isinstance(reference, np.ndarray):
        reference = reference[()]
    if not is_kind(reference, Integral):
        raise CommandError(f"A reference is the number of a turn or a mask; {reference!r:.80} is neither.")
    return int(reference)
