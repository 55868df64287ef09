# SPDX-License-Identifier: Apache-2.0
"""Which masks of an answer count as objects, and the reason where none does."""

from __future__ import annotations

from collections.abc import Sequence

from lisa_ros.segmentation.answers import Finished, ObjectMask
from lisa_ros.segmentation.text import detail_of


def is_object(found: ObjectMask, min_score: float) -> bool:
    """Whether a mask counts as an object: it has a pixel, and its score, if it has one, is not below min_score."""
    return bool(found.mask.any()) and (found.score is None or found.score >= min_score)


def found_objects(objects: Sequence[ObjectMask], min_score: float) -> tuple[ObjectMask, ...]:
    """The masks that count as objects, in their order."""
    return tuple(found for found in objects if is_object(found, min_score))


def why_no_object(objects: Sequence[ObjectMask], min_score: float) -> str:
    """The reason in one sentence, for an answer none of whose masks counts as an object."""
    if weak := [found for found in objects if found.mask.any()]:
        best = max(found.score or 0.0 for found in weak)
        found_text = "an object, but its" if len(weak) == 1 else f"{len(weak)} objects, but the highest"
        return f"The model found {found_text} score is {best:.3f}; min_score is {min_score:g}."
    if objects:
        return "The model named an object, but its mask is empty."
    return "The model's answer names no object in the image."


def answer_detail(finished: Finished, min_score: float) -> str:
    """Why an answer has no object, where it has none, and what the model cannot do of the command; may be empty."""
    reason = "" if found_objects(finished.objects, min_score) else why_no_object(finished.objects, min_score)
    return f"{reason} {detail_of(finished.note)}".strip()
