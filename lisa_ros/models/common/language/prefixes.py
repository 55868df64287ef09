# SPDX-License-Identifier: Apache-2.0
"""What LLaMA has read already: the caches of prompts' beginnings, kept so that nothing is read twice.

A prompt begins with the system's text and the picture, the same for every command about that picture; a dialogue's
next prompt begins with the whole of the last one and its answer. Which caches serve is told by the ids alone, so a
dialogue that was shortened or reset simply has less in common with what is kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from lisa_ros.models.common.language.llama import RowCache

Key = tuple[int, ...]
"""A prompt's ids, with the picture's own number (negative) where the picture stands."""

ROOM_FOR_ANSWER = 64
"""Positions that a copied cache has room for beyond its prompt, before it must grow."""


class PrefixStore:
    """Caches by what was read; those not used for the longest time give way. Safe to use from several threads."""

    def __init__(self, budget_bytes: int) -> None:
        """Keeps at most `budget_bytes` of caches; 0 keeps nothing."""
        self._budget = budget_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, RowCache] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Memory that the kept caches take, bytes."""
        with self._lock:
            return self._size()

    def begun(self, key: Key, patches: int, longest: int, total: int) -> RowCache | None:
        """A copy of the kept cache that begins as a prompt does, as far as they agree.

        Args:
            key: the prompt's.
            patches: positions that the picture takes.
            longest: positions that are copied at the most.
            total: positions of the whole prompt, for the room to be made.

        Returns:
            a cache of one position or more; None where nothing that is kept begins so.
        """
        with self._lock:
            shared, kept = max(((_shared(key, kept), kept) for kept in self._kept), default=(0, ()))
            if not shared:
                return None
            self._kept.move_to_end(kept)
            length = min(positions(key[:shared], patches), longest)
            return self._kept[kept].copy(length, total + ROOM_FOR_ANSWER)

    def keep(self, key: Key, patches: int, cache: RowCache) -> None:
        """Keeps a copy of a cache under what was read into it; shorter ones that it makes needless go.

        Args:
            key: what was read; the cache holds all of it, perhaps more.
            patches: positions that the picture takes.
            cache: goes on being its owner's.
        """
        length = positions(key, patches)
        with self._lock:
            if length * cache.position_bytes > self._budget or any(kept[: len(key)] == key for kept in self._kept):
                return
            for needless in [kept for kept in self._kept if key[: len(kept)] == kept]:
                del self._kept[needless]
            self._kept[key] = cache.copy(length, length)
            while self._size() > self._budget:
                self._kept.popitem(last=False)

    def forget_picture(self, number: int) -> None:
        """Drops every cache that holds a picture, for whom it is gone."""
        with self._lock:
            for key in [key for key in self._kept if number in key]:
                del self._kept[key]

    def clear(self) -> None:
        """Drops everything."""
        with self._lock:
            self._kept.clear()

    def _size(self) -> int:
        return sum(cache.nbytes for cache in self._kept.values())


def positions(key: Key, patches: int) -> int:
    """LLaMA's positions that a prompt's ids take, the picture's patches among them."""
    return len(key) + (patches - 1) * sum(number < 0 for number in key)


def _shared(one: Key, other: Key) -> int:
    """How many ids two keys have in common at their beginnings."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (mine, theirs) in enumerate(pairs) if mine != theirs), min(len(one), len(other)))
