# SPDX-License-Identifier: Apache-2.0
"""SAM's encoder runs in the background as long as an answer may need its result, and in one thread."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import MAX_NEW_TOKENS, read_case

from lisa_ros.models.common.errors import ClosedError
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.lisa import Answer, MaskStep, load_lisa
from lisa_ros.models.lisa.encoded_image import EncodedImage
from lisa_ros.models.lisa.sam import background
from lisa_ros.models.lisa.sam.background import BackgroundEncoding, BackgroundWorker

PATIENCE_S = 60
CPU = torch.device("cpu")


class GatedEncoder:
    """An encoding of two blocks; the second waits for a gate."""

    def __init__(self) -> None:
        self.started, self.gate, self.cancelled = threading.Semaphore(0), threading.Event(), threading.Event()
        self.count = 0

    def __call__(self, needed: Callable[[], bool]) -> str | None:
        self.count += 1
        self.started.release()
        assert self.gate.wait(PATIENCE_S)
        if not needed():
            self.cancelled.set()
            return None
        return "features"


@pytest.fixture
def worker() -> BackgroundWorker:
    return BackgroundWorker(CPU)


@pytest.fixture
def encoder() -> GatedEncoder:
    return GatedEncoder()


@pytest.fixture
def encoding(encoder: GatedEncoder, worker: BackgroundWorker) -> BackgroundEncoding[str]:
    return BackgroundEncoding(encoder, worker)


def test_the_worker_keeps_no_result_of_an_image_that_is_gone(worker: BackgroundWorker) -> None:
    class Features:
        pass

    begun = threading.Event()
    encoding: BackgroundEncoding[Features] = BackgroundEncoding(lambda needed: Features(), worker)
    kept = weakref.ref(encoding.result())
    del encoding
    deadline_s = time.monotonic() + 10
    while kept() is not None and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert kept() is None
    worker.submit(begun.set)
    assert begun.wait(PATIENCE_S)
    worker.close()


def test_all_answers_share_one_encoding(encoding: BackgroundEncoding[str], encoder: GatedEncoder) -> None:
    encoding.start()
    encoding.start()
    assert encoder.started.acquire(timeout=PATIENCE_S)
    encoding.stop()  # the other one still needs it
    encoder.gate.set()
    assert encoding.result() == "features" and encoding.result() == "features"
    encoding.stop()
    encoding.start()
    assert encoding.result() == "features" and encoder.count == 1


def test_an_encoding_that_no_answer_needs_stops_and_is_repeated_when_needed(
    encoding: BackgroundEncoding[str], encoder: GatedEncoder
) -> None:
    encoding.start()
    assert encoder.started.acquire(timeout=PATIENCE_S)
    encoding.stop()
    encoder.gate.set()
    assert encoder.cancelled.wait(PATIENCE_S)
    encoding.start()
    assert encoding.result() == "features" and encoder.count == 2


def test_an_answer_that_begins_while_the_encoding_stops_gets_a_new_one(
    encoding: BackgroundEncoding[str], encoder: GatedEncoder
) -> None:
    encoding.start()
    assert encoder.started.acquire(timeout=PATIENCE_S)
    encoding.stop()
    results: list[str] = []
    thread = threading.Thread(target=lambda: results.append(encoding.result()))
    encoding.start()
    thread.start()
    encoder.gate.set()
    thread.join(PATIENCE_S)
    assert results == ["features"]


def test_a_result_is_computed_without_a_start(encoding: BackgroundEncoding[str], encoder: GatedEncoder) -> None:
    encoder.gate.set()
    assert encoding.result() == "features" and encoder.count == 1


class FailingOnce:
    """Fails in the first call."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, needed: Callable[[], bool]) -> str | None:
        self.calls += 1
        if self.calls == 1:
            raise RuntimeError("out of memory")
        return "features"


def test_an_error_is_raised_by_result_and_the_next_call_tries_again(worker: BackgroundWorker) -> None:
    encoding = BackgroundEncoding(FailingOnce(), worker)
    encoding.start()
    with pytest.raises(RuntimeError, match="out of memory"):
        encoding.result()
    assert encoding.result() == "features"


def test_an_error_that_nobody_asked_for_does_not_fail_the_next_answer(worker: BackgroundWorker) -> None:
    """An answer without a mask never calls `result`; its encoding's error must not stay."""
    failing = FailingOnce()
    encoding = BackgroundEncoding(failing, worker)
    encoding.start()
    while encoding._error is None:
        threading.Event().wait(0.001)
    encoding.stop()
    encoding.start()
    assert encoding.result() == "features" and failing.calls == 2


def test_encodings_of_a_model_share_one_thread(worker: BackgroundWorker) -> None:
    threads: list[str] = []

    def encode(needed: Callable[[], bool]) -> str:
        threads.append(threading.current_thread().name)
        return "features"

    for _ in range(3):
        BackgroundEncoding(encode, worker).result()
    assert threads == ["sam_encoder"] * 3
    assert sum(thread.name == "sam_encoder" and thread is worker._thread for thread in threading.enumerate()) == 1


def test_closing_ends_the_running_encoding_and_the_thread(
    encoding: BackgroundEncoding[str], encoder: GatedEncoder, worker: BackgroundWorker
) -> None:
    encoding.start()
    assert encoder.started.acquire(timeout=PATIENCE_S)
    errors: list[Exception] = []

    def result() -> None:
        try:
            encoding.result()
        except ClosedError as error:
            errors.append(error)

    waiting = threading.Thread(target=result)
    waiting.start()
    closing = threading.Thread(target=worker.close)
    closing.start()
    while not worker.closed:
        threading.Event().wait(0.001)
    encoder.gate.set()
    for thread in (closing, waiting):
        thread.join(PATIENCE_S)
    assert len(errors) == 1 and encoder.cancelled.is_set()
    assert worker._thread is not None and not worker._thread.is_alive()
    worker.close()


def test_the_gpu_is_synchronized_every_few_blocks_on_one_stream_of_least_priority(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CUDA's stream calls, recorded: torch has no GPU here."""
    calls: list[str] = []

    class Stream:
        @staticmethod
        def priority_range() -> tuple[int, int]:
            return 0, -5

        def __init__(self, device: object, priority: int) -> None:
            calls.append(f"stream {priority}")

        def synchronize(self) -> None:
            calls.append("synchronize")

        def __enter__(self) -> Stream:
            return self

        def __exit__(self, *error: object) -> None: ...

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream.__new__(Stream))
    blocks = 32

    def encode(needed: Callable[[], bool]) -> str | None:
        return "features" if all(needed() for _ in range(blocks)) else None

    worker = BackgroundWorker(torch.device("cuda"))
    for _ in range(3):
        assert BackgroundEncoding(encode, worker).result() == "features"
    worker.close()
    assert calls[0] == "stream 0" and calls[1:] == ["synchronize"] * 3 * (blocks // background.SYNCHRONIZE_EVERY + 1)


def test_masks_are_the_same_when_sam_runs_in_the_background(golden_lisa: Path, worker: BackgroundWorker) -> None:
    lisa = load_lisa(golden_lisa, LoadOptions(precision="fp32", device="cpu"))
    case = read_case(golden_lisa, 0)
    logits = []
    for one in (None, worker):
        image = EncodedImage(case.image, lisa.network, lisa.clip, one)
        *steps, answer = lisa.answer(image, case.command, max_new_tokens=MAX_NEW_TOKENS)
        assert isinstance(answer, Answer) and answer.text == case.answer
        logits += [step.logits for step in steps if isinstance(step, MaskStep)]
    assert len(logits) == 2 and np.array_equal(*logits)
