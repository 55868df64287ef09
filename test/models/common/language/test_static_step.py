# SPDX-License-Identifier: Apache-2.0
"""The decoding step in fixed memory gives the numbers of any other step, for one row at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_llama import tiny_llama

from lisa_ros.models.common.language.llama import RaggedLlama, Row
from lisa_ros.models.common.language.static_step import StaticStep, static_step


def test_a_row_keeps_its_own_memory_while_another_has_the_fixed_one() -> None:
    language, head = tiny_llama()
    llama = RaggedLlama(language, head)
    memory = llama.empty_cache(6)
    memory._buffer.fill_(torch.nan)  # as memory that was used before may be
    static = StaticStep(language, head, memory)
    inputs = torch.randn(9, 32)
    with torch.inference_mode():
        whole = language(inputs_embeds=inputs.unsqueeze(0), use_cache=False).last_hidden_state[0]
        cache, other = llama.empty_cache(4), llama.empty_cache(4)
        llama.step([Row(cache, inputs[:4], 0)])
        assert static.adopt(cache) and not static.adopt(other)
        for place in (4, 5):
            assert static.adopt(cache)
            states = static.step(cache, inputs[place : place + 1]).states
            assert torch.allclose(states, whole[place : place + 1], atol=1e-5)
        assert not static.adopt(cache), "it is full"
        (rest,) = llama.step([Row(cache, inputs[6:], 3)])  # outgrows the fixed memory and leaves it
        assert torch.allclose(rest.states, whole[6:], atol=1e-5)
        assert static.adopt(other)


class FakeCuda:
    """torch.cuda's calls of a capture, recorded, with a pool of memory that the graph takes."""

    def __init__(self, error: str = "") -> None:
        self.calls: list[str] = []
        self.error, self.reserved = error, 1000

    def install(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(torch.cuda, "Stream", lambda device: SimpleNamespace(wait_stream=self._note("the stream waits")))
        patch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
        current = SimpleNamespace(wait_stream=self._note("the current stream waits"))
        patch.setattr(torch.cuda, "current_stream", lambda device: current)
        patch.setattr(torch.cuda, "memory_reserved", lambda device: self.reserved)
        patch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=self._note("replay")))
        patch.setattr(torch.cuda, "graph", self._graph)

    def _note(self, call: str) -> Callable[..., None]:
        return lambda *_: self.calls.append(call)

    @contextmanager
    def _graph(self, graph: object, capture_error_mode: str = "global") -> Iterator[None]:
        self.calls.append(f"capture {capture_error_mode}")
        self.reserved += 5000
        yield
        if self.error:
            raise RuntimeError(self.error)


@pytest.fixture
def on_cuda(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeCuda], tuple[Any, Any, RaggedLlama]]:
    """A toy LLaMA whose final norm says that it is on a GPU, and torch.cuda faked."""

    def install(fake: FakeCuda) -> tuple[Any, Any, RaggedLlama]:
        fake.install(monkeypatch)
        language, head = tiny_llama()
        monkeypatch.setattr(type(language.norm), "forward", lambda self, hidden: hidden)
        claimed = SimpleNamespace(shape=(32,), dtype=torch.float32, device=torch.device("cpu"), is_cuda=True)
        del language.norm._parameters["weight"]
        object.__setattr__(language.norm, "weight", claimed)
        return language, head, RaggedLlama(language, head)

    return install


def test_a_capture_is_thread_local_warmed_up_on_a_side_stream_and_counted(
    on_cuda: Callable[[FakeCuda], tuple[Any, Any, RaggedLlama]],
) -> None:
    fake = FakeCuda()
    language, head, llama = on_cuda(fake)
    memory = llama.empty_cache(6)
    static = static_step(language, head, memory)
    assert static is not None and static.nbytes == memory.nbytes + 5000, "the graph's own memory counts too"
    assert fake.calls == ["the stream waits", "the current stream waits", "capture thread_local"]
    cache = llama.empty_cache(4)
    assert static.adopt(cache)
    with torch.inference_mode():
        static.step(cache, torch.randn(1, 32))
    assert fake.calls[-1] == "replay"


def test_a_failed_capture_is_a_warning_and_other_steps_work(
    on_cuda: Callable[[FakeCuda], tuple[Any, Any, RaggedLlama]], caplog: pytest.LogCaptureFixture
) -> None:
    language, head, llama = on_cuda(FakeCuda("operation not permitted when stream is capturing"))
    assert static_step(language, head, llama.empty_cache(6)) is None
    assert "could not be captured" in caplog.text
    with torch.inference_mode():
        (output,) = llama.step([Row(llama.empty_cache(4), torch.randn(2, 32), 1)])
    assert output.states.isfinite().all()
