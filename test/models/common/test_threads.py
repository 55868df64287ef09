# SPDX-License-Identifier: Apache-2.0
"""The number of CPU threads is chosen by measurement, and never slower than one thread."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from lisa_ros.models.common import threads
from lisa_ros.models.common.options import MEASURED_THREADS, LoadOptions
from lisa_ros.models.common.threads import choose_threads
from lisa_ros.models.loading import embedded_checkpoint, load_segmenter


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """Seconds that the work takes by number of threads; `work` below advances the clock by them."""
    taken: dict[int, float] = {}
    now = [0.0]

    def perf_counter() -> float:
        now[0] += taken[torch.get_num_threads()] / 2  # read once before and once after the work
        return now[0]

    monkeypatch.setattr(threads.time, "perf_counter", perf_counter)
    torch.set_num_threads(4)
    return taken


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({1: 0.2, 2: 0.3, 4: 0.6}, 1),
        ({1: 0.2, 2: 0.1, 4: 0.06}, 4),
        ({1: 0.2, 2: 0.1, 4: 0.3}, 2),
        ({1: 0.2, 2: 0.19, 4: 0.185}, 1),
    ],
)
def test_the_fastest_number_is_taken_and_the_smaller_of_equals(
    clock: dict[int, float], seconds: dict[int, float], best: int
) -> None:
    clock.update(seconds)
    assert choose_threads(MEASURED_THREADS, lambda: None) == best
    assert torch.get_num_threads() == best


def test_long_work_keeps_all_threads_and_runs_once(clock: dict[int, float]) -> None:
    clock[4] = 8.0
    runs = []
    assert choose_threads(MEASURED_THREADS, lambda: runs.append(torch.get_num_threads())) == 4
    assert runs == [4]


def test_a_given_number_is_taken_without_measuring() -> None:
    assert choose_threads(3, lambda: pytest.fail("measured")) == 3
    assert torch.get_num_threads() == 3


def test_the_embedded_model_says_what_it_computes_with() -> None:
    options = LoadOptions(device="cpu", threads=1)
    assert load_segmenter(embedded_checkpoint(), options).name.endswith(", 1 thread")
    torch.set_num_threads(2)
    measured = load_segmenter(embedded_checkpoint(), LoadOptions(device="cpu", threads=MEASURED_THREADS))
    assert measured.name.endswith((", 1 thread", ", 2 threads"))
    assert f", {torch.get_num_threads()} thread" in measured.name
    assert "thread" not in load_segmenter(embedded_checkpoint(), LoadOptions(device="cpu")).name


@pytest.mark.parametrize("number", [-1, 100_000])
def test_a_number_that_torch_cannot_take_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match=f"threads is {number}"):
        LoadOptions(threads=number).check()
