# SPDX-License-Identifier: Apache-2.0
"""The chat of a dialogue, as messages for the checkpoint's chat template. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lisa_ros.models.pointing.conventions import Box, Convention, Point
from lisa_ros.segmentation.answers import SEG_TEXT
from lisa_ros.segmentation.masks import bounding_box, centroid_pixel

if TYPE_CHECKING:
    from lisa_ros.segmentation.turns import Turn


def messages(
    convention: Convention, command: str, turns: Sequence[Turn], frame: tuple[int, int], size: tuple[int, int]
) -> list[dict[str, Any]]:
    """The chat: the image in the first question, earlier answers as the model would have written them.

    Args:
        convention: the checkpoint's.
        command: the newest.
        turns: earlier ones, oldest first; their masks are pointed at by box and centroid.
        frame: (width, height) of the image in the coordinates that the model writes.
        size: (H, W) of the image, pixels.
    """
    chat: list[dict[str, Any]] = []
    if convention.system:
        chat.append({"role": "system", "content": [{"type": "text", "text": convention.system}]})
    for turn in turns:
        chat.append(_said("user", convention.ask(turn.command)))
        chat.append(_said("assistant", _rewritten(convention, turn, frame, size)))
    chat.append(_said("user", convention.ask(command)))
    first_question = next(message for message in chat if message["role"] == "user")
    first_question["content"].insert(0, {"type": "image"})
    return chat


def _said(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text}]}


def _rewritten(convention: Convention, turn: Turn, frame: tuple[int, int], size: tuple[int, int]) -> str:
    thought = " ".join(turn.answer.replace(SEG_TEXT, "").split())
    objects = [
        _pointed(found.mask, frame, size) for found in turn.objects if found.mask.shape == size and found.mask.any()
    ]
    return f"<think>{thought}</think>{convention.write(objects)}"


def _pointed(mask: Any, frame: tuple[int, int], size: tuple[int, int]) -> tuple[Box, Point]:
    sx, sy = frame[0] / size[1], frame[1] / size[0]
    x, y, width, height = bounding_box(mask)
    u, v = centroid_pixel(mask)
    box = (round(x * sx), round(y * sy), round((x + width) * sx), round((y + height) * sy))
    return box, (round(u * sx), round(v * sy))
