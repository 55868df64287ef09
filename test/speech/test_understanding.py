# SPDX-License-Identifier: Apache-2.0
"""The wake phrase, control phrases, questions to the operator."""

from collections.abc import Iterator

import pytest

from lisa_ros.speech.language.correction import Corrector
from lisa_ros.speech.language.phrases import Meaning, WakePhrase, control
from lisa_ros.speech.language.understanding import Understanding, Understood
from lisa_ros.speech.language.vocabulary import Vocabulary
from lisa_ros.speech.options import ALWAYS, PUSH_TO_TALK, Rules
from lisa_ros.speech.recognition.recognizer import Recognition

TABLE = Vocabulary.of_phrases(["give me the blue bottle", "where is the red mug"], closed=True)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Operator:
    """Says texts to an Understanding."""

    def __init__(self, rules: Rules) -> None:
        self.clock = Clock()
        self.understanding = Understanding(rules, Corrector(TABLE), self.clock)
        self.read = 0

    def say(self, *readings: str, held: bool = False, confidence: float | None = None) -> Understood:
        self.read = 0

        def made() -> Iterator[Recognition]:
            for text in readings:
                self.read += 1
                yield Recognition(text, confidence)

        return self.understanding.understand(made(), held=held)


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("Hey robot, give me the mug.", "give me the mug."),
        ("Hey, Robot! Where is it?", "Where is it?"),
        ("Hey robots give me that", "give me that"),
        ("Hey row bot, give me that.", "give me that."),
        ("Hay robot, give me that.", "give me that."),
        ("A robot may not injure people.", None),
        ("Um hey robot stop", "stop"),
        ("Hey robot.", ""),
        ("hey robots", ""),
        ("HEY, ROBOT! Hey robot. Give me the mug.", "Give me the mug."),
        ("Hey robot, hey robot.", ""),
        ("I told him: hey robot, give me the mug.", None),
        ("Give me the mug, hey robot.", None),
        ("Give me the mug.", None),
        ("Hey Robert and I went home.", None),
        ("Hey, where are you?", None),
        ("The robot is broken.", None),
        ("", None),
    ],
)
def test_the_wake_phrase_is_found_where_it_was_written_a_little_differently(text: str, rest: str | None) -> None:
    assert WakePhrase("hey robot").after(text) == rest


def test_any_phrase_can_wake() -> None:
    assert WakePhrase("okay Turtle").after("OK turtle, stop.") == "stop."
    assert WakePhrase("Pepper").after("Pepper, come here") == "come here"
    assert WakePhrase("robot").after("Robot, the robot on the left") == "the robot on the left"
    with pytest.raises(ValueError, match="no word"):
        WakePhrase(" ... ")


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("Stop!", Meaning.STOP),
        ("Stop, stop, stop.", Meaning.STOP),
        ("Cancel that, please.", Meaning.STOP),
        ("Cancell.", Meaning.STOP),
        ("Start over.", Meaning.RESET),
        ("Forget that.", Meaning.RESET),
        ("Yes, please.", Meaning.YES),
        ("No.", Meaning.NO),
        ("STOP", Meaning.STOP),
        ("Stop it, stop it!", Meaning.STOP),
        ("Um, stop. Stop. Cancel that!", Meaning.STOP),
        ("No, stop.", Meaning.STOP),
        ("Forget that... forget that.", Meaning.RESET),
        ("No, start over, start over.", Meaning.RESET),
        ("Yes, yes, that\u2019s right.", Meaning.YES),
        ("NO NO NO", Meaning.NO),
        ("Yes, no.", None),
        ("light", None),
        ("about", None),
        ("preset", None),
        ("Don't stop.", None),
        ("stop " * 40, Meaning.STOP),
        ("Stop the red car.", None),
        ("No, the red one.", None),
        ("the top", None),
    ],
)
def test_control_phrases(text: str, meaning: Meaning | None) -> None:
    assert control(text) is meaning


def test_only_what_follows_the_wake_phrase_is_a_command() -> None:
    operator = Operator(Rules())
    ignored = operator.say("Give me the blue bottle.")
    assert (ignored.meaning, ignored.used) == (Meaning.IGNORED, "")
    assert "wake phrase" in ignored.detail
    command = operator.say("Hey robot, give me the blue battle.", "Hey robot, give me the blue bottle.")
    assert (command.meaning, command.used) == (Meaning.COMMAND, "give me the blue bottle.")
    assert operator.say("Stop!").meaning is Meaning.STOP
    assert operator.say("Start over.").meaning is Meaning.IGNORED
    assert operator.say("Hey robot, start over.").meaning is Meaning.RESET


def test_the_wake_phrase_alone_opens_the_next_utterance_for_some_seconds() -> None:
    operator = Operator(Rules())
    assert operator.say("Hey robot.").meaning is Meaning.WAKE
    assert operator.say("Where is the red mug?").meaning is Meaning.COMMAND
    assert operator.say("Where is the red mug?").meaning is Meaning.IGNORED
    operator.say("Hey robot.")
    operator.clock.now += 9.0
    assert operator.say("Where is the red mug?").meaning is Meaning.IGNORED


def test_without_a_wake_phrase_a_button_or_always() -> None:
    assert Operator(Rules(listen=ALWAYS)).say("Where is the red mug?").meaning is Meaning.COMMAND
    button = Operator(Rules(listen=PUSH_TO_TALK))
    assert "No button" in button.say("Where is the red mug?").detail
    assert button.say("Where is the red mug?", held=True).meaning is Meaning.COMMAND
    assert button.say("", held=True).detail == "No words were heard."


def test_below_a_confidence_the_operator_is_asked() -> None:
    operator = Operator(Rules(confirm_below=0.97))
    unsure = operator.say("Hey robot, give me the glue battle.")
    assert (unsure.meaning, unsure.detail) == (Meaning.UNSURE, "Did you say: give me the blue bottle?")
    yes = operator.say("Yes.")
    assert (yes.meaning, yes.used, yes.heard) == (Meaning.COMMAND, unsure.used, unsure.heard)
    assert operator.say("Yes.").meaning is Meaning.IGNORED
    operator.say("Hey robot, give me the glue battle.")
    assert operator.say("No.").meaning is Meaning.NO
    assert operator.say("Give me the blue bottle.").meaning is Meaning.COMMAND
    operator.say("Hey robot, give me the glue battle.")
    operator.clock.now += 16.0
    assert operator.say("Yes.").meaning is Meaning.IGNORED


def test_the_recognisers_own_confidence_counts() -> None:
    operator = Operator(Rules(listen=ALWAYS, confirm_below=0.5))
    assert operator.say("Where is the red mug?", confidence=0.4).meaning is Meaning.UNSURE
    assert operator.say("Where is the red mug?", confidence=0.9).confidence == pytest.approx(0.9)


def test_further_readings_are_made_only_where_the_first_does_not_fit() -> None:
    operator = Operator(Rules(listen=ALWAYS))
    operator.say("Where is the red mug?", "never", "never")
    assert operator.read == 1
    best = operator.say("Where is the bread mud?", "Where is the red mug?", "never")
    assert (best.used, operator.read) == ("Where is the red mug?", 2)
