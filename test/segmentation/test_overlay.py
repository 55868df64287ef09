# SPDX-License-Identifier: Apache-2.0
"""Overlays: what they must keep of the image, and what they must show."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from lisa_ros.segmentation import lettering
from lisa_ros.segmentation.lettering import PALETTE, Lettering, colour_of, font_for, readable_on
from lisa_ros.segmentation.overlay import draw_overlay

BLUE = (30, 60, 200)


def scene(width: int = 320, height: int = 240) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 90, dtype=np.uint8)


def box(x: int, y: int, w: int, h: int, width: int = 320, height: int = 240) -> NDArray[np.bool_]:
    mask = np.zeros((height, width), dtype=np.bool_)
    mask[y : y + h, x : x + w] = True
    return mask


def test_an_object_keeps_its_own_colour() -> None:
    """Most pixels inside the outline are untouched: a blue mug stays blue."""
    image, mask = scene(), box(100, 80, 80, 60)
    image[mask] = BLUE
    drawn = draw_overlay(image, [mask])
    inside = drawn[86:134, 106:174]
    assert (inside == BLUE).all(axis=2).mean() > 0.75
    assert ((inside != BLUE).any(axis=2)).mean() > 0.05, "hatching shows where the object is"
    assert (image[mask] == BLUE).all(), "the image itself is not changed"


def test_every_object_has_its_own_outline_and_nothing_far_away_is_drawn() -> None:
    masks = [box(20, 60, 50, 50), box(130, 60, 50, 50), box(240, 60, 50, 50)]
    drawn = draw_overlay(scene(), masks)
    for number, x in enumerate((20, 130, 240), start=1):
        edge = drawn[70:100, x - 2 : x + 3].reshape(-1, 3).astype(int)
        assert np.abs(edge - colour_of(number)).max(axis=1).min() < 30
    assert (drawn[180:] == 90).all()


def test_without_masks_and_caption_the_image_is_unchanged() -> None:
    assert np.array_equal(draw_overlay(scene(), [], " "), scene())
    empty = np.zeros((240, 320), dtype=np.bool_)
    assert np.array_equal(draw_overlay(scene(), [empty], "", ["nothing"]), scene())


def test_the_band_shows_the_caption_and_grows_with_it() -> None:
    image = scene()
    one, two = draw_overlay(image, [], "anna: the red mug"), draw_overlay(image, [], "anna: the red mug\n① It is red.")
    assert image.shape[0] < one.shape[0] < two.shape[0]
    assert np.array_equal(one[:240], image)
    badge = two[240:].reshape(-1, 3)
    assert (badge == colour_of(1)).all(axis=1).any(), "the number has its object's colour"
    endless = draw_overlay(image, [], "word " * 3000 + "\n" + "word " * 3000)
    assert endless.shape[0] < 240 + 10 * Lettering(13).line_px


def test_a_text_without_spaces_is_cut_into_lines_in_little_time() -> None:
    """As Chinese is written; most of a very long text is not shown."""
    began_s = time.process_time()
    lines = Lettering(13).wrapped("mw" * 25_000, 100, 4)
    assert time.process_time() - began_s < 2.0
    assert len(lines) == 4 and lines[-1].endswith("…") and not any(line.endswith("…") for line in lines[:-1])
    assert all(Lettering(13).width(line) <= 100 < Lettering(13).width(line + "mw") for line in lines[:3])
    assert Lettering(13).wrapped("mm", 1, 4) == ["m", "m"], "at least one letter a line"


def test_a_very_long_name_is_shortened_in_little_time() -> None:
    began_s = time.process_time()
    text = Lettering(13).shortened("① " + 10_000 * "red mug ", 100)
    assert time.process_time() - began_s < 2.0
    assert text.startswith("① red mug") and text.endswith("…") and Lettering(13).width(text) <= 100
    assert Lettering(13).width(text + "mm") > 100 and Lettering(13).shortened("mug", 100) == "mug"


def test_a_word_that_fits_is_not_cut() -> None:
    for word in ("m", 15 * "m", 16 * "m", 17 * "m", 40 * "m"):
        width = Lettering(13).width(word)
        assert Lettering(13).wrapped(word, width, 4) == [word]
        assert Lettering(13).wrapped(word, width - 1, 4) == ([word[:-1], "m"] if len(word) > 1 else [word])


@pytest.mark.parametrize("text", ["größer", "кружка", "naïve “quoted”", "αβγ"])
def test_letters_beyond_ascii_are_drawn(text: str) -> None:
    """Each letter has a shape of its own, not that of a missing character."""
    font = font_for(text, 20)
    missing = bytes(font.getmask("\U0010ffff"))
    assert all(bytes(font.getmask(letter)) != missing for letter in text if not letter.isspace())


def test_without_any_font_file_ascii_can_still_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lettering, "_found_fonts", lambda: ())
    assert draw_overlay(scene(), [], "the red mug").shape[0] > 240


def test_labels_stand_inside_the_image_and_apart_from_each_other() -> None:
    """Objects in all corners and one that fills the image."""
    masks = [box(0, 0, 30, 30), box(290, 0, 30, 30), box(0, 210, 30, 30), box(290, 210, 30, 30), box(0, 0, 320, 240)]
    phrases = [f"a phrase that is far too long for the image, number {i}" for i in range(len(masks))]
    drawn = draw_overlay(scene(), masks, labels=phrases)
    assert drawn.shape == scene().shape
    for number in range(1, 5):
        assert (drawn == colour_of(number)).all(axis=2).sum() > 100, "badge and outline"


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 200), (200, 3), (40, 60)])
def test_tiny_images(height: int, width: int) -> None:
    mask = np.ones((height, width), dtype=np.bool_)
    drawn = draw_overlay(np.zeros((height, width, 3), np.uint8), [mask, mask], "a caption\nwith text", ["one", "two"])
    assert drawn.shape[1] == width and drawn.shape[0] > height


def test_colours_differ_for_people_with_colour_blindness() -> None:
    """Okabe and Ito's palette: also without red-green contrast (mean of both) each pair differs in luma or blue."""
    for one, other in itertools.combinations(PALETTE, 2):
        luma = abs(one[0] + one[1] - other[0] - other[1]) / 2
        assert luma + abs(one[2] - other[2]) > 40
    assert len({colour_of(number) for number in range(1, 8)}) == 7 and colour_of(8) == colour_of(1)


@pytest.mark.parametrize(("colour", "text"), [((240, 228, 66), (0, 0, 0)), ((0, 114, 178), (255, 255, 255))])
def test_numbers_are_readable_on_their_badges(colour: tuple[int, int, int], text: tuple[int, int, int]) -> None:
    assert readable_on(colour) == text
