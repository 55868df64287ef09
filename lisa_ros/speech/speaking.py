# SPDX-License-Identifier: Apache-2.0
"""Spoken answers: the sentence, and the program that speaks it."""

from __future__ import annotations

import math
import shlex
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence

from lisa_ros.speech.extra import SpeechError
from lisa_ros.speech.options import ESPEAK, NONE

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_LONGEST = 400
_LONGEST_S = 60.0


def answer_sentence(explanation: str, distances_m: Sequence[float | None], centroids_u: Sequence[float]) -> str:
    """What is said of an answer: its explanation, or a sentence made of what was found.

    Args:
        explanation: the answer without "[SEG]"; used where it says more than a mask does.
        distances_m: of the objects from the camera, metres; None: not known.
        centroids_u: their centroids' columns, pixels, as many as distances.
    """
    said = explanation.strip()
    if len(said.split()) >= 4 or not distances_m:
        return said or "I found nothing."
    count = len(distances_m)
    found = "I found it" if count == 1 else f"I found {_NUMBERS[count] if count < len(_NUMBERS) else count}"
    nearest_left = min(range(count), key=lambda i: centroids_u[i])
    distance = distances_m[nearest_left]
    if distance is None or not math.isfinite(distance):
        return f"{found}."
    who = "it" if count == 1 else "the left one"
    return f"{found}, {who} is {spoken_distance(distance)} away."


def spoken_distance(metres: float) -> str:
    """For example "40 centimetres", "1.2 metres"."""
    centimetres = round(100 * metres)
    if centimetres < 100:
        return f"{centimetres} centimetre{'s' if centimetres != 1 else ''}"
    return f"{metres:.1f}".removesuffix(".0") + (" metre" if f"{metres:.1f}" == "1.0" else " metres")


class Speaker:
    """Speaks one sentence at a time on a thread of its own; a newer sentence replaces one that waits."""

    def __init__(self, say: str, command: str = "", fault: Callable[[str], None] = lambda sentence: None) -> None:
        """Takes the way of speaking.

        Args:
            say: one of options.SAY.
            command: with "command": the program, which gets the sentence on its standard input.
            fault: takes one sentence where speaking failed, "" when a sentence was spoken.

        Raises:
            SpeechError: the program is not there, none is named, or its quotes are not closed.
        """
        self._program = _program(say, command)
        self._fault = fault
        self._changed = threading.Condition()
        self._next: str | None = None
        self._speaking = self._hushed = self._closed = False
        self._process: subprocess.Popen[str] | None = None
        if self._program:
            threading.Thread(target=self._run, name="speaker", daemon=True).start()

    @property
    def speaking(self) -> bool:
        """Whether a sentence is being spoken or waits."""
        with self._changed:
            return self._speaking or self._next is not None

    def say(self, sentence: str) -> None:
        """Speaks a sentence, after the one that is being spoken."""
        if not self._program or not sentence.strip():
            return
        with self._changed:
            self._next = " ".join(sentence.split())[:_LONGEST]
            self._changed.notify()

    def hush(self) -> None:
        """Stops in the middle of a sentence."""
        with self._changed:
            self._next = None
            self._hushed = True  # also where the program is being started
            if self._process is not None:
                self._process.terminate()

    def close(self) -> None:
        """Ends the thread."""
        self.hush()
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._next is not None)
                if self._closed:
                    return
                sentence, self._next = self._next or "", None
                self._speaking, self._hushed = True, False
            try:
                self._speak(sentence)
            except Exception as error:  # whatever one sentence does, the next one is spoken, and the robot listens
                self._fault(f"The answer could not be spoken: {error}.")
            finally:
                with self._changed:
                    self._speaking = False

    def _speak(self, sentence: str) -> None:
        process = subprocess.Popen(
            self._program,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        with self._changed:
            self._process = process
            if self._hushed:
                process.terminate()
        try:
            _, complaint = process.communicate(sentence + "\n", timeout=_LONGEST_S)
        finally:
            with self._changed:
                self._process = None
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode > 0:
            lines = complaint.strip().splitlines()
            self._fault(f"{self._program[0]} could not speak: {lines[-1] if lines else f'exit {process.returncode}'}.")
        elif process.returncode == 0:
            self._fault("")


def _program(say: str, command: str) -> list[str]:
    if say == NONE:
        return []
    try:
        program = ["espeak-ng"] if say == ESPEAK else shlex.split(command)
    except ValueError as error:
        raise SpeechError(f"Parameter say_command is {command!r}, and cannot be read: {error}.") from error
    if not program:
        raise SpeechError("With say: command, the parameter say_command must name a program that speaks.")
    if shutil.which(program[0]) is None:
        hint = "; type: sudo apt-get install espeak-ng" if say == ESPEAK else ""
        raise SpeechError(f"The program {program[0]!r}, which is to speak the answers, is not installed{hint}.")
    return program
