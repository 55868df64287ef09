# SPDX-License-Identifier: Apache-2.0
"""Prefix caching: KV caches of the beginnings of prompts, stored so that no position is computed twice.

A prompt begins with the system text and the image, which are the same for every command about that image. A dialogue's
next prompt begins with the whole previous prompt and its answer. A stored cache is found by comparing ids: a dialogue
that was shortened or reset simply shares fewer positions with what is stored.

The same object accounts for the memory of all KV caches: stored prefixes, running answers and the fixed memory of the
captured decoding step share one limit, and stored prefixes are evicted first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import suppress
from queue import SimpleQueue

import torch

from lisa_ros.models.common.errors import MemoryLimitError
from lisa_ros.models.common.language.llama import KVCache

Key = tuple[int, ...]
"""One number for each position of a prompt: a token's id, or, at each patch of an image, its (negative) number."""

ANSWER_CAPACITY = 64
"""Positions beyond the prompt that a new cache has memory for; a longer answer makes it grow."""


class PrefixCache:
    """Caches by the ids of their positions; the least recently used ones are evicted. Safe to use from several threads.

    Finalizers take no lock: the garbage collector may start one inside any of the methods, in the thread that holds the
    lock. `drop_image` and `end_answer` only append to a queue, which the next call empties.
    """

    def __init__(self, budget_bytes: int, limit_bytes: int | None = None, fixed_bytes: int = 0) -> None:
        """An empty cache.

        Args:
            budget_bytes: most memory that stored prefixes take; 0 stores nothing.
            limit_bytes: most memory that stored prefixes, running answers and `fixed_bytes` take together; None: no
                limit.
            fixed_bytes: memory that is always taken, by the captured decoding step.
        """
        self._budget, self._limit, self._fixed = budget_bytes, limit_bytes, fixed_bytes
        self._lock = threading.Lock()
        self._stored: OrderedDict[Key, KVCache] = OrderedDict()
        self._running = 0
        self._dropped: SimpleQueue[int] = SimpleQueue()
        self._ended: SimpleQueue[int] = SimpleQueue()

    @property
    def nbytes(self) -> int:
        """Memory of the stored prefixes, bytes."""
        with self._lock:
            self._drain()
            return self._size()

    @property
    def running_bytes(self) -> int:
        """Memory that running answers have reserved, bytes."""
        with self._lock:
            self._drain()
            return self._running

    def longest_match(self, key: Key, longest: int, capacity: int, *, whole: int | None = None) -> KVCache | None:
        """A copy of the stored cache that shares the most positions with the beginning of a prompt.

        Args:
            key: the prompt's.
            longest: most positions that are copied.
            capacity: positions that the copy has memory for.
            whole: where given, only a match of exactly this many positions counts.

        Returns:
            a cache of one position or more; None where nothing that is stored begins like the prompt.
        """
        with self._lock:
            self._drain()
            shared, stored = max(((_shared(key, stored), stored) for stored in self._stored), default=(0, ()))
            length = min(shared, longest if whole is None else whole)
            if length < (1 if whole is None else whole):
                return None
            self._stored.move_to_end(stored)
            return self._stored[stored].copy(length, capacity)

    def store(self, key: Key, cache: KVCache) -> None:
        """Stores a copy of a cache; shorter stored caches that it contains are dropped.

        Args:
            key: of the first positions of the cache, which may be longer.
            cache: stays its owner's.
        """
        size = len(key) * cache.position_bytes
        with self._lock:
            self._drain()
            if size > self._budget or any(stored[: len(key)] == key for stored in self._stored):
                return
            for contained in [stored for stored in self._stored if key[: len(stored)] == stored]:
                del self._stored[contained]
            self._evict_until(self._budget - size)
            if self._limit is not None:
                self._evict_until(self._limit - self._fixed - self._running - size)
                if self._fixed + self._running + size > self._limit:
                    return
            with suppress(torch.OutOfMemoryError):  # the answer itself does not need it
                self._stored[key] = cache.copy(len(key), len(key))

    def reserve(self, nbytes: int) -> None:
        """Reserves memory for a running answer, bytes; evicts stored prefixes where the limit requires it.

        Raises:
            MemoryLimitError: running answers alone reach the limit.
        """
        with self._lock:
            self._drain()
            if self._limit is not None:
                self._evict_until(self._limit - self._fixed - self._running - nbytes)
                if self._fixed + self._running + nbytes > self._limit:
                    raise MemoryLimitError(
                        f"The answer needs {nbytes / 2**20:.0f} MiB for its KV cache, but running answers"
                        f" already take {(self._fixed + self._running) / 2**20:.0f} of {self._limit / 2**20:.0f} MiB; "
                        "raise memory_limit_mib, or run fewer commands at the same time."
                    )
            self._running += nbytes

    def end_answer(self, nbytes: int) -> None:
        """Returns what a running answer had reserved, bytes. Takes no lock: generators end in finalizers, too."""
        self._ended.put(nbytes)

    def drop_image(self, number: int) -> None:
        """Drops every stored cache that contains an image which no longer exists. Takes no lock."""
        self._dropped.put(number)

    def clear(self) -> None:
        """Drops all stored caches."""
        with self._lock:
            self._drain()
            self._stored.clear()

    def _drain(self) -> None:
        while not self._ended.empty():
            self._running -= self._ended.get()
        numbers = set()
        while not self._dropped.empty():
            numbers.add(self._dropped.get())
        if numbers:
            for key in [key for key in self._stored if not numbers.isdisjoint(key)]:
                del self._stored[key]

    def _evict_until(self, size: int) -> None:
        """Evicts the least recently used caches until they take no more than `size` bytes, or none is left."""
        while self._stored and self._size() > size:
            self._stored.popitem(last=False)

    def _size(self) -> int:
        return sum(cache.nbytes for cache in self._stored.values())


def _shared(one: Key, other: Key) -> int:
    """How many ids two keys have in common at their beginnings."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (mine, theirs) in enumerate(pairs) if mine != theirs), min(len(one), len(other)))
