# SPDX-License-Identifier: Apache-2.0
"""LIRA's prompts and answers in the engine: token ids and visual tokens alike.

A visual input has a number, which stands in the key at each of its positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch

from lisa_ros.models.common.language.engine import Engine, Generation
from lisa_ros.models.common.language.llama import StepOutput
from lisa_ros.models.lira.encoded_image import EncodedImage, Visual

Part = int | Visual
"""A token's id, or a visual input."""


class LiraEngine(Engine):
    """An Engine whose prompts consist of Parts."""

    def begin(self, image: EncodedImage, parts: Sequence[Part]) -> Generation:
        """Prefills a prompt up to the end of its first visual input, or as far as a stored prefix reaches.

        Args:
            image: of the prompt.
            parts: the prompt, one visual input or more among its tokens.
        """
        first = next(i for i, part in enumerate(parts) if isinstance(part, Visual))
        head = len(key_of(parts[: first + 1]))
        return self.prefill(image, key_of(parts), self.embed_parts(parts), head)

    def extend(self, generation: Generation, parts: Sequence[Part] = ()) -> StepOutput:
        """Runs over the prompt's rest and over parts that follow.

        Args:
            generation: from `begin`.
            parts: one or more, except in the first call.

        Returns:
            the output of the last position.
        """
        inputs = self.embed_parts(parts) if parts else None
        return generation.extend_embedded(key_of(parts), inputs, outputs=1)

    def embed_parts(self, parts: Sequence[Part]) -> torch.Tensor:
        """The embeddings of tokens and visual inputs, (positions, hidden)."""
        pieces: list[torch.Tensor] = []
        for _, group in groupby(parts, lambda part: isinstance(part, Visual)):
            run = list(group)
            ids = [part for part in run if isinstance(part, int)]
            pieces += [self.embed(ids)] if ids else [one.tokens for one in run if isinstance(one, Visual)]
        return self.compute(lambda: torch.cat(pieces))


def key_of(parts: Sequence[Part]) -> tuple[int, ...]:
    """One number for each position."""
    key: list[int] = []
    for part in parts:
        key.extend([part.number] * len(part.tokens) if isinstance(part, Visual) else [part])
    return tuple(key)
