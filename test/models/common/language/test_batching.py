# SPDX-License-Identifier: Apache-2.0
"""Threads share decoding steps; an error or an interruption of one thread never leaves another waiting."""

from __future__ import annotations

import threading
import time

import pytest
import torch
from tiny_llama import tiny_llama

from lisa_ros.models.common.language.batching import Batcher
from lisa_ros.models.common.language.llama import RaggedLlama, Row

PATIENCE_S = 60


@pytest.fixture
def llama() -> RaggedLlama:
    return RaggedLlama(*tiny_llama())


def row(llama: RaggedLlama, width: int = 32) -> Row:
    return Row(llama.empty_cache(4), torch.randn(3, width), 1)


def test_a_failed_step_fails_its_rows_and_no_others(llama: RaggedLlama) -> None:
    batcher = Batcher(llama.step)
    with pytest.raises(RuntimeError):
        batcher.run(row(llama, width=31))
    assert len(batcher.run(row(llama)).tokens) == 1


def test_a_paused_answer_is_not_waited_for(llama: RaggedLlama) -> None:
    batcher = Batcher(llama.step, max_wait_s=10 * PATIENCE_S)
    paused, resume = threading.Event(), threading.Event()

    def work_elsewhere() -> None:
        with batcher.active(), batcher.paused():
            paused.set()
            resume.wait(PATIENCE_S)

    thread = threading.Thread(target=work_elsewhere)
    thread.start()
    assert paused.wait(PATIENCE_S)
    with batcher.active():
        assert len(batcher.run(row(llama)).tokens) == 1
    resume.set()
    thread.join(PATIENCE_S)


def interrupt(batcher: Batcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the leader of a step waits for other rows."""

    def wait_for(predicate: object, timeout: float | None = None) -> bool:
        if timeout is not None:
            raise KeyboardInterrupt
        return original(predicate, timeout)  # type: ignore[arg-type]

    original = batcher._changed.wait_for
    monkeypatch.setattr(batcher._changed, "wait_for", wait_for)


def test_after_an_interrupted_step_the_next_one_runs(llama: RaggedLlama, monkeypatch: pytest.MonkeyPatch) -> None:
    batcher = Batcher(llama.step)
    with monkeypatch.context() as patch:
        interrupt(batcher, patch)
        with pytest.raises(KeyboardInterrupt):
            batcher.run(row(llama))
    assert len(in_thread(batcher, row(llama))) == 1
    assert batcher._waiting == []


def in_thread(batcher: Batcher, one: Row) -> list[int]:
    """The tokens of a row that another thread runs; empty where it hangs."""
    tokens: list[int] = []
    thread = threading.Thread(target=lambda: tokens.extend(batcher.run(one).tokens), daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    return tokens


def test_an_interrupted_leader_fails_the_others_of_its_step(llama: RaggedLlama) -> None:
    computing, other_waits = threading.Event(), threading.Event()

    def compute(rows: object) -> object:
        computing.set()
        assert other_waits.wait(PATIENCE_S)
        raise KeyboardInterrupt

    batcher = Batcher(compute, max_wait_s=PATIENCE_S)  # type: ignore[arg-type]
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with batcher.active():
                batcher.run(row(llama))
        except BaseException as error:
            errors.append(error)

    with batcher.active():  # the step waits for both
        threads = [threading.Thread(target=run, daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        while len(batcher._waiting) < 2 and not computing.is_set():
            time.sleep(0.001)
    other_waits.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert sorted(type(error).__name__ for error in errors) == ["KeyboardInterrupt", "RuntimeError"]
    assert batcher._leader is None
