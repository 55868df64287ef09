# SPDX-License-Identifier: Apache-2.0
"""What a model answers: events, and the objects with their masks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from lisa_ros.segmentation.errors import LisaError, is_kind

Image = NDArray[np.uint8]
"""RGB, (H, W, 3)."""

Mask = NDArray[np.bool_]
"""(H, W), of the image's size."""

Reference = int | Mask
"""The number of an earlier turn (Turn.number), or a mask from elsewhere, of the image's size."""

SEG_TEXT = "[SEG]"
"""Stands for a mask in a raw answer."""

AnswerKind = Literal["full", "mask_only"]
"""What is wanted of a model: its whole answer, or one mask as fast as possible and no text."""

ANSWER_KINDS: tuple[AnswerKind, ...] = ("full", "mask_only")


def check_answer_kind(answer: str) -> None:
    """Raises a ValueError unless it is one of ANSWER_KINDS."""
    if answer not in ANSWER_KINDS:
        raise ValueError(f"answer is {answer!r}; it can be {' or '.join(map(repr, ANSWER_KINDS))}")


class CommandError(LisaError):
    """A command that the model cannot answer; the text is one sentence for the operator."""


@dataclass(frozen=True, eq=False)
class Region:
    """An object as a model wants it back in a later turn, in the model's own image coordinates.

    Attributes:
        mask: (H', W').
        box: x0, y0, x1, y1 in its pixels. It may differ from the mask's box; the mask can be empty.
    """

    mask: Mask
    box: tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class ObjectMask:
    """One object of an answer. Compared by identity.

    Attributes:
        mask: its pixels.
        span: [begin, end) of its `[SEG]` in the raw answer, in characters.
        score: the mask's confidence, 0 to 1. With a calibration (see segmentation.scoring) it is the probability that
            the mask's IoU with the true object is 0.5 or more; without one it only ranks masks. None: the model
            reports none.
        score_calibrated: whether the score comes from a calibration.
        evidence: the numbers that the score was computed from, by name; a calibration is fitted to them. None: none.
        probability: computes (H, W) float32, the model's probability that a pixel belongs to the object; above 0.5
            inside the mask. None: the model has none. It keeps H x W float32 alive and is not stored with a turn.
        region: what the model wants back with this turn in later ones; None: nothing.
        phrase: the part of the answer that names the object; empty: the model does not say.
        refined: a second mask of the object, made from a closer view of it; None: there is none. It is not stored with
            a turn.
        box: the model's own box, x0, y0, x1, y1 in the image's pixels. It may reach out of the image and differ from
            the mask's box. None: the model has none.
        attributes: family of words -> word -> logit of that word at the `[SEG]`, for inspection only.
    """

    mask: Mask = field(repr=False)
    span: tuple[int, int]
    score: float | None = None
    score_calibrated: bool = False
    evidence: Mapping[str, float] | None = None
    probability: Callable[[], NDArray[np.float32]] | None = field(default=None, repr=False)
    region: Region | None = None
    phrase: str = ""
    refined: Mask | None = None
    box: tuple[float, float, float, float] | None = None
    attributes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class MaskFound:
    """The model has marked an object. More of the answer may follow."""

    object: ObjectMask


@dataclass(frozen=True)
class TextDelta:
    """More of the raw answer. All deltas of an answer joined are the raw answer, up to white space."""

    text: str


@dataclass(frozen=True)
class Finished:
    """The answer is complete. Nothing follows.

    Attributes:
        answer: the raw answer, with `[SEG]` in place of each object; for people, see segmentation.text.explanation_of.
        objects: in the order of the answer.
        reason: "end", "length" (cut at max_new_tokens) or "cancelled".
        references: numbers of the earlier turns whose masks the model was given.
        model: the name of the model that answered, where the segmenter has several; empty: Segmenter.name.
        note: one sentence for people about what the model cannot do of this command; empty: nothing.
    """

    answer: str
    objects: tuple[ObjectMask, ...]
    reason: Literal["end", "length", "cancelled"]
    references: tuple[int, ...] = ()
    model: str = ""
    note: str = ""


Event = MaskFound | TextDelta | Finished

_REASONS = ("end", "length", "cancelled")
_MOST_CHARACTERS, _MOST_OBJECTS = 1_000_000, 1000
"""Of an answer: far more than any model says, and as much as a message can carry."""


def checked_events(events: object, size: tuple[int, ...]) -> Iterator[Event]:
    """Check what a model says before anything is published or remembered: models of other packages may be wrong.

    A wrong type in a message would end the process, in the code that rosidl generates.

    Args:
        events: What `Session.segment` returned.
        size: (H, W) of the image.

    Yields:
        The same events up to `Finished`; numbers of numpy as Python's.

    Raises:
        ValueError: A value has another type, size or range than this module documents, or `Finished` does not come.
    """
    if not isinstance(events, Iterable):
        raise ValueError(f"the model returned {_kind(events)}; an iterator of events is expected")
    checked: _Checked = {}
    for event in events:
        yield checked_event(event, size, checked)
        if isinstance(event, Finished):
            return
    raise ValueError("the model's answer ended without Finished")


_Checked = dict[int, tuple[object, ObjectMask]]
"""Identity of an object -> it, so that it lives, and the same after it was checked."""


def checked_event(event: object, size: tuple[int, ...], checked: _Checked | None = None) -> Event:
    """Check one event, see `checked_events`.

    Args:
        event: Of a model.
        size: (H, W) of the image.
        checked: The objects of earlier events of the answer; extended.
    """
    checked = {} if checked is None else checked
    if isinstance(event, TextDelta):
        _check_text("text", event.text)
        return event
    if isinstance(event, MaskFound):
        return MaskFound(_checked_once(event.object, size, checked))
    if isinstance(event, Finished):
        return _checked_end(event, size, checked)
    raise ValueError(f"the model yielded {_kind(event)}; MaskFound, TextDelta or Finished is expected")


def _checked_end(end: Finished, size: tuple[int, ...], checked: _Checked) -> Finished:
    for name in ("answer", "model", "note"):
        _check_text(name, getattr(end, name))
    if end.reason not in _REASONS:
        raise ValueError(f"the model ended for the reason {end.reason!r}; it can be {', '.join(_REASONS)}")
    for name in ("objects", "references"):
        if not isinstance(getattr(end, name), list | tuple):
            raise ValueError(f"the model's {name} are {_kind(getattr(end, name))}; a tuple is expected")
    if len(end.objects) > _MOST_OBJECTS:
        raise ValueError(f"the model returned {len(end.objects)} objects; {_MOST_OBJECTS} are the most of an answer")
    references = tuple(_whole("reference", one) for one in end.references)
    return replace(end, objects=tuple(_checked_once(one, size, checked) for one in end.objects), references=references)


def _checked_once(found: object, size: tuple[int, ...], checked: _Checked) -> ObjectMask:
    if id(found) not in checked:
        if len(checked) >= _MOST_OBJECTS:
            raise ValueError(f"the model returned more than {_MOST_OBJECTS} objects, the most of an answer")
        if not isinstance(found, ObjectMask):
            raise ValueError(f"the model returned {_kind(found)} as an object; an ObjectMask is expected")
        checked[id(found)] = (found, _checked_object(found, size))
    return checked[id(found)][1]


def _checked_object(found: ObjectMask, size: tuple[int, ...]) -> ObjectMask:
    _check_mask(found.mask, size)
    if found.refined is not None:
        _check_mask(found.refined, size)
    _check_text("phrase", found.phrase)
    if not isinstance(found.attributes, Mapping):
        raise ValueError(f"the model's attributes are {_kind(found.attributes)}; a mapping is expected")
    begin, end = (_whole("span", one) for one in _exactly("span", found.span, 2))
    score = None if found.score is None else _real("score", found.score)
    if score is not None and not 0.0 <= score <= 1.0:
        raise ValueError(f"the model returned the score {score}; a score lies between 0 and 1")
    box = None
    if found.box is not None:
        x0, y0, x1, y1 = (_finite("box", one) for one in _exactly("box", found.box, 4))
        box = (x0, y0, x1, y1)
    if not isinstance(found.score_calibrated, bool | np.bool_):
        raise ValueError(f"the model's score_calibrated is {_kind(found.score_calibrated)}; a bool is expected")
    calibrated, evidence = bool(found.score_calibrated), _checked_evidence(found.evidence)
    _check_region(found.region)
    return replace(found, span=(begin, end), score=score, score_calibrated=calibrated, box=box, evidence=evidence)


def _checked_evidence(evidence: object) -> dict[str, float] | None:
    if evidence is None:
        return None
    if not isinstance(evidence, Mapping) or not all(isinstance(name, str) for name in evidence):
        raise ValueError(f"the model's evidence is {_kind(evidence)}; a mapping of names to numbers is expected")
    numbers = {name: _real(f"evidence {name!r}", one) for name, one in evidence.items()}
    if undefined := [name for name, one in numbers.items() if math.isnan(one)]:
        raise ValueError(f"the model's evidence {undefined[0]!r} is NaN; a number is expected")
    return numbers


def _check_region(region: object) -> None:
    if region is None:
        return
    if not isinstance(region, Region):
        raise ValueError(f"the model's region is {_kind(region)}; a Region is expected")
    shape = region.mask.shape if isinstance(region.mask, np.ndarray) else ()
    if len(shape) != 2:
        raise ValueError(f"the mask of the model's region is {_kind(region.mask)}; a mask (H', W') is expected")
    _check_mask(region.mask, shape)
    for one in _exactly("region's box", region.box, 4):
        _finite("region's box", one)


def _check_mask(mask: object, size: tuple[int, ...]) -> None:
    if not isinstance(mask, np.ndarray):
        raise ValueError(f"the model returned {_kind(mask)} as a mask; a numpy array is expected")
    if mask.shape != size:
        raise ValueError(f"the model returned a mask of shape {mask.shape} for an image of shape {size}")
    if mask.dtype != np.bool_:
        raise ValueError(f"the model returned a mask of {mask.dtype}; bool is expected")


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise ValueError(f"the model's {name} is {_kind(value)}; a str is expected")
    if len(value) > _MOST_CHARACTERS:
        raise ValueError(f"the model's {name} has {len(value)} characters; {_MOST_CHARACTERS} are the most")


def _exactly(name: str, value: Any, count: int) -> Sequence[object]:
    if not isinstance(value, list | tuple | np.ndarray) or len(value) != count:
        raise ValueError(f"the model's {name} is {_kind(value)}; {count} numbers are expected")
    return cast(Sequence[object], value)


def _whole(name: str, value: Any) -> int:
    if not is_kind(value, Integral) or not 0 <= int(value) < 1 << 31:
        raise ValueError(f"the model's {name} has {_kind(value)}; a whole number from 0 to 2^31 - 1 is expected")
    return int(value)


def _real(name: str, value: Any) -> float:
    if not is_kind(value, Real):
        raise ValueError(f"the model's {name} has {_kind(value)}; a number is expected")
    return float(value)


def _finite(name: str, value: object) -> float:
    if not math.isfinite(number := _real(name, value)):
        raise ValueError(f"the model's {name} has {number}; a finite number is expected")
    return number


def _kind(value: object) -> str:
    shown = repr(value) if isinstance(value, int | float | None) else ""
    return f"{shown} of type {type(value).__name__}" if shown else f"a value of type {type(value).__name__}"
