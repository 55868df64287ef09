# SPDX-License-Identifier: Apache-2.0
"""Prompts and answers read by the language model: from where a kept cache ends, words and pictures alike.

As LISA's reading, but an answer has pictures inside, so that a picture's number stands among the ids once for each of
its positions.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from itertools import groupby

import torch

from lisa_ros.models.common.language.batching import Batcher
from lisa_ros.models.common.language.llama import Outcome, RaggedLlama, Row, RowCache
from lisa_ros.models.common.language.prefixes import ROOM_FOR_ANSWER, PrefixStore
from lisa_ros.models.lira.encoded_image import EncodedImage, Visual
from lisa_ros.models.lira.network import LiraNetwork

Part = int | Visual
"""A token, or something seen."""


class Reader:
    """Makes Readings, and keeps what they have read within a memory budget.

    Attributes:
        batcher: serves those who read at the same time.
        prefixes: what is kept.
    """

    def __init__(self, network: LiraNetwork, budget_bytes: int) -> None:
        """Takes the network, and how much memory kept caches may take."""
        self._network = network
        self._llama = RaggedLlama(network.language, network.lm_head)
        self.batcher = Batcher(self._llama.read)
        self.prefixes = PrefixStore(budget_bytes)

    def begin(self, picture: EncodedImage, parts: Sequence[Part]) -> Reading:
        """A prompt, read up to its first picture's end or further, but for its last position.

        Args:
            picture: that it is about.
            parts: the prompt, one picture or more among its tokens.
        """
        key, inputs = key_of(parts), self.embed(parts)
        with picture.reading:  # whoever asks about the same picture at the same time finds it read
            cache = self._read_head(picture, parts, key, inputs)
        return Reading(self, key, cache, inputs[cache.length :])

    def _read_head(
        self, picture: EncodedImage, parts: Sequence[Part], key: tuple[int, ...], inputs: torch.Tensor
    ) -> RowCache:
        first = next(i for i, part in enumerate(parts) if isinstance(part, Visual))
        end = len(key_of(parts[: first + 1]))
        cache = self.prefixes.begun(key, 1, len(inputs) - 1, len(inputs))
        if cache is None:
            cache = self._llama.empty_cache(len(inputs) + ROOM_FOR_ANSWER)
        if cache.length < end < len(inputs):
            self.batcher.read(Row(cache, inputs[cache.length : end], wanted=0))
            weakref.finalize(picture, self.prefixes.forget_picture, key[end - 1])
            self.prefixes.keep(key[:end], 1, cache)
        return cache

    def embed(self, parts: Sequence[Part]) -> torch.Tensor:
        """The embeddings of words and pictures, (positions, hidden)."""
        pieces: list[torch.Tensor] = []
        with torch.inference_mode():
            for _, group in groupby(parts, lambda part: isinstance(part, Visual)):
                run = list(group)
                words = [part for part in run if isinstance(part, int)]
                pieces += [self._words(words)] if words else [one.tokens for one in run if isinstance(one, Visual)]
            return torch.cat(pieces)

    def _words(self, ids: Sequence[int]) -> torch.Tensor:
        out: torch.Tensor = self._network.language.embed_tokens(torch.tensor(ids, device=self._network.device))
        return out

    def logits(self, state: torch.Tensor) -> torch.Tensor:
        """What may follow on a state (1, hidden): (vocabulary,) float32."""
        with torch.inference_mode():
            out: torch.Tensor = self._network.lm_head(state)[0].float()
            return out


class Reading:
    """One prompt and its answer, as far as the language model has read them."""

    def __init__(self, reader: Reader, key: tuple[int, ...], cache: RowCache, rest: torch.Tensor) -> None:
        """Takes the prompt's key, its cache, and the prompt's embeddings that are not in it yet, one or more."""
        self._reader, self._key, self._cache, self._rest = reader, key, cache, rest

    @property
    def length(self) -> int:
        """Positions read, or to be read with the next parts."""
        return self._cache.length + len(self._rest)

    def read(self, parts: Sequence[Part] = ()) -> Outcome:
        """Reads what is left of the prompt, and what follows on it.

        Args:
            parts: after the first time one or more.

        Returns:
            the outcome of the last position.
        """
        inputs = torch.cat([self._rest, self._reader.embed(parts)]) if parts else self._rest
        self._rest = inputs[:0]
        self._key += key_of(parts)
        return self._reader.batcher.read(Row(self._cache, inputs, 1))

    def keep(self) -> None:
        """Keeps what was read for the prompts to come."""
        self._reader.prefixes.keep(self._key[: self._cache.length], 1, self._cache)


def key_of(parts: Sequence[Part]) -> tuple[int, ...]:
    """One number for each position."""
    key: list[int] = []
    for part in parts:
        key.extend([part.number] * len(part.tokens) if isinstance(part, Visual) else [part])
    return tuple(key)
