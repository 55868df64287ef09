# SPDX-License-Identifier: Apache-2.0
"""One answer, step by step: text, masks, and after each mask a local view of the object (LIRA's ILVC).

An answer has the form `[SEG]<image_id>`, 256 positions of the local view, ` <p> phrase </p> [SEG]`. The local view and
` <p>` are inserted; the model generates the rest. The mask of the first `[SEG]` is the object's. The second one's is
decoded after the local view; LIRA's tools drop it, here it is the object's refined mask, if wanted.
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
    """The part of a loaded LIRA that an answer needs, see models.lira.decoding.Lira."""

    config: LiraConfig
    tokenizer: LiraTokenizer
    engine: LiraEngine
    refine: bool
    attributes: AttributeReader | None


class Answering:
    """An answer that is being generated."""

    def __init__(
        self,
        lira: AnsweringModel,
        encoded: EncodedImage,
        generation: Generation,
        prompt: Sequence[Part],
        max_new_tokens: int,
        cancelled: Callable[[], bool],
    ) -> None:
        """Takes the model, the encoded image, the prefilled prompt, and the maximum number of new tokens."""
        self._lira, self._encoded, self._generation, self._prompt = lira, encoded, generation, tuple(prompt)
        self._max_new_tokens, self._cancelled = max_new_tokens, cancelled
        tokens = lira.config.added_tokens
        self._seg, self._local, self._end = tokens[SEG_TOKEN], tokens[LOCAL_TOKEN], tokens[TURN_END_TOKEN]
        self._opening = lira.tokenizer.encode(PHRASE_OPENING)
        self._ids: list[int] = []
        self._text: list[int] = []
        self._log_probs: list[torch.Tensor] = []
        self._masks = 0
        self._latest: NDArray[np.bool_] | None = None
        self._viewed = False

    def steps(self) -> Iterator[AnswerStep]:
        """The model's own answer."""
        if self._cancelled():  # before the expensive prefill
            yield self._answer("cancelled")
            return
        token = self._record(self._extend())
        while not self._cancelled():
            self._ids.append(token)
            if token == self._end:
                yield self._answer("end")
                return
            self._text.append(token)
            step, following = self._step(token)
            yield step
            if len(self._ids) >= self._max_new_tokens or self._is_full():
                yield self._answer("length")
                return
            token = self._next(token) if following is None else following
        yield self._answer("cancelled")

    def forced(self, answer: str) -> Iterator[AnswerStep]:
        """A given answer, which is a single `[SEG]`."""
        self._ids = self._lira.tokenizer.encode(answer)
        self._text = list(self._ids)
        if self._cancelled():
            self._ids, self._text = [], []
            yield self._answer("cancelled")
            return
        logits = self._lira.engine.logits(self._extend().states)
        self._log_probs = [logits.log_softmax(-1)[self._seg]]
        yield self._mask_step(self._extend(self._ids).states, self._end)
        yield self._answer("end")

    def _step(self, token: int) -> tuple[AnswerStep, int | None]:
        """The step of a generated token, and the next token if it is known already."""
        if token != self._seg:
            return TextStep(self._decoded()), None
        output = self._extend([token])
        step = self._mask_step(output.states, output.tokens[0])
        return step, self._record(output)

    def _next(self, token: int) -> int:
        """Runs over a generated token, and over the local view after `<image_id>`; returns the next token."""
        parts: list[Part] = [token]
        if token == self._local and self._latest is not None:
            with self._lira.engine.batcher.paused():
                latest = self._latest
                parts += [self._lira.engine.compute(lambda: self._encoded.local(latest)), *self._opening]
            self._text += self._opening
            self._viewed = True
        return self._record(self._extend(parts))

    def _record(self, output: StepOutput) -> int:
        """The next token; its log-probability is recorded."""
        self._log_probs.append(output.log_probs[0])
        return output.tokens[0]

    def _mask_step(self, state: torch.Tensor, following: int) -> AnswerStep:
        """The step of a `[SEG]`: a new object, or the same one again after its local view."""
        again = self._viewed and following != self._local
        self._viewed = False
        if again and not self._lira.refine:
            return RefinedStep(None, self._decoded())
        self._masks += 1
        if self._masks > MAX_MASKS:
            return TextStep(self._decoded())
        with self._lira.engine.batcher.paused():
            logits = self._lira.engine.compute(lambda: self._encoded.mask_logits(state))
        if again:
            return RefinedStep(logits.full, self._decoded())
        self._latest = logits.full > 0
        lowest_log_prob = self._lira.engine.compute(lambda: lowest(self._log_probs))
        return MaskStep(logits.full, logits.low_res, self._decoded(), lowest_log_prob, self._attributes(state))

    def _attributes(self, state: torch.Tensor) -> Attributes | None:
        reader = self._lira.attributes
        return reader.read(self._lira.engine.logits(state)) if reader else None

    def _is_full(self) -> bool:
        """Whether the context has no room for one more token and what may be inserted after it."""
        config = self._lira.config
        local = config.local_positions + len(self._opening) if self._ids[-1] == self._local else 0
        return self._generation.length + 1 + local > int(config.language.max_position_embeddings)

    def _extend(self, parts: Sequence[Part] = ()) -> StepOutput:
        return self._lira.engine.extend(self._generation, parts)

    def _decoded(self) -> str:
        return self._lira.tokenizer.decode(self._text)

    def _answer(self, reason: Reason) -> Answer:
        self._generation.store()
        # Of text after the last mask, NaN would not be noticed otherwise.
        self._lira.engine.compute(lambda: lowest(self._log_probs))
        return Answer(self._decoded(), self._prompt, tuple(self._ids), reason)
