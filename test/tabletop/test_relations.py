# SPDX-License-Identifier: Apache-2.0
"""Questions that compare objects, on tables laid out by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from lisa_ros.simulation.scene import KINDS, Camera, SceneObject, View
from lisa_ros.tabletop.questions import phrasings as say
from lisa_ros.tabletop.questions.conversation import Question, conversation, questions
from lisa_ros.tabletop.questions.descriptions import VisibleObjects, middle
from lisa_ros.tabletop.questions.relations import in_place, is_reserved

Thing = tuple[str, str, float, float, float]
"""Kind, colour, x to the right and z away from the camera (metres), size (metres)."""


def laid_out(*items: Thing, mirrored: bool = False) -> View:
    """A view by a camera at the origin: squares of 1 pixel a centimetre, whatever their distance."""
    instances = np.zeros((60, 200), dtype=np.uint8)
    objects = []
    for number, (kind, colour, x, z, size) in enumerate(items, start=1):
        half = round(50 * size)
        column, row = round(100 * x), 30
        instances[row - half : row + half, column - half : column + half] = number
        objects.append(SceneObject(number, kind, colour, (size, size, size), (x, 0.0, z)))
    if mirrored:
        instances = np.ascontiguousarray(instances[:, ::-1])
    camera = Camera(200, 60, np.eye(3), np.eye(4))
    rgb, depth = np.zeros((60, 200, 3), np.uint8), np.ones((60, 200), np.float32)
    return View(rgb, depth, instances, tuple(objects), camera)


ROW = laid_out(
    ("ball", "red", 0.2, 1.0, 0.1),
    ("duck", "yellow", 0.6, 1.0, 0.1),
    ("ball", "blue", 1.5, 1.2, 0.3),
    ("cube", "yellow", 1.8, 1.1, 0.15),
)


def visible(view: View) -> VisibleObjects:
    return VisibleObjects(view, 10)


def ask(
    view: View, family: str, count: int = 200, *, learning: bool = False, all_combinations: bool = False
) -> list[Question]:
    rng = np.random.default_rng(3)
    how = {"min_pixels": 10, "learning": learning, "all_combinations": all_combinations}
    sets = (conversation(view, rng, 1, weights={family: 1.0}, **how) for _ in range(count))  # type: ignore[arg-type]
    return [question for one in sets for question in one]


@pytest.mark.parametrize(
    ("place", "anchor", "meant"),
    [("left of", 2, 1), ("right of", 3, 4), ("in front of", 4, None), ("behind", 4, 3), ("next to", 4, 3)],
)
def test_what_lies_where(place: str, anchor: int, meant: int | None) -> None:
    others = [item for item in ROW.objects if item.instance != anchor]
    found = in_place(visible(ROW), place, others, ROW.objects[anchor - 1])
    assert (found and found.instance) == meant


def test_a_mirrored_image_swaps_left_and_right_and_nothing_else() -> None:
    items = (("duck", "yellow", 0.5, 1.0, 0.1), ("cube", "red", 1.0, 1.2, 0.1))
    for mirrored, place in ((False, "right of"), (True, "left of")):
        view = laid_out(*items, mirrored=mirrored)
        assert in_place(visible(view), place, view.objects[1:], view.objects[0]) is view.objects[1]
        assert in_place(visible(view), "behind", view.objects[1:], view.objects[0]) is view.objects[1]


def test_doubtful_places_are_not_asked_for() -> None:
    view = laid_out(("duck", "yellow", 0.5, 1.0, 0.2), ("cube", "red", 0.54, 1.01, 0.1))
    for place in ("left of", "right of", "in front of", "behind"):
        assert in_place(visible(view), place, view.objects[1:], view.objects[0]) is None
    even = laid_out(("duck", "red", 0.5, 1.0, 0.1), ("cube", "red", 1.0, 1.0, 0.1), ("mug", "red", 1.5, 1.0, 0.1))
    neighbours = (even.objects[0], even.objects[2])
    assert in_place(visible(even), "next to", neighbours, even.objects[1]) is None


def test_the_ball_left_of_the_duck() -> None:
    asked = {q.instances for q in ask(ROW, "relation") if "the ball left of the duck" in q.text.lower()}
    assert asked == {(1,)}


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("the smallest yellow thing", 2),
        ("the biggest ball", 3),
        ("the leftmost yellow thing", 2),
        ("the rightmost ball", 3),
        ("the nearest yellow thing", 2),
        ("the farthest ball", 3),
    ],
)
def test_superlatives(words: str, meant: int) -> None:
    asked = {q.instances for q in ask(ROW, "attribute", 600) if words in q.text.lower()}
    assert asked == {(meant,)}


def test_nobody_asks_for_the_smallest_of_two_alike() -> None:
    twins = laid_out(("ball", "red", 0.5, 1.0, 0.2), ("ball", "blue", 1.01, 1.0, 0.21))
    assert not [q for q in ask(twins, "attribute") if "smallest" in q.text or "biggest" in q.text]


def test_reserved_pairs_are_only_asked_in_evaluation() -> None:
    share = np.mean([is_reserved(*pair) for pair in product(KINDS, KINDS)])
    assert 0.1 < share < 0.2
    first, second = next(pair for pair in product(KINDS, KINDS) if is_reserved(*pair) and pair[0] != pair[1])
    view = laid_out((first, "red", 0.5, 1.0, 0.1), (second, "blue", 1.0, 1.3, 0.1))
    told = {q.instances for q in ask(view, "relation")}
    learned = {q.instances for q in ask(view, "relation", learning=True)}
    assert (1,) in told and (1,) not in learned
    every = {q.instances for q in ask(view, "relation", learning=True, all_combinations=True)}
    assert every == told


def test_a_follow_up_leans_on_the_place_of_what_was_meant_before() -> None:
    rng = np.random.default_rng(0)
    checked = 0
    for _ in range(400):
        for before, question in zip(*[iter(conversation(ROW, rng, 2, min_pixels=10))] * 2, strict=False):
            places = [p for p, ways in say.PLACES.items() if any(f"{words} it" in question.text for words in ways)]
            if question.follows and places:
                anchor = ROW.objects[before.instances[0] - 1]
                others = [item for item in ROW.objects if item is not anchor]
                item = in_place(visible(ROW), places[0], others, anchor)
                assert item is not None and question.instances == (item.instance,)
                checked += 1
    assert checked > 20


def test_the_middle_of_things() -> None:
    assert middle(ROW, 1) == (0.1, 0.5)
    with pytest.raises(ValueError, match="not in the image"):
        middle(ROW, 9)


def test_new_families_open_dialogues() -> None:
    asked = questions(ROW, np.random.default_rng(0), 50, min_pixels=10, weights={"attribute": 1.0, "relation": 1.0})
    assert {q.family for q in asked} == {"attribute", "relation"}
