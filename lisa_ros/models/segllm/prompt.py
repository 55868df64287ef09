# SPDX-License-Identifier: Apache-2.0
"""From a dialogue to the text that SegLLM was trained on: every answer in it is one `<seg>`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lisa_ros.models.segllm.configuration import SEG_TOKEN, SLOT_TOKEN
from lisa_ros.models.segllm.shown import Shown

MARKERS = ("USER:", "ASSISTANT:")
"""Texts with which the template itself marks who speaks."""

_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)


@dataclass(frozen=True)
class Round:
    """One command.

    Attributes:
        text: its words; they must have gone through `neutralize`.
        shown: what it refers to, in order.
    """

    text: str
    shown: tuple[Shown, ...] = ()


def build_prompt(rounds: Sequence[Round], patches: int) -> str:
    """The prompt for the last of some rounds, up to the `<seg>` that answers it.

    Args:
        rounds: of a dialogue about one picture, in order.
        patches: slots that the picture takes.

    Returns:
        Text with a `<video>` for each of the picture's patches, and two for each reference, mask and box. References
        stand right before a round's words. SegLLM's own first rounds have none; here they may, for masks from outside.
    """
    picture = SLOT_TOKEN * patches + " "
    turns = [
        f"USER: {'' if i else picture}{SLOT_TOKEN * 2 * len(one.shown)}{one.text} ASSISTANT: "
        for i, one in enumerate(rounds)
    ]
    return f"{_SYSTEM} " + f"{SEG_TOKEN}</s>".join(turns)
