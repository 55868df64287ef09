# SPDX-License-Identifier: Apache-2.0
"""Stored prefixes respect their budgets, images leave them from inside the garbage collector, and nothing hangs."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
import torch
from tiny_llama import tiny_llama

from lisa_ros.models.common.errors import MemoryLimitError
from lisa_ros.models.common.image_handle import ImageHandle
from lisa_ros.models.common.language.llama import KVCache, RaggedLlama, Row
from lisa_ros.models.common.language.prefixes import PrefixCache

PATIENCE_S = 60


@pytest.fixture(scope="module")
def cache() -> KVCache:
    """Twenty positions."""
    llama = RaggedLlama(*tiny_llama())
    cache = llama.empty_cache(1)
    with torch.inference_mode():
        llama.step([Row(cache, torch.randn(20, 32), 0)])
    return cache


def test_the_least_recently_used_prefix_is_evicted(cache: KVCache) -> None:
    size = cache.position_bytes
    prefixes = PrefixCache(30 * size)
    image = [-5] * 7
    prefixes.store((1, 2, *image, 3), cache)  # ten positions
    prefixes.store((1, 9, 9, 9, 9, 9, 9, 9, 9, 9), cache)
    assert prefixes.nbytes == 20 * size
    found = prefixes.longest_match((1, 2, *image, 4), 100, 100)
    assert found is not None and (found.length, found.capacity) == (9, 100)
    assert prefixes.longest_match((2, 2), 100, 100) is None
    prefixes.store((1, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8), cache)  # eleven: the one that was used least recently goes
    assert prefixes.nbytes == 21 * size
    assert (again := prefixes.longest_match((1, 9, 9), 100, 100)) is not None and again.length == 1
    prefixes.store((1, 2, *image, 3, 3), cache)  # replaces the one that it contains
    assert prefixes.nbytes == 22 * size
    prefixes.drop_image(-5)
    assert prefixes.nbytes == 11 * size


def test_a_prefix_beyond_the_budget_is_not_stored(cache: KVCache) -> None:
    tiny = PrefixCache(3 * cache.position_bytes)
    tiny.store((1, 2, 3, 4), cache)
    assert tiny.nbytes == 0


def test_only_a_whole_match_counts_where_one_is_required(cache: KVCache) -> None:
    prefixes = PrefixCache(1 << 30)
    prefixes.store((1, 2, 3), cache)
    assert prefixes.longest_match((1, 2, 4, 5), 4, 4, whole=3) is None
    found = prefixes.longest_match((1, 2, 3, 4, 5), 4, 4, whole=3)
    assert found is not None and found.length == 3


def test_running_answers_evict_prefixes_and_then_are_refused(cache: KVCache) -> None:
    size = cache.position_bytes
    prefixes = PrefixCache(20 * size, limit_bytes=20 * size, fixed_bytes=5 * size)
    prefixes.store((1,) * 8, cache)
    prefixes.store((2,) * 7, cache)
    assert prefixes.nbytes == 15 * size
    prefixes.reserve(4 * size)  # the older prefix must go
    assert (prefixes.nbytes, prefixes.running_bytes) == (7 * size, 4 * size)
    prefixes.reserve(11 * size)
    assert prefixes.nbytes == 0
    with pytest.raises(MemoryLimitError, match="raise memory_limit_mib"):
        prefixes.reserve(size)
    prefixes.store((3,), cache)
    assert prefixes.nbytes == 0, "running answers take it all"
    prefixes.end_answer(11 * size)
    prefixes.store((3,) * 11, cache)
    assert (prefixes.nbytes, prefixes.running_bytes) == (11 * size, 4 * size)


def test_images_die_inside_the_garbage_collector_without_a_deadlock(cache: KVCache) -> None:
    """Images in reference cycles are collected at default thresholds, at allocations inside the prefix cache's lock."""
    assert gc.isenabled() and gc.get_threshold()[0] > 0
    prefixes = PrefixCache(40 * cache.position_bytes)
    done: list[int] = []
    pixels = np.zeros((1, 1, 3), dtype=np.uint8)
    collected = []

    def loop() -> None:
        for turn in range(10_000):
            image = ImageHandle(pixels)
            image.cycle = [image]  # type: ignore[attr-defined]
            image.when_gone(lambda number: (collected.append(1), prefixes.drop_image(number))[0], image.number)
            key = (1, 2, *[image.number] * 4)
            prefixes.store(key, cache)
            prefixes.longest_match((*key, turn), 6, 8)
        done.append(1)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert done, "the loop hangs"
    assert len(collected) > 1000, "the garbage collector has run during the loop"


def test_a_collection_at_any_allocation_inside_the_lock(cache: KVCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """The garbage collector starts exactly while the lock is held."""
    prefixes = PrefixCache(1 << 30)
    copy = KVCache.copy

    def collecting(self: KVCache, length: int, capacity: int) -> KVCache:
        gc.collect()
        return copy(self, length, capacity)

    monkeypatch.setattr(KVCache, "copy", collecting)
    done: list[int] = []

    def use() -> None:
        for _ in range(3):
            image = ImageHandle(np.zeros((1, 1, 3), dtype=np.uint8))
            image.cycle = [image]  # type: ignore[attr-defined]
            image.when_gone(prefixes.drop_image, image.number)
            key = (1, image.number)
            del image
            prefixes.store(key, cache)
        done.append(1)

    thread = threading.Thread(target=use, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert done, "a finalizer waits for the lock that its own thread holds"
    assert prefixes.nbytes == 0, "what the finalizers queued was dropped"
