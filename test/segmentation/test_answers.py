# SPDX-License-Identifier: Apache-2.0
"""Checks of what a model has computed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lisa_ros.segmentation.answers import Event, Finished, MaskFound, ObjectMask, Region, TextDelta, checked_events
from lisa_ros.segmentation.turns import Turn

MASK = np.ones((4, 6), dtype=np.bool_)


OTHER = MASK.copy()
ONE = ObjectMask(MASK, (0, 5), score=0.5)


def checked(*events: object) -> list[Event]:
    return list(checked_events(iter(events), (4, 6)))


@pytest.mark.parametrize("score", [None, 0.0, 0.5, 1.0])
def test_what_is_right_stays_as_it_is(score: float | None) -> None:
    found = ObjectMask(MASK, (0, 5), score=score, box=(0.0, 0.0, 6.5, 4.0), refined=OTHER, phrase="mug")
    text, mask, end = checked(TextDelta("[SEG]"), MaskFound(found), Finished("[SEG]", (found,), "end"))
    assert isinstance(mask, MaskFound) and isinstance(end, Finished) and text == TextDelta("[SEG]")
    assert end.objects == (mask.object,)
    assert vars(mask.object) == vars(found)


@pytest.mark.parametrize("score", [None, 0.5, np.float32(0.5)])
@pytest.mark.parametrize("kind", [tuple, list, np.array])
def test_numbers_of_numpy_become_those_of_python_and_the_object_stays_one(kind: Any, score: Any) -> None:
    """rosidl ends the process for a float32 of numpy in a message."""
    span, box = kind([np.int64(0), np.int64(5)]), kind([np.float32(side) for side in range(4)])
    found = ObjectMask(MASK, span, score=score, score_calibrated=np.bool_(True), box=box)  # type: ignore[arg-type]
    mask, end = checked(MaskFound(found), Finished("[SEG]", [found], "end", references=(np.int32(3),)))  # type: ignore[arg-type]
    assert isinstance(mask, MaskFound) and isinstance(end, Finished)
    assert end.objects == (mask.object,) and mask.object.mask is MASK and mask.object.score_calibrated is True
    for value in (*mask.object.span, *end.references):
        assert type(value) is int
    for number in mask.object.box or ():
        assert type(number) is float
    assert type(mask.object.score) is (float if score is not None else type(None))


def test_masks_without_end_are_refused() -> None:
    endless = (MaskFound(ObjectMask(MASK, (0, 5))) for _ in iter(int, 1))
    with pytest.raises(ValueError, match="more than 1000 objects"):
        list(checked_events(endless, (4, 6)))


def test_nothing_is_heard_after_the_end() -> None:
    def endless() -> Iterator[object]:
        yield Finished("", (), "end")
        while True:
            yield Finished("again", (), "end")

    assert list(checked_events(endless(), (4, 6))) == [Finished("", (), "end")]


def of_object(**changes: object) -> Finished:
    return Finished("[SEG]", (replace(ONE, **changes),), "end")  # type: ignore[arg-type]


def ending(**changes: object) -> Finished:
    return replace(Finished("[SEG]", (ONE,), "end"), **changes)  # type: ignore[arg-type]


WRONG: list[tuple[object, str]] = [
    *((of_object(score=one), "a score lies between 0 and 1") for one in (math.nan, math.inf, -math.inf, 1.01, -0.01)),
    (of_object(score=True), "score has True of type bool; a number is expected"),
    (of_object(score="0.9"), "score has a value of type str; a number is expected"),
    (of_object(score=np.array([0.1, 0.2])), "score has a value of type ndarray"),
    (of_object(mask=MASK.T), r"a mask of shape \(6, 4\) for an image of shape \(4, 6\)"),
    (of_object(mask=MASK.astype(np.uint8)), "a mask of uint8; bool is expected"),
    (of_object(mask=MASK.astype(np.float32)), "a mask of float32; bool is expected"),
    (of_object(mask=MASK.tolist()), "a value of type list as a mask; a numpy array is expected"),
    (of_object(mask=None), "None of type NoneType as a mask"),
    (of_object(refined=MASK[:2]), "a mask of shape"),
    (of_object(span=None), "span is None of type NoneType; 2 numbers are expected"),
    (of_object(span=(0, -1)), "span has -1 of type int; a whole number"),
    (of_object(span=(0, 2.5)), "span has 2.5 of type float; a whole number"),
    (of_object(span=(False, True)), "span has False of type bool; a whole number"),
    (of_object(box=(1, 2, 3)), "box is a value of type tuple; 4 numbers"),
    (of_object(box=("1", 2, 3, 4)), "box has a value of type str; a number"),
    (of_object(box=(0, 0, math.inf, 4)), "box has inf; a finite number is expected"),
    (of_object(score_calibrated="yes"), "score_calibrated is a value of type str; a bool"),
    (of_object(phrase=7), "phrase is 7 of type int; a str"),
    (of_object(attributes=None), "attributes are None of type NoneType; a mapping"),
    (of_object(evidence=3), "evidence is 3 of type int; a mapping of names to numbers"),
    (of_object(evidence={1: 0.5}), "evidence is a value of type dict; a mapping of names to numbers"),
    (of_object(evidence={"firmness": "high"}), "evidence 'firmness' has a value of type str; a number"),
    (of_object(evidence={"firmness": math.nan}), "evidence 'firmness' is NaN; a number"),
    (of_object(region="left"), "region is a value of type str; a Region"),
    (
        of_object(region=Region([[True]], (0, 0, 1, 1))),
        r"the model's region is a value of type list; a mask \(H', W'\)",
    ),  # type: ignore[arg-type]
    (of_object(region=Region(MASK.astype(np.uint8), (0, 0, 1, 1))), "a mask of uint8; bool is expected"),  # type: ignore[arg-type]
    (of_object(region=Region(MASK, (0, 0, 1))), "region's box is a value of type tuple; 4 numbers"),  # type: ignore[arg-type]
    (MaskFound(replace(ONE, mask=MASK[:2])), "a mask of shape"),
    (MaskFound(MASK), "a value of type ndarray as an object; an ObjectMask is expected"),  # type: ignore[arg-type]
    (TextDelta(b"x"), "text is a value of type bytes; a str"),  # type: ignore[arg-type]
    (ending(answer=None), "answer is None of type NoneType; a str"),
    (ending(answer="x" * 1_000_001), "answer has 1000001 characters; 1000000 are the most"),
    (ending(note=5), "note is 5 of type int"),
    (ending(model=5), "model is 5 of type int"),
    (ending(objects=None), "objects are None of type NoneType; a tuple"),
    (ending(objects=(MASK,)), "an ObjectMask is expected"),
    (ending(objects=(ONE,) * 1001), "1001 objects; 1000 are the most"),
    (ending(references=("a",)), "reference has a value of type str; a whole number"),
    (ending(references=(True,)), "reference has True of type bool; a whole number"),
    (ending(references=(1 << 80,)), "reference has 1208925819614629174706176 of type int; a whole number"),
    (ending(reason="whatever"), "for the reason 'whatever'; it can be end, length, cancelled"),
    ("hello", "yielded a value of type str; MaskFound, TextDelta or Finished is expected"),
    (TextDelta("x"), "the model's answer ended without Finished"),
]


@pytest.mark.parametrize(("event", "sentence"), WRONG)
def test_what_is_wrong_is_named(event: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as refused:
        checked(event)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("returned", [None, 7])
def test_a_model_that_returns_no_events(returned: object) -> None:
    with pytest.raises(ValueError, match=f"the model returned {returned} of type .*; an iterator of events"):
        list(checked_events(returned, (4, 6)))


def test_objects_and_turns_can_be_compared_and_hashed() -> None:
    """Arrays have no truth value and no hash, so objects are compared by identity."""
    one, other = (ObjectMask(MASK, (0, 5), region=Region(MASK, (0, 0, 1, 1))) for _ in range(2))
    assert one == one and one != other
    assert len({one, other, one}) == 2
    assert Turn("a", "[SEG]", (one,)) == Turn("a", "[SEG]", (one,)) != Turn("a", "[SEG]", (other,))
