# SPDX-License-Identifier: Apache-2.0
"""Prompts and answers read by LLaMA: from where a kept cache ends, and together with whoever reads at the same time."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import Any, Protocol

import torch

from lisa_ros.models.common.language.batching import Batcher
from lisa_ros.models.common.language.llama import Outcome, RaggedLlama, Row, RowCache
from lisa_ros.models.common.language.prefixes import ROOM_FOR_ANSWER, Key, PrefixStore, positions
from lisa_ros.models.common.language.static_step import ROOM, StaticStep, static_step
from lisa_ros.models.common.tokenizer import IMAGE_TOKEN_INDEX


class PromptImage(Protocol):
    """A picture as far as reading goes: its number among ids, negative, and what is held while it is read."""

    number: int
    reading: threading.Lock


class EmbeddableImage(PromptImage, Protocol):
    """A picture whose patches stand at one place of the prompt."""

    def visual_tokens(self) -> torch.Tensor:
        """What LLaMA sees: (patches, hidden)."""
        ...


class Decoding(Protocol):
    """A network as far as reading goes; `lm_head` is None where no word is asked of it."""

    language: Any
    lm_head: Any

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        ...

    def embed(self, ids: torch.Tensor, visual_tokens: torch.Tensor) -> torch.Tensor:
        """See LisaNetwork.embed."""
        ...


class Reader:
    """Makes Readings, and keeps what they have read within a memory budget.

    Attributes:
        batcher: serves those who read at the same time.
        prefixes: what is kept.
    """

    def __init__(self, network: Decoding, budget_bytes: int, *, fixed_step: bool = False) -> None:
        """Takes the network, how much memory kept caches may take, and whether single words go StaticStep's way."""
        self._network = network
        self._llama = RaggedLlama(network.language, network.lm_head)
        self._static: StaticStep | None = None
        if fixed_step:
            empty = self._llama.empty_cache(ROOM)
            self._static = static_step(network.language, network.lm_head, empty)
        self.batcher = Batcher(self._read)
        self.prefixes = PrefixStore(budget_bytes)

    def begin(self, picture: EmbeddableImage, prompt_ids: Sequence[int]) -> Reading:
        """A prompt, read up to its picture's end or further, but for its last id.

        Args:
            picture: stands where IMAGE_TOKEN_INDEX does.
            prompt_ids: the prompt's ids.
        """
        visual = picture.visual_tokens()
        key = tuple(picture.number if number == IMAGE_TOKEN_INDEX else number for number in prompt_ids)
        with torch.inference_mode():
            inputs = self._network.embed(torch.tensor(prompt_ids, device=self._network.device), visual)[0]
        return self.begin_embedded(picture, key, inputs, len(visual))

    def begin_embedded(self, picture: PromptImage, key: Key, inputs: torch.Tensor, patches: int) -> Reading:
        """As begin, for a prompt that is embedded already.

        Args:
            picture: what the prompt shows first.
            key: the prompt's ids, with the picture's number in place of its patches; whatever else decides the inputs
                must have an id of its own.
            inputs: (length, hidden).
            patches: positions that the picture takes.
        """
        with picture.reading:  # whoever asks about the same picture at the same time finds it read
            cache = self._read_head(picture, key, inputs, patches)
        return Reading(self, key, patches, cache, inputs[cache.length :])

    def _read_head(self, picture: PromptImage, key: Key, inputs: torch.Tensor, patches: int) -> RowCache:
        head = key[: key.index(picture.number) + 1]
        end = positions(head, patches)
        cache = self.prefixes.begun(key, patches, len(inputs) - 1, len(inputs))
        if cache is None:
            cache = self._llama.empty_cache(len(inputs) + ROOM_FOR_ANSWER)
        if cache.length < end and len(inputs) > end:
            self.batcher.read(Row(cache, inputs[cache.length : end], wanted=0))
            weakref.finalize(picture, self.prefixes.forget_picture, picture.number)
            self.prefixes.keep(head, patches, cache)
        return cache

    def _read(self, rows: Sequence[Row]) -> list[Outcome]:
        (first, *others) = rows
        single = not others and len(first.inputs) == first.wanted == 1
        if single and self._static is not None and self._static.take_in(first.cache):
            return [self._static.read(first.cache, first.inputs)]
        return self._llama.read(rows)

    def embed(self, ids: Sequence[int]) -> torch.Tensor:
        """The embeddings of words, (n, hidden)."""
        with torch.inference_mode():
            out: torch.Tensor = self._network.language.embed_tokens(torch.tensor(ids, device=self._network.device))
            return out


class Reading:
    """One prompt and its answer, as far as LLaMA has read them."""

    def __init__(self, reader: Reader, key: Key, patches: int, cache: RowCache, rest: torch.Tensor) -> None:
        """Takes the prompt's key, its cache, and the prompt's embeddings that are not in it yet, one or more."""
        self._reader, self._key, self._patches = reader, key, patches
        self._cache, self._rest = cache, rest

    def read(self, ids: Sequence[int]) -> Outcome:
        """Reads what is left of the prompt, and ids that follow on what was read.

        Args:
            ids: after the first time one or more.

        Returns:
            the outcome of each of them; the first time that of the prompt's end, too, before them.
        """
        inputs = torch.cat([self._rest, self._reader.embed(ids)]) if ids else self._rest
        wanted = len(ids) + min(1, len(self._rest))
        self._rest = inputs[:0]
        return self._reader.batcher.read(Row(self._cache, inputs, wanted))

    def unread(self, count: int) -> None:
        """Forgets the last `count` ids: they were guessed wrong."""
        self._cache.crop(self._cache.length - count)

    def keep(self, said: Sequence[int]) -> None:
        """Keeps what was read for the prompts to come.

        Args:
            said: all that was read or said after the prompt.
        """
        key = (*self._key, *said)
        self._reader.prefixes.keep(key[: self._cache.length - self._patches + 1], self._patches, self._cache)
