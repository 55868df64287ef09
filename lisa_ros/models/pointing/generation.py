# SPDX-License-Identifier: Apache-2.0
"""The tokens of transformers' `generate`, one by one, with cancellation."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

_POLL_S = 0.1
"""How often `cancelled` is called while no token arrives."""

_Arrived = queue.Queue[int | BaseException | None]
"""Tokens, or an error; None is the end."""


def stream(
    model: Any, inputs: Mapping[str, Any], max_new_tokens: int, cancelled: Callable[[], bool], lock: threading.Lock
) -> Iterator[int]:
    """Generates greedily, with the other settings of the checkpoint's generation_config.json.

    Closing the iterator ends the generation after the token in work.

    Args:
        model: of AutoModelForImageTextToText.
        inputs: of its processor, for one prompt.
        max_new_tokens: most tokens to generate.
        cancelled: called at least once per token, in the caller's thread; True ends the iteration.
        lock: held while the model computes: it keeps state of the running answer (positions of image tokens).

    Yields:
        token ids, the end token included.
    """
    arrived: _Arrived = queue.Queue()
    stopped = threading.Event()

    def run() -> None:
        try:
            with _held(lock, stopped):
                if not stopped.is_set():
                    model.generate(
                        **inputs,
                        do_sample=False,
                        num_beams=1,
                        max_new_tokens=max_new_tokens,
                        streamer=_Streamer(arrived),
                        stopping_criteria=StoppingCriteriaList([_Stopped(stopped)]),
                    )
            arrived.put(None)
        except BaseException as error:  # raised again in the caller's thread
            arrived.put(error)

    thread = threading.Thread(target=run, name="lisa_generate", daemon=True)
    thread.start()
    try:
        yield from _tokens(arrived, cancelled)
    finally:
        stopped.set()
        thread.join()


def _tokens(arrived: _Arrived, cancelled: Callable[[], bool]) -> Iterator[int]:
    """The tokens in the queue until its end or a cancellation; raises an error that is in the queue."""
    while not cancelled():
        try:
            token = arrived.get(timeout=_POLL_S)
        except queue.Empty:
            continue
        if token is None:
            return
        if isinstance(token, BaseException):
            raise token
        yield token


@contextmanager
def _held(lock: threading.Lock, stopped: threading.Event) -> Iterator[None]:
    """Holds the lock; a command that is cancelled while another one is answered does not wait for it."""
    held = False
    while not held and not stopped.is_set():
        held = lock.acquire(timeout=_POLL_S)
    try:
        yield
    finally:
        if held:
            lock.release()


class _Streamer(BaseStreamer):
    """Hands on every token after the prompt, which comes first."""

    def __init__(self, arrived: _Arrived) -> None:
        self._arrived, self._prompt_is_over = arrived, False

    def put(self, value: torch.Tensor) -> None:
        if self._prompt_is_over:
            for token in value.reshape(-1).tolist():
                self._arrived.put(token)
        self._prompt_is_over = True

    def end(self) -> None:
        """Nothing: `generate` returns."""


class _Stopped(StoppingCriteria):
    def __init__(self, stopped: threading.Event) -> None:
        self._stopped = stopped

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        return torch.full((input_ids.shape[0],), self._stopped.is_set(), dtype=torch.bool, device=input_ids.device)
