# SPDX-License-Identifier: Apache-2.0
"""Runs LLaMA over prompts and answers: prefill from a stored prefix on, then decoding in steps that threads share."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import torch

from lisa_ros.models.common.devices import free_memory
from lisa_ros.models.common.errors import ClosedError, DeviceMemoryError
from lisa_ros.models.common.language.batching import MAX_ROWS, MAX_WAIT_S, Batcher
from lisa_ros.models.common.language.llama import KVCache, RaggedLlama, Row, StepOutput
from lisa_ros.models.common.language.prefixes import ANSWER_CAPACITY, Key, PrefixCache
from lisa_ros.models.common.language.static_step import CAPACITY, StaticStep, static_step
from lisa_ros.models.common.memory import EngineOptions

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

_TOO_LITTLE_MEMORY = (
    "The GPU has too little memory for this answer: lower concurrent_commands, max_dialogue_tokens, cache_mib or "
    "memory_limit_mib, load the model with quantization 4bit, or free memory that other programs take."
)

MAX_STATIC_SHARE = 1 / 3
"""The captured step is left out where its fixed cache would take more than this share of the memory limit."""


class PromptImage(Protocol):
    """An encoded image as far as prefill is concerned.

    Attributes:
        prefill_lock: held while the image is prefilled, so that other commands about it find it in the prefix cache.
    """

    prefill_lock: threading.Lock

    def when_gone(self, callback: Callable[[int], None], number: int) -> None:
        """See ImageHandle."""
        ...


class DecoderNetwork(Protocol):
    """A network as far as the engine is concerned; `lm_head` is None where no token is generated."""

    language: Any
    lm_head: Any

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        ...


class Engine:
    """Starts Generations, batches their steps and stores their prefixes. Safe to use from several threads.

    Attributes:
        batcher: batches the steps of Generations that run at the same time.
        prefixes: the stored prefixes and the memory account of all KV caches.
    """

    def __init__(self, network: DecoderNetwork, options: EngineOptions) -> None:
        """Takes the network, and how much memory the engine takes and what it may do to be fast."""
        self._network, self._options = network, options
        self._changed = threading.Condition()
        self._working, self._closed = 0, False
        self._llama = RaggedLlama(network.language, network.lm_head)
        self._static = self._static_step() if options.static_step else None
        waits, rows = (0.0, 1) if options.deterministic else (MAX_WAIT_S, MAX_ROWS)
        self.batcher = Batcher(self._step, max_wait_s=waits, max_rows=rows)
        self.prefixes = PrefixCache(
            options.prefix_bytes, options.limit_bytes, self._static.nbytes if self._static else 0
        )

    def _static_step(self) -> StaticStep | None:
        limit = self._options.limit_bytes
        if limit is not None and self._llama.cache_bytes(CAPACITY) > MAX_STATIC_SHARE * limit:
            _log.info("The decoding step is not captured as a CUDA graph: the memory limit is too small for it.")
            return None
        return static_step(self._network.language, self._network.lm_head, self._llama.empty_cache(CAPACITY))

    def prefill(self, image: PromptImage, key: Key, inputs: torch.Tensor, head: int) -> Generation:
        """Prefills a prompt up to the end of its image, or as far as a stored prefix reaches.

        The rest of the prompt, one position or more, is computed in the Generation's first step.

        Args:
            image: the first image of the prompt.
            key: one number for each position; whatever else decides the inputs must have a number of its own.
            inputs: (positions, hidden) embeddings.
            head: positions up to the end of the image.

        Raises:
            MemoryLimitError: see PrefixCache.reserve.
        """
        reserved = self._llama.cache_bytes(len(inputs) + ANSWER_CAPACITY)
        self.prefixes.reserve(reserved)
        try:
            with image.prefill_lock:
                cache = self._prefilled_head(image, key, inputs, head)
            return Generation(self, key, cache, inputs[cache.length :], reserved)
        except BaseException:
            self.prefixes.end_answer(reserved)
            raise

    def _prefilled_head(self, image: PromptImage, key: Key, inputs: torch.Tensor, head: int) -> KVCache:
        capacity = len(inputs) + ANSWER_CAPACITY
        whole = head if self._options.deterministic else None
        cache = self.compute(
            lambda: (
                self.prefixes.longest_match(key, len(inputs) - 1, capacity, whole=whole)
                or self._llama.empty_cache(capacity)
            )
        )
        if cache.length < head < len(inputs):
            self.batcher.run(Row(cache, inputs[cache.length : head], outputs=0))
            image.when_gone(self.prefixes.drop_image, key[head - 1])
            self.prefixes.store(key[:head], cache)
        return cache

    def store(self, key: Key, cache: KVCache) -> None:
        """Stores a cache for the prompts to come; in deterministic mode only the heads of prompts are stored."""
        if not self._options.deterministic:
            self.prefixes.store(key, cache)

    def grow(self, cache: KVCache, count: int) -> int:
        """Gives a running answer's cache memory for `count` more positions.

        Returns:
            the memory that was reserved for it, bytes.

        Raises:
            MemoryLimitError: see PrefixCache.reserve.
        """
        grown = (cache.capacity_for(count) - cache.capacity) * cache.position_bytes
        if grown:
            self.prefixes.reserve(grown)
            self.compute(lambda: cache.reserve(count))
        return grown

    def _step(self, rows: Sequence[Row]) -> list[StepOutput]:
        return self.compute(lambda: self._run(rows))

    def _run(self, rows: Sequence[Row]) -> list[StepOutput]:
        (first, *others) = rows
        single = not others and len(first.inputs) == first.outputs == 1
        if single and self._static is not None and self._static.adopt(first.cache):
            return [self._static.step(first.cache, first.inputs)]
        return self._llama.step(rows)

    def compute(self, work: Callable[[], _Result]) -> _Result:
        """Does a piece of work on the model's device; everything that computes with the network goes through here.

        Where the device runs out of memory, stored prefixes are evicted and the work is done once more.

        Raises:
            ClosedError: the model was released.
            DeviceMemoryError: there is not enough memory without stored prefixes, either.
        """
        with self._changed:
            if self._closed:
                raise ClosedError("The model was released while a command was being answered.")
            self._working += 1
        try:
            return self._retried(work)
        finally:
            with self._changed:
                self._working -= 1
                self._changed.notify_all()

    def _retried(self, work: Callable[[], _Result]) -> _Result:
        try:
            return work()
        except torch.OutOfMemoryError as error:  # its traceback holds tensors, so the second try is outside of here
            _log.warning("Out of memory (%s); stored prefixes are evicted for a second try.", str(error).split(".")[0])
        self.prefixes.clear()
        free_memory()
        try:
            return work()
        except torch.OutOfMemoryError as error:
            raise DeviceMemoryError(f"{_TOO_LITTLE_MEMORY} ({str(error).split('.')[0]})") from error

    def close(self) -> None:
        """Refuses further work, waits until no thread computes with the network, and drops the stored prefixes."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: self._working == 0)
        self.prefixes.clear()
        self._static = None

    def embed(self, ids: Sequence[int]) -> torch.Tensor:
        """The embeddings of tokens, (n, hidden)."""

        def embed() -> torch.Tensor:
            out: torch.Tensor = self._network.language.embed_tokens(torch.tensor(ids, device=self._network.device))
            return out

        with torch.inference_mode():
            return self.compute(embed)

    def logits(self, state: torch.Tensor) -> torch.Tensor:
        """The next token's logits for a state (1, hidden): (vocabulary,) float32."""

        def logits() -> torch.Tensor:
            out: torch.Tensor = self._network.lm_head(state)[0].float()
            return out

        with torch.inference_mode():
            return self.compute(logits)


class Generation:
    """One prompt and its answer: the KV cache, and what is not in it yet. Close it, or use it as a context manager."""

    def __init__(self, engine: Engine, key: Key, cache: KVCache, rest: torch.Tensor, reserved: int) -> None:
        """Made by Engine.prefill.

        Args:
            engine: runs the steps.
            key: the prompt's.
            cache: of the prompt's beginning.
            rest: (positions, hidden) embeddings of the rest of the prompt, one or more.
            reserved: memory that is reserved for the cache, bytes.
        """
        self._engine, self._key, self._cache, self._rest, self._reserved = engine, key, cache, rest, reserved

    def __enter__(self) -> Generation:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Returns the reserved memory."""
        reserved, self._reserved = self._reserved, 0
        self._engine.prefixes.end_answer(reserved)

    @property
    def length(self) -> int:
        """Positions in the cache, and of the prompt's rest."""
        return self._cache.length + len(self._rest)

    def extend(self, ids: Sequence[int]) -> StepOutput:
        """Runs over the prompt's rest and over tokens that follow.

        Args:
            ids: one or more, except in the first call.

        Returns:
            the output of each token; in the first call also that of the prompt's last position, before them.
        """
        inputs = self._engine.embed(ids) if ids else None
        return self.extend_embedded(ids, inputs, outputs=len(ids) + min(1, len(self._rest)))

    def extend_embedded(self, key: Sequence[int], inputs: torch.Tensor | None, *, outputs: int) -> StepOutput:
        """As extend, for positions that are embedded already.

        Args:
            key: a number for each position, see Engine.prefill.
            inputs: (positions, hidden) embeddings; None: no positions.
            outputs: number of positions, counted from the end, whose output is returned.
        """
        parts = [self._rest] if inputs is None else [self._rest, inputs]
        inputs = self._engine.compute(lambda: torch.cat(parts))
        self._reserved += self._engine.grow(self._cache, len(inputs))
        self._key += tuple(key)
        self._rest = inputs[:0]
        return self._engine.batcher.run(Row(self._cache, inputs, outputs))

    def rollback(self, count: int) -> None:
        """Drops the last `count` positions: wrong drafts."""
        self._cache.crop(self._cache.length - count)
        self._key = self._key[: self._cache.length]

    def store(self) -> None:
        """Stores the cache for the prompts to come."""
        self._engine.store(self._key[: self._cache.length], self._cache)
