# SPDX-License-Identifier: Apache-2.0
"""Choices of the node's parameters and of the command line. Imports nothing, so that they can be shown at once."""

from __future__ import annotations

from dataclasses import dataclass

ALWAYS, WAKE_PHRASE, PUSH_TO_TALK = "always", "wake_phrase", "push_to_talk"
LISTEN = (WAKE_PHRASE, PUSH_TO_TALK, ALWAYS)
"""Which utterances of an open microphone are commands. What is said while a button is held always is one."""

NONE, ESPEAK, COMMAND = "none", "espeak-ng", "command"
SAY = (NONE, ESPEAK, COMMAND)
"""What speaks the answers."""


@dataclass(frozen=True)
class Rules:
    """How utterances become commands.

    Attributes:
        listen: one of LISTEN.
        wake_phrase: begins a command with WAKE_PHRASE.
        confirm_below: confidence below which a command is not sent but asked back; 0: never.
    """

    listen: str = WAKE_PHRASE
    wake_phrase: str = "hey robot"
    confirm_below: float = 0.0
