# SPDX-License-Identifier: Apache-2.0
"""Two models in one: commands that only name objects go to SAM 3, all others to the model that can reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Unpack

from lisa_ros.dialogue.noun_phrase import plain_name
from lisa_ros.segmentation.answers import Event, Finished, Image, Reference
from lisa_ros.segmentation.interface import AnswerOptions, Capabilities, DeviceMemory, Segmenter, release_all
from lisa_ros.segmentation.turns import Turn


@dataclass(frozen=True, eq=False)
class BothImages:
    """What both models made of an image. Each computes when its first command comes."""

    reasoning: Any
    names: Any

    def release(self) -> None:
        """See Releasable."""
        release_all(self.reasoning, self.names)


class ByNameSegmenter:
    """A model that can reason, and one that takes names of objects; see Segmenter.

    A command goes to the second where it is a name and nothing else (`dialogue.noun_phrase.plain_name`) and has neither
    references nor points. `Finished.model` says which one answered.
    """

    capabilities = Capabilities()

    def __init__(self, reasoning: Segmenter, names: Segmenter) -> None:
        """Takes both models."""
        self.reasoning, self.names = reasoning, names

    @property
    def name(self) -> str:
        """Of both."""
        return f"{self.reasoning.name}; names of objects: {self.names.name}"

    def encode(self, image: Image) -> BothImages:
        """See Segmenter.encode."""
        return BothImages(self.reasoning.encode(image), self.names.encode(image))

    def session(self, encoded: BothImages, turns: Sequence[Turn] = (), *, max_history_tokens: int = 0) -> ByNameSession:
        """See Segmenter.session."""
        return ByNameSession(self, encoded, tuple(turns), max_history_tokens)

    def memory(self) -> DeviceMemory:
        """See Segmenter.memory; of the process, and so of both where both run here."""
        each = self.reasoning.memory(), self.names.memory()
        return max(each, key=lambda one: one.allocated_bytes)

    def release(self) -> None:
        """See Segmenter.release."""
        release_all(self.reasoning, self.names)


class ByNameSession:
    """One dialogue about one image, with both models."""

    def __init__(
        self, segmenter: ByNameSegmenter, encoded: BothImages, turns: tuple[Turn, ...], max_history_tokens: int
    ) -> None:
        """See ByNameSegmenter.session."""
        self._segmenter, self._encoded, self._turns = segmenter, encoded, turns
        self._max_history_tokens = max_history_tokens

    def segment(
        self, command: str, references: Sequence[Reference] = (), **options: Unpack[AnswerOptions]
    ) -> Iterator[Event]:
        """See Session.segment."""
        by_name = not references and not options.get("pointing") and plain_name(command) is not None
        model = self._segmenter.names if by_name else self._segmenter.reasoning
        encoded = self._encoded.names if by_name else self._encoded.reasoning
        session = model.session(encoded, self._turns, max_history_tokens=self._max_history_tokens)
        for event in session.segment(command, references, **options):
            yield replace(event, model=event.model or model.name) if isinstance(event, Finished) else event
