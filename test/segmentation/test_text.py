# SPDX-License-Identifier: Apache-2.0
"""Explanations of raw answers, and details that are safe to print and to publish."""

from __future__ import annotations

import pytest

from lisa_ros.segmentation.text import (
    MAX_DETAIL,
    detail_of,
    explanation_of,
    number_symbol,
    score_text,
    spoken_explanation,
)


@pytest.mark.parametrize(
    ("answer", "explanation"),
    [
        ("Sure, [SEG]  .", "Sure, ①."),
        ("[SEG].", ""),
        ("[SEG]  [SEG] .</s>", "① ②.</s>"),
        ("[SEG]  . The red cone.", "① The red cone."),
        ("[SEG] and [SEG] . The cubes.", "① and ② The cubes."),
        ("It is [SEG] . The mug is something to drink from.", "It is ①. The mug is something to drink from."),
        ("There is no mug here.", "There is no mug here."),
        ("[SEG] and [SEG] , both red.", "① and ②, both red."),
        ("The red [SEG] and the blue [SEG] ; the green", "The red ① and the blue ②; the green"),
        ("[SEG]<image_id> <p>red square</p> [SEG] and [SEG]<image_id> <p>dot</p> [SEG].", "① red square and ② dot."),
        ("", ""),
    ],
)
def test_an_explanation_has_the_numbers_of_its_objects(answer: str, explanation: str) -> None:
    assert explanation_of(answer) == explanation


def test_a_mark_without_an_object_is_removed_and_the_others_are_renumbered() -> None:
    answer = "The red [SEG] , the blue [SEG] ."
    first, second = (8, 13), (25, 30)
    assert [answer[slice(*span)] for span in (first, second)] == ["[SEG]", "[SEG]"]
    assert explanation_of(answer, [first, second]) == "The red ①, the blue ②."
    assert explanation_of(answer, [second]) == "The red, the blue ①."
    assert explanation_of(answer, []) == "The red, the blue."


def test_numbers_beyond_twenty() -> None:
    assert (number_symbol(20), number_symbol(21)) == ("⑳", "(21)")
    many = explanation_of("all: " + "[SEG] " * 22)
    assert many.endswith("⑳ (21) (22)")
    assert spoken_explanation(many).endswith("object 20 object 21 object 22")


@pytest.mark.parametrize(
    ("explanation", "spoken"),
    [
        ("① The red cone.", "The red cone."),
        ("It is ①. The mug is something to drink from.", "It is object 1. The mug is something to drink from."),
        ("① and ②, both red.", "object 1 and object 2, both red."),
        ("The mug (3) is red.", "The mug (3) is red."),
    ],
)
def test_an_explanation_can_be_read_aloud(explanation: str, spoken: str) -> None:
    assert spoken_explanation(explanation) == spoken


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("two\nlines\r\n and\ttabs", "two lines and tabs"),
        ("\x1b[31mred\x1b[0m \x07\x00", "[31mred [0m"),
        ("a lone \udce9 surrogate", "a lone ? surrogate"),
        ("right to left \u202e override", "right to left override"),
        ("größer als 5 µm — 红", "größer als 5 µm — 红"),
        ("", ""),
    ],
)
def test_a_detail_is_one_clean_line(text: str, detail: str) -> None:
    assert detail_of(text) == detail


def test_a_detail_is_cut() -> None:
    exact = "x" * MAX_DETAIL
    assert detail_of(exact) == exact
    cut = detail_of("word " * 20_000)
    assert len(cut) <= MAX_DETAIL and cut.endswith("word…")


def test_a_score_without_a_calibration_is_marked() -> None:
    assert score_text(0.964, calibrated=False) == "score 0.96 (not calibrated)"
    assert score_text(0.964, calibrated=True, digits=3) == "score 0.964"
