# SPDX-License-Identifier: Apache-2.0
"""The GPU runs out of memory at every place of an answer in turn: one retry, then a sentence; the next answer is right.

torch has no GPU here: an operation on the CPU raises what CUDA's allocator raises.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden import MAX_NEW_TOKENS, read_case
from torch.utils._python_dispatch import TorchDispatchMode

from lisa_ros.models.common.errors import DeviceMemoryError
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.loading import load_segmenter
from lisa_ros.segmentation.answers import Finished
from lisa_ros.segmentation.interface import Segmenter

Site = tuple[str, int]
"""A line of lisa_ros: its file and number."""


def site_of(frame: Any) -> Site:
    """The innermost line of lisa_ros that is being executed."""
    while "/lisa_ros/" not in frame.f_code.co_filename:
        frame = frame.f_back
    return frame.f_code.co_filename.rpartition("/lisa_ros/")[2], frame.f_lineno


IN_MAIN_MEMORY = ("models/common/preprocessing.py", "models/lisa/sam/pixels.py")
"""They prepare an image on the CPU, whatever the model's device is."""


class Allocations(TorchDispatchMode):
    """Every torch operation but views counts as an allocation. Those of one site fail, the first ones."""

    def __init__(self, site: Site | None = None, failures: int = 0) -> None:
        super().__init__()
        self.sites: dict[Site, int] = {}
        self._site, self._failures = site, failures

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        site = site_of(sys._getframe(1))
        if func.is_view or site[0] in IN_MAIN_MEMORY:  # a view takes no memory
            return func(*args, **(kwargs or {}))
        self.sites[site] = self.sites.get(site, 0) + 1
        if site == self._site and self.sites[site] <= self._failures:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 7 MiB free.")
        return func(*args, **(kwargs or {}))


def answering(segmenter: Segmenter, folder: Path) -> Callable[[], Finished]:
    """A function that answers one command about a new image."""
    case = read_case(folder, 0)

    def answer() -> Finished:
        session = segmenter.session(segmenter.encode(case.image))
        *_, finished = session.segment(case.command, max_new_tokens=MAX_NEW_TOKENS)
        assert isinstance(finished, Finished)
        return finished

    return answer


def same(one: Finished, other: Finished) -> bool:
    masks = zip(one.objects, other.objects, strict=True)
    return one.answer == other.answer and all(np.array_equal(a.mask, b.mask) for a, b in masks)


@pytest.fixture(scope="module")
def segmenter(golden_lisa: Path) -> Segmenter:
    return load_segmenter(golden_lisa, LoadOptions(precision="fp32", device="cpu", threads=1))


@pytest.fixture(scope="module")
def expected(segmenter: Segmenter, golden_lisa: Path) -> Finished:
    finished = answering(segmenter, golden_lisa)()
    assert finished.objects
    return finished


@pytest.fixture(scope="module")
def sites(segmenter: Segmenter, golden_lisa: Path, expected: Finished) -> list[Site]:
    with Allocations() as counted:
        answering(segmenter, golden_lisa)()
    assert len(counted.sites) > 20
    return list(counted.sites)


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_one_failure_at_every_place_is_made_up_for_by_a_second_try(
    segmenter: Segmenter, golden_lisa: Path, expected: Finished, sites: list[Site], every: int
) -> None:
    answer = answering(segmenter, golden_lisa)
    for site in sites[::every]:
        with Allocations(site, failures=1):
            assert same(answer(), expected), f"out of memory at {site}"


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_without_any_memory_the_answer_is_a_sentence_and_the_next_answer_is_right(
    segmenter: Segmenter, golden_lisa: Path, expected: Finished, sites: list[Site], every: int
) -> None:
    answer = answering(segmenter, golden_lisa)
    refused, tried = [], sites[::every]
    for site in tried:
        try:
            with Allocations(site, failures=1 << 30):  # a prefix that cannot be stored costs time only
                assert same(answer(), expected)
        except DeviceMemoryError as error:
            assert "lower concurrent_commands" in str(error)
            refused.append(site)
            if len(refused) % 4 == 1:
                assert same(answer(), expected), f"after out of memory at {site}"
    assert len(refused) > len(tried) // 2
    assert same(answer(), expected)
