# SPDX-License-Identifier: Apache-2.0
"""How many objects a command lists."""

import pytest

from lisa_ros.dialogue.listing import listed_objects

COMMANDS = {
    "the second of the three mugs": 1,
    "one of the two mugs and the plate": 2,
    "segment the mug and the duck and the ball": 3,
    "Please mark the blue bottle, the purple ring, and the yellow ring.": 3,
    "a mug, a duck, a ball or a cone": 4,
    "the mug & the duck & the ball": 3,
    "segment three mugs": 3,
    "the two mugs and the ball": 3,
    "the three mugs and the two balls": 5,
    "mug, duck, ball": 3,
    "Mug, duck and ball, please.": 3,
    "the mug, duck and ball": 3,
    "show me red mugs, yellow ducks and blue balls": 3,
    "small, round and red mug": 1,
    "a small red mug, duck": 2,
    "mug, and explain why": 1,
    "I am thirsty": 1,
    "the mug and the duck": 2,
    "the small, round and red mug": 1,
    "the ball between the mug and the bowl": 1,
    "the mug left of the plate": 1,
    "hand me something to drink from, please, and explain why": 1,
    "three of the mugs": 1,
    "杯子、鸭子和球": 1,
    "": 1,
    "🦆": 1,
}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_objects_that_a_command_lists(command: str) -> None:
    assert listed_objects(command) == COMMANDS[command]
