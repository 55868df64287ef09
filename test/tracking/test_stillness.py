# SPDX-License-Identifier: Apache-2.0
"""Which images count as the same still scene, on the simulated table and with a noisy sensor."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lisa_ros.simulation.tabletop import Tabletop
from lisa_ros.tracking.stillness import largest_difference, same_scene

LIMIT = 6.0
"""The node's default of same_frame_difference."""

RgbImage = NDArray[np.uint8]


@pytest.fixture(scope="module")
def table() -> RgbImage:
    with Tabletop(3) as table:
        return table.render().rgb


def noisy(image: RgbImage, sigma: float, seed: int) -> RgbImage:
    noise = np.random.default_rng(seed).normal(0.0, sigma, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def with_object(image: RgbImage, x: int, y: int, levels: int = 40) -> RgbImage:
    """The image with an object of 12 x 12 pixels that differs from its surroundings."""
    changed = image.astype(int)
    changed[y : y + 12, x : x + 12] += np.where(changed[y : y + 12, x : x + 12] > 127, -levels, levels)
    return changed.astype(np.uint8)


@pytest.mark.parametrize("sigma", [2.0, 5.0])
def test_noise_is_no_change(table: RgbImage, sigma: float) -> None:
    first, second = noisy(table, sigma, 1), noisy(table, sigma, 2)
    assert not np.array_equal(first, second) and same_scene(first, second, LIMIT)


@pytest.mark.parametrize("position", [(0, 0), (628, 468), (321, 243), (200, 300)], ids=str)
def test_a_small_object_is_a_change(table: RgbImage, position: tuple[int, int]) -> None:
    without, with_it = noisy(table, 5.0, 1), noisy(with_object(table, *position), 5.0, 2)
    assert not same_scene(without, with_it, LIMIT) and not same_scene(with_it, without, LIMIT)


@pytest.mark.parametrize("step", [(3, 0), (0, -3), (2, 2)], ids=str)
def test_a_small_object_that_moves_is_a_change(table: RgbImage, step: tuple[int, int]) -> None:
    before = noisy(with_object(table, 324, 246), 5.0, 1)
    after = noisy(with_object(table, 324 + step[0], 246 + step[1]), 5.0, 2)
    assert not same_scene(before, after, LIMIT)


def test_an_object_that_moves_by_two_millimetres_is_a_change() -> None:
    with Tabletop(3) as table:
        before = table.render().rgb
        body = table._bodies[0].body
        (x, y, z), attitude = table._bullet.getBasePositionAndOrientation(body)
        table._bullet.resetBasePositionAndOrientation(body, (x, y + 0.002, z), attitude)
        after = table.render().rgb
    assert not same_scene(before, after, LIMIT)


def test_slowly_changing_light_becomes_a_change(table: RgbImage) -> None:
    grey = (table // 2) + 40
    drifted = [same_scene(grey, grey + np.uint8(levels), LIMIT) for levels in range(1, 10)]
    assert drifted == [True] * 6 + [False] * 3


def test_one_channel_is_enough(table: RgbImage) -> None:
    bluer = table // 2
    bluer[100:108, 100:108, 2] += 10
    assert largest_difference(table // 2, bluer) == pytest.approx(10.0)


def test_with_limit_0_only_an_identical_image_is_the_same_scene(table: RgbImage) -> None:
    chequered = table // 2
    # Its squares have the same means, so a comparison of means alone would call it the same.
    chequered[::2] += 1
    chequered[1::2] -= np.minimum(chequered[1::2], 1)
    assert same_scene(table, table.copy(), 0.0)
    assert not same_scene(table // 2, chequered, 0.0)


def test_another_size_is_another_scene(table: RgbImage) -> None:
    assert not same_scene(table, table[:-1], 255.0)
    assert not same_scene(table, np.ascontiguousarray(table[:, :-8]), 255.0)


def test_images_smaller_than_a_square_are_compared() -> None:
    small = np.full((3, 5, 3), 100, np.uint8)
    assert same_scene(small, small + np.uint8(6), LIMIT) and not same_scene(small, small + np.uint8(7), LIMIT)
