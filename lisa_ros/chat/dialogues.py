# SPDX-License-Identifier: Apache-2.0
"""The dialogue of a chat, with a model in this process. ros_dialogue has the same interface for a node (`--ros`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from lisa_ros.chat.sources import Source
from lisa_ros.models.model import Answer, Dialogue, Model
from lisa_ros.segmentation.answers import Finished, TextDelta
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.text import explanation_of
from lisa_ros.segmentation.turns import Turn

OnText = Callable[[str], None]
"""Is called with the explanation so far, whenever it has grown."""


class ChatDialogue(Protocol):
    """A dialogue with typed commands."""

    @property
    def name(self) -> str:
        """The model or the node, for the greeting."""
        ...

    def ask(self, text: str, on_text: OnText, cancelled: Callable[[], bool]) -> tuple[Answer, str]:
        """Answers a command; also returns one sentence about it, empty if all is well.

        Raises:
            ValueError: the command cannot be answered; the text says why.
        """
        ...

    def reset(self) -> str:
        """Forgets the dialogue; returns one sentence."""
        ...

    def undo(self) -> str:
        """Takes the last reset back or, after none, the newest turn; returns one sentence. Raises a ValueError."""
        ...

    def close(self) -> None:
        """Ends what the dialogue has opened."""
        ...


class ModelDialogue:
    """A dialogue with a model of this process, about the images of a source."""

    def __init__(self, model: Model, source: Source, max_new_tokens: int = 512) -> None:
        """Takes a loaded model."""
        self._model, self._source, self._max_new_tokens = model, source, max_new_tokens
        self._turns: list[Turn] = []
        self._before_reset: list[Turn] = []
        self._about: Dialogue | None = None

    @property
    def name(self) -> str:
        """See ChatDialogue."""
        return self._model.name

    def ask(self, text: str, on_text: OnText, cancelled: Callable[[], bool]) -> tuple[Answer, str]:
        """See ChatDialogue."""
        _, image = self._source.image()
        if self._about is None or self._about.image is not image:  # an image is encoded once
            self._about = self._model.dialogue(image)
        dialogue, dialogue.turns = self._about, list(self._turns)
        raw = ""
        for event in dialogue.stream(text, max_new_tokens=self._max_new_tokens, cancelled=cancelled):
            if isinstance(event, TextDelta):
                raw += event.text
                on_text(explanation_of(raw))
            elif isinstance(event, Finished):
                self._turns = dialogue.turns
                self._before_reset = []
                sentence = {"cancelled": "Cancelled.", "length": "The answer was cut (--max-new-tokens)."}
                answer = Answer(image, text, event.answer, event.objects, event.reason, event.model, event.note)
                return answer, sentence.get(event.reason, "")
        raise RuntimeError("the model's events ended without Finished")

    def reset(self) -> str:
        """See ChatDialogue."""
        forgotten, self._turns = self._turns, []
        self._before_reset = forgotten or self._before_reset
        return f"The dialogue is deleted (turns: {len(forgotten)}); /undo restores it."

    def undo(self) -> str:
        """See ChatDialogue."""
        if self._before_reset and not self._turns:
            self._turns, self._before_reset = self._before_reset, []
            return f"The dialogue is restored (turns: {len(self._turns)})."
        if not self._turns:
            raise LisaError("there is nothing to undo")
        turn = self._turns.pop()
        return f"Turn {len(self._turns) + 1} is deleted: {turn.command}"

    def close(self) -> None:
        """See ChatDialogue: the model ends with the process."""
