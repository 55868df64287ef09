# SPDX-License-Identifier: Apache-2.0
"""The steps in which models that answer in text yield an answer: text, masks, and the whole answer last."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from lisa_ros.models.common.errors import NotFiniteError

MAX_MASKS = 64
"""Masks decoded for one answer. A model that degenerates generates `[SEG]` until the end; each mask takes memory."""

_CAUSES = "the checkpoint's weights are damaged, or the precision is too small for them (try fp32 or bf16)."

Reason = Literal["end", "length", "cancelled"]


@dataclass(frozen=True, eq=False)
class MaskLogits:
    """The logits of one mask.

    Attributes:
        full: (H, W) float32, size of the image; the mask is full > 0.
        low_res: (h, w) float32, the mask decoder's output before upsampling, cropped to the image's part of its square.
        shown: share of the image that low_res shows, where the networks are given a part of it.
    """

    full: NDArray[np.float32]
    low_res: NDArray[np.float32]
    shown: float = 1.0

    def __post_init__(self) -> None:
        """Raises a NotFiniteError for logits that are NaN or infinite."""
        if not (np.isfinite(self.low_res).all() and np.isfinite(self.full).all()):
            raise NotFiniteError(f"The mask decoder computed NaN or infinite logits: {_CAUSES}")


@dataclass(frozen=True)
class TextStep:
    """The model has generated another token.

    Attributes:
        text: the answer so far.
    """

    text: str


@dataclass(frozen=True, eq=False)
class MaskStep:
    """The model has generated `[SEG]`.

    Attributes:
        logits: (H, W) float32, size of the image; the mask is logits > 0.
        low_res, shown: see MaskLogits.
        text: the answer so far, this `[SEG]` last.
        log_prob: log-probability of the least likely token of that answer, forced tokens included.
        attributes: kind -> word -> logit at the `[SEG]`, where they were asked for.
    """

    logits: NDArray[np.float32]
    low_res: NDArray[np.float32]
    text: str
    log_prob: float
    attributes: Mapping[str, Mapping[str, float]] | None = None
    shown: float = 1.0


@dataclass(frozen=True)
class Answer:
    """The model has ended.

    Attributes:
        text: the raw answer, `[SEG]` in place, with the white space that upstream's decoding gives.
        prompt: the prompt: token ids, and what stands for the image at its place.
        ids: the generated ids, the end token included.
        reason: "end" (the model generated its end token), "length" (max_new_tokens, or the context is full) or
            "cancelled".
        log_prob: log-probability of the least likely token; 0 where the model does not say. Not compared: its last
            digits depend on what was computed together.
    """

    text: str
    prompt: tuple[object, ...]
    ids: tuple[int, ...]
    reason: Reason
    log_prob: float = field(default=0.0, compare=False)


def lowest(log_probs: Sequence[torch.Tensor]) -> float:
    """The smallest of some log-probabilities, each (); 0 for none.

    Raises:
        NotFiniteError: one is NaN or infinite.
    """
    if not log_probs:
        return 0.0
    value = float(torch.stack(list(log_probs)).min())
    if not math.isfinite(value):
        raise NotFiniteError(f"The language model computed NaN or infinite logits: {_CAUSES}")
    return value
