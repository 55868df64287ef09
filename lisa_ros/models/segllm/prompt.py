# SPDX-License-Identifier: Apache-2.0
"""The prompt of a dialogue in SegLLM's training format: every answer is one `<seg>`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lisa_ros.models.segllm.configuration import SEG_TOKEN, SLOT_TOKEN
from lisa_ros.models.segllm.visual_reference import VisualReference

MARKERS = ("USER:", "ASSISTANT:")
"""Texts with which the template marks the speaker."""

_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)


@dataclass(frozen=True)
class Round:
    """One command.

    Attributes:
        text: the command, after `neutralize`.
        references: the objects that it refers to, in order.
    """

    text: str
    references: tuple[VisualReference, ...] = ()


def build_prompt(rounds: Sequence[Round], patches: int) -> str:
    """The prompt for the last of some rounds, up to the `<seg>` that answers it.

    Args:
        rounds: of a dialogue about one image, in order.
        patches: number of the image's slots.

    Returns:
        Text with a `<video>` for each of the image's patches, and two for each reference (mask and box), right before
        the round's text. In SegLLM's training the first round has no references; here it may have masks from elsewhere.
    """
    image = SLOT_TOKEN * patches + " "
    turns = [
        f"USER: {'' if i else image}{SLOT_TOKEN * 2 * len(one.references)}{one.text} ASSISTANT: "
        for i, one in enumerate(rounds)
    ]
    return f"{_SYSTEM} " + f"{SEG_TOKEN}</s>".join(turns)
