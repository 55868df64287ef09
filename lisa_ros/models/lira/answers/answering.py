# SPDX-License-Identifier: Apache-2.0
"""One answer as it comes: words, masks, and after each mask a close look at what it shows (LIRA's ILVC).

An answer goes `[SEG]<image_id>`, 256 positions of a close look, ` <p> phrase </p> [SEG]`. The look and ` <p>` are put
there, the rest is said. The first `[SEG]`'s mask is the object's; the second's was made after the look, and is what
LIRA's tools throw away: here it is the object's refined mask, if wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from lisa_ros.models.common.answers.steps import MAX_MASKS, Answer, MaskStep, Reason, TextStep, lowest
from lisa_ros.models.common.language.engine import Generation
from lisa_ros.models.common.language.llama import StepOutput
from lisa_ros.models.lira.answers.attributes import AttributeReader, Attributes
from lisa_ros.models.lira.answers.steps import (
    PHRASE_OPENING,
    AnswerStep,
    RefinedStep,
)
from lisa_ros.models.lira.configuration import LOCAL_TOKEN, SEG_TOKEN, TURN_END_TOKEN, LiraConfig
from lisa_ros.models.lira.encoded_image import EncodedImage
from lisa_ros.models.lira.reading import LiraEngine, Part
from lisa_ros.models.lira.tokenizer import LiraTokenizer


class AnsweringModel(Protocol):
    """What an answer needs of a loaded LIRA, see models.lira.decoding.Lira."""

    config: LiraConfig
    tokenizer: LiraTokenizer
    engine: LiraEngine
    refine: bool
    attributes: AttributeReader | None


class Answering:
    """One answer on its way."""

    def __init__(
        self,
        lira: AnsweringModel,
        picture: EncodedImage,
        generation: Generation,
        prompt: Sequence[Part],
        longest: int,
        cancelled: Callable[[], bool],
    ) -> None:
        """Takes the model, the picture, the prompt as it is being read, and where the answer ends at the latest."""
        self._lira, self._picture, self._generation, self._prompt = lira, picture, generation, tuple(prompt)
        self._longest, self._cancelled = longest, cancelled
        tokens = lira.config.added_tokens
        self._seg, self._local, self._end = tokens[SEG_TOKEN], tokens[LOCAL_TOKEN], tokens[TURN_END_TOKEN]
        self._opening = lira.tokenizer.encode(PHRASE_OPENING)
        self._ids: list[int] = []
        self._text: list[int] = []
        self._log_probs: list[torch.Tensor] = []
        self._masks = 0
        self._latest: NDArray[np.bool_] | None = None
        self._looked = False

    def steps(self) -> Iterator[AnswerStep]:
        """What the model says by itself."""
        if self._cancelled():  # to read the prompt is dear
            yield self._answer("cancelled")
            return
        token = self._heard(self._extend())
        while not self._cancelled():
            self._ids.append(token)
            if token == self._end:
                yield self._answer("end")
                return
            self._text.append(token)
            step, following = self._step(token)
            yield step
            if len(self._ids) >= self._longest or self._is_full():
                yield self._answer("length")
                return
            token = self._next(token) if following is None else following
        yield self._answer("cancelled")

    def forced(self, answer: str) -> Iterator[AnswerStep]:
        """An answer of one `[SEG]` and no more, put into the model's mouth."""
        self._ids = self._lira.tokenizer.encode(answer)
        self._text = list(self._ids)
        if self._cancelled():
            self._ids, self._text = [], []
            yield self._answer("cancelled")
            return
        logits = self._lira.engine.logits(self._extend().states)
        self._log_probs = [logits.log_softmax(-1)[self._seg]]
        yield self._marked(self._extend(self._ids).states, self._end)
        yield self._answer("end")

    def _step(self, token: int) -> tuple[AnswerStep, int | None]:
        """What a token that was said comes to, and what is said then, where that is known already."""
        if token != self._seg:
            return TextStep(self._said()), None
        outcome = self._extend([token])
        step = self._marked(outcome.states, outcome.tokens[0])
        return step, self._heard(outcome)

    def _next(self, token: int) -> int:
        """Reads a token that was said, and a close look behind `<image_id>`; what is said then."""
        parts: list[Part] = [token]
        if token == self._local and self._latest is not None:
            with self._lira.engine.batcher.paused():
                latest = self._latest
                parts += [self._lira.engine.compute(lambda: self._picture.local(latest)), *self._opening]
            self._text += self._opening
            self._looked = True
        return self._heard(self._extend(parts))

    def _heard(self, outcome: StepOutput) -> int:
        """What is said next; how likely it was is remembered."""
        self._log_probs.append(outcome.log_probs[0])
        return outcome.tokens[0]

    def _marked(self, state: torch.Tensor, following: int) -> AnswerStep:
        """What a `[SEG]` that was just read means: another object, or the same again after a close look."""
        again = self._looked and following != self._local
        self._looked = False
        if again and not self._lira.refine:
            return RefinedStep(None, self._said())
        self._masks += 1
        if self._masks > MAX_MASKS:
            return TextStep(self._said())
        with self._lira.engine.batcher.paused():
            logits = self._lira.engine.compute(lambda: self._picture.mask_logits(state))
        if again:
            return RefinedStep(logits.full, self._said())
        self._latest = logits.full > 0
        least = lowest(self._log_probs)
        return MaskStep(logits.full, logits.low_res, self._said(), least, self._attributes(state))

    def _attributes(self, state: torch.Tensor) -> Attributes | None:
        reader = self._lira.attributes
        return reader.read(self._lira.engine.logits(state)) if reader else None

    def _is_full(self) -> bool:
        """Whether the context has no room for one more token, and what may be put behind it."""
        config = self._lira.config
        look = config.local_positions + len(self._opening) if self._ids[-1] == self._local else 0
        return self._generation.length + 1 + look > int(config.language.max_position_embeddings)

    def _extend(self, parts: Sequence[Part] = ()) -> StepOutput:
        return self._lira.engine.extend(self._generation, parts)

    def _said(self) -> str:
        return self._lira.tokenizer.decode(self._text)

    def _answer(self, reason: Reason) -> Answer:
        self._generation.store()
        lowest(self._log_probs)
        return Answer(self._said(), self._prompt, tuple(self._ids), reason)
