# SPDX-License-Identifier: Apache-2.0
"""The evaluation protocols: how a question is asked, and which mask is scored. Results of two protocols do not compare.

* teacher_forced: the protocol of LISA's paper. Upstream's question, and the given answer "[SEG]." (teacher forcing).
* referring: the protocol of LIRA's paper. "Please segment ..."; generation ends at the first mask.
* generate: as an operator uses the model. It generates its answer; an answer without `[SEG]` is an empty mask.
* quantization: as generate, with 8-bit and 4-bit weights; the reference is the same model with 16-bit weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from lisa_ros.datasets.samples import Round
from lisa_ros.evaluation.metrics import Box
from lisa_ros.segmentation.answers import AnswerKind, Finished, Mask, ObjectMask
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.interface import EncodedImage, Referring, Segmenter, TeacherForcing
from lisa_ros.segmentation.masks import union
from lisa_ros.segmentation.turns import Turn, turn_of

FORCED_ANSWER = "[SEG]."


@dataclass(frozen=True)
class Reply:
    """A model's answer to a question.

    Attributes:
        turn: the question as it was asked, and the answer with its masks: the history of later rounds.
        masks: its masks, in the order of the answer.
        cut: whether the answer was cut at its maximum length.
        seconds: from the question to the end of the answer.
        worded: whether the model was free to choose its text, so that the text may be scored.
        model: the name of the model that answered, see Finished.model; empty: the segmenter has one model only.
    """

    turn: Turn
    masks: tuple[Mask, ...]
    cut: bool
    seconds: float
    worded: bool = True
    model: str = ""

    def mask(self, rule: str, size: tuple[int, int]) -> Mask:
        """The mask that is scored, by one of options.MASK_RULES; empty, of `size` (H, W), where the answer has none."""
        chosen = self.masks if rule == "union" else self.masks[:1]
        if len(chosen) == 1:
            return chosen[0]
        return union(chosen, size) if chosen else np.zeros(size, dtype=np.bool_)

    def score(self, rule: str) -> tuple[float | None, dict[str, float] | None]:
        """The mask's confidence and its evidence, if the model has them. Of a union: the lowest one, no evidence."""
        objects = self.turn.objects
        if rule == "union" and len(objects) > 1:
            scores = [found.score for found in objects if found.score is not None]
            return min(scores, default=None), None
        if not objects:
            return None, None
        evidence = objects[0].evidence
        return objects[0].score, None if evidence is None else dict(evidence)

    @property
    def score_calibrated(self) -> bool:
        """Whether the masks' scores come from a calibration."""
        return bool(self.turn.objects) and all(found.score_calibrated for found in self.turn.objects)

    @property
    def box(self) -> Box | None:
        """The model's own box, in the image's pixels, where the answer is one mask and the model predicts a box."""
        return self.turn.objects[0].box if len(self.masks) == 1 and self.turn.objects else None


Asking = Callable[[EncodedImage, Round, Sequence[Turn]], Reply]
"""Asks a model one round, about an encoded image and after earlier turns. Raises a CommandError for an invalid one."""


def upstream_question(asked: Round) -> str:
    """The question of upstream's validation (utils/dataset.py, ValDataset), its leading space included."""
    text = asked.text.strip()
    question = text if asked.is_sentence else f"What is {text} in this image?"
    return f" {question} Please output segmentation mask."


def teacher_forced(segmenter: Segmenter) -> Asking:
    """The paper's protocol. Earlier rounds of a dialogue are in the prompt, with the same given answer.

    Raises:
        LisaError: the model does not take a given answer.
    """
    if not segmenter.capabilities.teacher_forcing:
        raise LisaError(f"{segmenter.name} takes no given answer, so it has no teacher_forced protocol; use generate")
    forcing = cast("TeacherForcing", segmenter)

    def ask(encoded: EncodedImage, asked: Round, turns: Sequence[Turn]) -> Reply:
        began = time.perf_counter()
        question = upstream_question(asked)
        masks = forcing.force(encoded, question, FORCED_ANSWER, turns)
        return Reply(Turn(question, FORCED_ANSWER), masks, False, time.perf_counter() - began, worded=False)

    return ask


def referring(segmenter: Segmenter) -> Asking:
    """The protocol of LIRA's paper, for referring expressions; every round is asked without the earlier ones.

    An answer without a mask counts as an empty mask. LIRA's own script leaves such a question out of cIoU, which
    rewards a model for answering without a mask.

    Raises:
        LisaError: the model has no prompt for referring expressions.
    """
    if not segmenter.capabilities.referring:
        raise LisaError(f"{segmenter.name} has no referring protocol; use generate")
    model = cast("Referring", segmenter)

    def ask(encoded: EncodedImage, asked: Round, turns: Sequence[Turn]) -> Reply:
        began = time.perf_counter()
        answer, mask = model.refer(encoded, asked.text)
        masks = () if mask is None else (mask,)
        return Reply(Turn(asked.text, answer), masks, False, time.perf_counter() - began)

    return ask


def generate(
    segmenter: Segmenter,
    phrasing: str,
    max_new_tokens: int = 512,
    answer: AnswerKind = "full",
    references: str = "own",
) -> Asking:
    """The operator's protocol: the model's own answers, also as the history of a dialogue.

    Questions are phrased by one of options.PHRASINGS, in the prompt of upstream's chat.py, as `lisa segment` does;
    commands are asked unchanged (Round.is_command). With the answer "mask_only" the model gives one mask and no text.
    The masks of a round's references are those of options.REFERENCES; LISA ignores them. With "true", the true mask
    replaces the model's in the history.
    """

    def ask(encoded: EncodedImage, asked: Round, turns: Sequence[Turn]) -> Reply:
        began = time.perf_counter()
        upstream = phrasing == "upstream" and not asked.is_command
        question = upstream_question(asked).strip() if upstream else asked.text
        session, given = segmenter.session(encoded, turns), () if references == "none" else asked.references
        *_, end = session.segment(question, given, max_new_tokens=max_new_tokens, answer=answer)
        if not isinstance(end, Finished):
            raise RuntimeError("the model's events ended without Finished")
        masks = tuple(found.mask for found in end.objects)
        turn = turn_of(question, end)
        seconds = time.perf_counter() - began
        if references == "true":
            turn = replace(turn, objects=(_true(turn.objects, asked.truth() == 1),))
        return Reply(turn, masks, end.reason == "length", seconds, worded=answer == "full", model=end.model)

    return ask


def _true(objects: Sequence[ObjectMask], mask: Mask) -> ObjectMask:
    """The first of an answer's objects with the true mask in place of its own."""
    return replace(objects[0], mask=mask, region=None) if objects else ObjectMask(mask, (0, 0))
