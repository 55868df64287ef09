# SPDX-License-Identifier: Apache-2.0
"""The sentence that is spoken of an answer, by the robot and by an operator's browser."""

from __future__ import annotations

from lisa_ros.msg import Segmentation
from lisa_ros.speech.speaking import answer_sentence


def spoken(answer: Segmentation) -> str:
    """The sentence; empty for a cancelled command."""
    if answer.status == Segmentation.CANCELLED:
        return ""
    if answer.status not in (Segmentation.OK, Segmentation.NO_OBJECT):
        return str(answer.detail)
    positions = [found.pose.position if found.located else None for found in answer.objects]
    distances = [None if p is None else float((p.x**2 + p.y**2 + p.z**2) ** 0.5) for p in positions]
    return answer_sentence(answer.explanation, distances, [found.centroid_pixel.x for found in answer.objects])
