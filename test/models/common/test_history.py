# SPDX-License-Identifier: Apache-2.0
"""Which turns of a dialogue fit into the context, with few prompts tried."""

from __future__ import annotations

import pytest

from lisa_ros.models.common.answers.segmenter import first_turn_that_fits
from lisa_ros.segmentation.answers import CommandError


@pytest.mark.parametrize("limit", [0, 1, 3, 4, 10, 500])
@pytest.mark.parametrize("lengths", [(), (5,), (5, 0, 3), (0, 0, 0), (400, 1, 1, 1), (1,) * 30])
def test_the_newest_turns_that_fit_are_kept(lengths: tuple[int, ...], limit: int) -> None:
    def free(first: int) -> int:
        return 100 - 60 - sum(lengths[first:])

    longest = min(30, limit or 30)
    expected = next((first for first in range(len(lengths)) if sum(lengths[first:]) <= longest), len(lengths))
    assert first_turn_that_fits(len(lengths), free, 10, limit) == expected


def test_a_thousand_turns_take_a_dozen_prompts() -> None:
    tried: list[int] = []

    def free(first: int) -> int:
        tried.append(first)
        return 200 - 2 * (1000 - first)

    assert first_turn_that_fits(1000, free, 0, 0) == 900
    assert len(tried) <= 13


def test_a_command_that_does_not_fit_alone_is_refused() -> None:
    with pytest.raises(CommandError, match="too long for the model by 7 tokens"):
        first_turn_that_fits(3, lambda _: 3, 10, 0)
