# SPDX-License-Identifier: Apache-2.0
"""Which commands SAM 3 takes, and the name that it is given; the others get a sentence."""

from __future__ import annotations

import pytest

from lisa_ros.models.sam3.names import NAMES_ONLY, ONE_NAME, name_in, why_no_name

NAMED = {
    "the can": "can",
    "the soda can": "soda can",
    "Where is the can opener?": "can opener",
    "find the stop sign": "stop sign",
    "the turn signals": "turn signals",
    "a go-kart": "go-kart",
    "the red mug": "red mug",
    "Can you find every red mug, please?": "red mug",
    "show me the yellow bottle": "yellow bottle",
    "where is my phone": "phone",
    "Where are the screws?": "screws",
    "segment the cup on the table": "cup",
    "pick up the screwdriver next to the hammer": "screwdriver",
    "the left-most mug": "left-most mug",
    "the mug on the left": "mug",
    "the second bottle from the right": "second bottle",
    "all the people wearing hats": "people wearing hats",
    "a person riding a bicycle": "person riding a bicycle",
    "is there a mug on the table?": "mug",
    "are there any apples?": "apples",
    "do you see a cat": "cat",
    "I need a tool to cut paper": "tool",
    "the handle of the mug": "handle",
    "the mug's handle": "mug's handle",
    "coffee machine": "coffee machine",
    "robot arm": "robot arm",
    "traffic lights that are green": "traffic lights",
    "the green traffic light": "green traffic light",
    "put the mug on the plate": "mug",
    "the transparent plastic water bottle with a blue cap": "transparent plastic water bottle",
    "the small old rusty metal bolt head": "small old rusty metal bolt head",
    "find the Philips screwdriver": "philips screwdriver",
    "Kitchen knife!!": "kitchen knife",
    "find the mug that is broken": "mug",
    "the cups that somebody could drink from": "cups",
    "the white car closest to the tree": "white car",
    "track the red ball": "red ball",
    "follow the person in the blue jacket": "person",
    "go to the charging station": "charging station",
    "door handle": "door handle",
    "a red and white ball": "red-and-white ball",
    "black-and-white cat": "black-and-white cat",
    "number 5": "number 5",
    "three screws": "screws",
    "fruit": "fruit",
    "left shoe": "left shoe",
    "finde die rote Tasse": "finde die rote tasse",
    "红色的杯子": "红色的杯子",
    "Show where the exit is": "exit",
    "unhealthy food": "unhealthy food",
    "the tallest person": "tallest person",
    "can you see the mug?": "mug",
    "could you please bring me the remote control": "remote control",
    "I'd like the orange juice": "orange juice",
    "the driver's seat": "driver's seat",
    "the mug and explain why": "mug",
    "take the screwdriver and put it into the box": "screwdriver",
    "the mug, please": "mug",
    "the mug, which is red": "mug",
    "the mug, left of the plate": "mug",
    "the red mug. Explain why.": "red mug",
    "the check-in desk": "check-in desk",
    "the pick-up truck": "pick-up truck",
    "a green and yellow lego brick": "green-and-yellow lego brick",
}
SEVERAL = (
    "dogs and cats",
    "the dog and the cat",
    "red mug, blue plate",
    "the mug or the bowl",
    "cups, plates and bowls",
    "hand me the mug and the spoon, please",
)
REASONED = (
    "can it fly",
    "can the robot fly?",
    "what can be eaten",
    "stop the robot",
    "turn off the light",
    "go home",
    "what can I use to open a bottle?",
    "what is dangerous here",
    "What is the object that can hold water?",
    "something to drink from",
    "which object is edible?",
    "who is sitting?",
    "how many mugs are there?",
    "how many mugs do you see",
    "Is the door open?",
    "why is the floor wet",
    "I want to write something down",
    "I am thirsty",
    "give me the thing that you use for cutting",
    "can you give me something sweet",
    "mug not on the plate",
    "everything except the mug",
    "anything blue",
    "the other one",
    "that one",
    "it",
    "pick it up",
    "stop",
    "hello",
    "thank you",
    "turn left",
    "the thing under the table",
    "segment everything",
    "segment all objects",
    "objects",
    "what is this",
    "what are these?",
    "describe the image",
    "tell me about the mug",
    "what colour is the mug?",
    "explain why the mug is red",
    "please",
    "the",
    "which of the mugs is the cleanest?",
    "what should I press to call the elevator?",
    "Who is the tallest?",
    "what does the robot hold",
    "the mug without a handle",
)


@pytest.mark.parametrize("command", NAMED)
def test_a_command_is_reduced_to_its_name(command: str) -> None:
    assert name_in(command) == NAMED[command]


@pytest.mark.parametrize("command", SEVERAL)
def test_several_names_are_not_reduced_to_the_first(command: str) -> None:
    assert name_in(command) is None and why_no_name(command) == ONE_NAME


@pytest.mark.parametrize("command", REASONED)
def test_what_must_be_reasoned_about_is_no_name(command: str) -> None:
    assert name_in(command) is None and why_no_name(command) == NAMES_ONLY
