# SPDX-License-Identifier: Apache-2.0
"""Dialogues and answers as JSON, so that a server and a robot can exchange them without loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lisa_ros.segmentation.answers import Event, Finished, Mask, MaskFound, ObjectMask, Reference, Region, TextDelta
from lisa_ros.segmentation.files.run_lengths import mask_of, runs_of
from lisa_ros.segmentation.turns import Turn

Json = dict[str, Any]


class PixelBudget:
    """Bounds the masks of one message: a few bytes of run lengths can stand for a mask of any size."""

    def __init__(self, pixels: int) -> None:
        """Allows masks of so many pixels, all together."""
        self._left = pixels

    def take(self, size: tuple[int, int]) -> None:
        """Raises a ValueError unless a mask of this size (H, W) is allowed."""
        height, width = size
        if height < 1 or width < 1 or height * width > self._left:
            raise ValueError(f"a mask of {width} x {height} pixels: the masks of a message have too many pixels")
        self._left -= height * width


def mask_json(mask: Mask) -> Json:
    """A mask with its size."""
    return {"size": list(mask.shape), "runs": runs_of(mask)}


def mask_from(given: Any, budget: PixelBudget) -> Mask:
    """The mask of `mask_json`.

    Raises:
        ValueError, KeyError, TypeError: it is not one, or has more pixels than the budget allows.
    """
    height, width = (int(side) for side in given["size"])
    budget.take((height, width))
    return mask_of(given["runs"], (height, width))


def object_json(found: ObjectMask) -> Json:
    """All of an object but its probabilities, which stay on the server."""
    return {
        "mask": mask_json(found.mask),
        "span": list(found.span),
        "score": None if found.score is None else float(found.score),
        "score_calibrated": found.score_calibrated,
        "evidence": None if found.evidence is None else {name: float(one) for name, one in found.evidence.items()},
        "region": None
        if found.region is None
        else {"mask": mask_json(found.region.mask), "box": [float(one) for one in found.region.box]},
        "phrase": found.phrase,
        "refined": None if found.refined is None else mask_json(found.refined),
        "box": None if found.box is None else [float(one) for one in found.box],
        "attributes": {
            family: {word: float(logit) for word, logit in words.items()} for family, words in found.attributes.items()
        },
    }


def object_from(given: Any, budget: PixelBudget) -> ObjectMask:
    """The object of `object_json`, or of a version with fewer fields; errors as of `mask_from`."""
    begin, end = given["span"]
    region, refined, score, box = (given.get(name) for name in ("region", "refined", "score", "box"))
    return ObjectMask(
        mask=mask_from(given["mask"], budget),
        span=(int(begin), int(end)),
        score=None if score is None else float(score),
        score_calibrated=bool(given.get("score_calibrated", False)),
        evidence=given.get("evidence"),
        region=None if region is None else Region(mask_from(region["mask"], budget), _box(region["box"])),
        phrase=str(given.get("phrase", "")),
        refined=None if refined is None else mask_from(refined, budget),
        box=None if box is None else _box(box),
        attributes=given.get("attributes", {}),
    )


def turn_json(turn: Turn) -> Json:
    """A turn with its objects."""
    return {
        "command": turn.command,
        "answer": turn.answer,
        "objects": [object_json(found) for found in turn.objects],
        "references": list(turn.references),
        "number": turn.number,
    }


def turn_from(given: Any, budget: PixelBudget) -> Turn:
    """The turn of `turn_json`, or of a version with fewer fields; errors as of `mask_from`."""
    return Turn(
        command=str(given["command"]),
        answer=str(given["answer"]),
        objects=tuple(object_from(one, budget) for one in given.get("objects", ())),
        references=tuple(int(one) for one in given.get("references", ())),
        number=int(given.get("number", 0)),
    )


def references_json(references: Sequence[Reference]) -> list[Any]:
    """Numbers of turns as they are, masks as run lengths."""
    return [mask_json(one) if isinstance(one, np.ndarray) else int(one) for one in references]


def references_from(given: Any, budget: PixelBudget) -> tuple[Reference, ...]:
    """The references of `references_json`; errors as of `mask_from`."""
    return tuple(mask_from(one, budget) if isinstance(one, dict) else int(one) for one in given)


def event_json(event: Event) -> Json:
    """An event of an answer."""
    if isinstance(event, MaskFound):
        return {"event": "mask", "object": object_json(event.object)}
    if isinstance(event, TextDelta):
        return {"event": "text", "text": event.text}
    return {
        "event": "finished",
        "answer": event.answer,
        "objects": [object_json(found) for found in event.objects],
        "reason": event.reason,
        "references": list(event.references),
        "model": event.model,
        "note": event.note,
    }


def event_from(given: Any, budget: PixelBudget) -> Event:
    """The event of `event_json`; errors as of `mask_from`."""
    if given["event"] == "mask":
        return MaskFound(object_from(given["object"], budget))
    if given["event"] == "text":
        return TextDelta(str(given["text"]))
    if given["event"] != "finished" or given["reason"] not in ("end", "length", "cancelled"):
        raise ValueError(f"an event of the kind {given['event']!r} is not known")
    return Finished(
        answer=str(given["answer"]),
        objects=tuple(object_from(one, budget) for one in given["objects"]),
        reason=given["reason"],
        references=tuple(int(one) for one in given.get("references", ())),
        model=str(given.get("model", "")),
        note=str(given.get("note", "")),
    )


def _box(given: Any) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(one) for one in given)
    return left, top, right, bottom
