# SPDX-License-Identifier: Apache-2.0
"""Sound that is not for the robot: how many commands it makes of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lisa_ros.benchmark.speech.commands import tables
from lisa_ros.benchmark.speech.sounds import fan, speak
from lisa_ros.models.loading import embedded_checkpoint
from lisa_ros.speech.audio.samples import RATE, Samples
from lisa_ros.speech.audio.utterances import Utterances
from lisa_ros.speech.audio.voice_activity import SileroActivity
from lisa_ros.speech.language.correction import Corrector
from lisa_ros.speech.language.phrases import Meaning
from lisa_ros.speech.language.understanding import Understanding
from lisa_ros.speech.language.vocabulary import model_vocabulary
from lisa_ros.speech.listener import Final, Listener
from lisa_ros.speech.options import Rules
from lisa_ros.speech.recognition.loading import load_recognizer

_BLOCK = RATE // 20

SENTENCES = (
    "The robot in the next room has been repaired, and it works again.",
    "Hey Robert, did you see the report about the new camera?",
    "I put the red mug on the table this morning, and now it is gone.",
    "Could you hand me the blue bottle, please? Thank you very much.",
    "We should stop for lunch at noon, and then start over with the second part.",
    "They forgot to close the window, so the papers flew all over the place.",
    "Say hello to your brother, and tell him that the road is closed.",
    "Yes, I think so. No, not that one, the other one.",
    "A robot may not injure a human being.",
    "Hey, what a nice day! Where are the keys to the car?",
    "The children built a tower of bricks, and then the ball knocked it over.",
    "Please segment the market into four groups, and show me the results.",
)
"""What people say to each other; some come near to what the robot listens for."""


def overheard(seconds: float, voice: str) -> Iterator[Samples]:
    """So many seconds of people who talk, commands to somebody else among them."""
    texts = [*SENTENCES, *(text for table in tables() for text in table.commands)]
    said = [speak(text, voice) for text in texts]
    rng = np.random.default_rng(0)
    count = 0
    while count < seconds * RATE:
        pause = np.zeros(round(rng.uniform(0.2, 1.5) * RATE), dtype=np.float32)
        sound = np.concatenate([said[rng.integers(len(said))], pause])
        count += len(sound)
        yield sound


def noise(seconds: float) -> Iterator[Samples]:
    """So many seconds of a fan, of bangs and of hum whose level changes, ten seconds at a time."""
    rng = np.random.default_rng(1)
    for start in range(0, round(seconds), 10):
        sound = fan(10 * RATE, rng) * np.float32(rng.uniform(0.005, 0.1))
        if start % 20:
            for _ in range(8):
                begin, length = rng.integers(0, 9 * RATE), rng.integers(RATE // 50, RATE // 4)
                decay = np.exp(-np.arange(length) / (length / 5))
                sound[begin : begin + length] += (0.5 * rng.standard_normal(length) * decay).astype(np.float32)
        yield np.clip(sound, -1, 1)


def count_meanings(sounds: Iterator[Samples], rules: Rules) -> dict[str, int]:
    """How often each meaning was understood, without ROS and faster than real time."""
    understanding = Understanding(rules, Corrector(model_vocabulary(embedded_checkpoint())))
    listener = Listener(load_recognizer(), Utterances(SileroActivity()), understanding)
    counts = {meaning.value: 0 for meaning in Meaning}
    for sound in sounds:
        for start in range(0, len(sound), _BLOCK):
            for event in listener.feed(sound[start : start + _BLOCK], RATE, 0):
                if isinstance(event, Final):
                    counts[event.understood.meaning.value] += 1
    return counts
