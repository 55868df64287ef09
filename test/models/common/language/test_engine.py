# SPDX-License-Identifier: Apache-2.0
"""The engine within its memory: eviction and retry, limits, closing; and its deterministic mode."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
import torch
from tiny_llama import FakeImage, tiny_network

from lisa_ros.models.common.errors import ClosedError, DeviceMemoryError, MemoryLimitError
from lisa_ros.models.common.language import engine as engine_module
from lisa_ros.models.common.language.engine import Engine, Generation
from lisa_ros.models.common.language.llama import Row, StepOutput
from lisa_ros.models.common.memory import EngineOptions

PATIENCE_S = 60
LARGE = 1 << 30


def start(engine: Engine, image: FakeImage, ids: Sequence[int], patches: int = 4) -> Generation:
    """A prompt that begins with one token and the image."""
    inputs = torch.cat([engine.embed([1]), torch.ones(patches, 32), engine.embed(ids)])
    return engine.prefill(image, (1, *[image.number] * patches, *ids), inputs, 1 + patches)


def answer(engine: Engine, image: FakeImage, ids: Sequence[int], tokens: int = 3) -> list[torch.Tensor]:
    """The states of a greedy answer."""
    with start(engine, image, ids) as generation:
        output = generation.extend(())
        states = [output.states]
        for _ in range(tokens):
            output = generation.extend(output.tokens)
            states.append(output.states)
        generation.store()
    return states


def fail_once(engine: Engine, monkeypatch: pytest.MonkeyPatch, times: int = 1) -> list[int]:
    """Out of memory in the next steps; returns the list of the steps that were tried."""
    step, tried = engine._llama.step, []

    def failing(rows: Sequence[Row]) -> list[StepOutput]:
        tried.append(len(rows))
        if len(tried) <= times:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return step(rows)

    monkeypatch.setattr(engine._llama, "step", failing)
    return tried


def test_out_of_memory_evicts_prefixes_and_the_step_is_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, image = Engine(tiny_network(), EngineOptions(LARGE)), FakeImage()
    expected = answer(engine, image, [5, 6])
    assert engine.prefixes.nbytes > 0
    generation = start(engine, image, [5, 6])
    tried = fail_once(engine, monkeypatch)
    output = generation.extend(())
    assert len(tried) == 2 and engine.prefixes.nbytes == 0
    assert torch.allclose(output.states, expected[0], atol=1e-5)


def test_a_second_out_of_memory_is_an_error_and_the_next_answer_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, image = Engine(tiny_network(), EngineOptions(LARGE)), FakeImage()
    expected = answer(engine, image, [5, 6])
    fail_once(engine, monkeypatch, times=2)
    with pytest.raises(DeviceMemoryError, match=r"lower concurrent_commands.*\(CUDA out of memory\)"):
        answer(engine, image, [7])
    again = answer(engine, image, [5, 6])
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(again, expected, strict=True))
    assert engine.prefixes.running_bytes == 0


def test_answers_return_their_memory_and_a_limit_refuses_with_a_sentence() -> None:
    network = tiny_network()
    position = Engine(network, EngineOptions(0))._llama.cache_bytes(1)
    engine = Engine(network, EngineOptions(LARGE, limit_bytes=160 * position))
    image = FakeImage()
    answer(engine, image, [5, 6])
    assert engine.prefixes.running_bytes == 0 < engine.prefixes.nbytes
    first, second = start(engine, image, [5]), start(engine, image, [6])  # 70 positions each
    with pytest.raises(MemoryLimitError, match="running answers already take"):
        start(engine, image, [7])
    first.close()
    first.close()
    third = start(engine, image, [7])
    for generation in (second, third):
        generation.close()
    assert engine.prefixes.running_bytes == 0


def test_a_growing_answer_reserves_what_it_takes() -> None:
    engine, image = Engine(tiny_network(), EngineOptions(LARGE)), FakeImage()
    with start(engine, image, [5, 6]) as generation:
        generation.extend(())
        before = engine.prefixes.running_bytes
        generation.extend([7] * 100)
        assert engine.prefixes.running_bytes == generation._cache.nbytes > before
    assert engine.prefixes.running_bytes == 0


def test_closing_waits_for_a_running_step_and_refuses_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, image = Engine(tiny_network(), EngineOptions(LARGE)), FakeImage()
    generation = start(engine, image, [5, 6])
    step, running, resume = engine._llama.step, threading.Event(), threading.Event()

    def slow(rows: Sequence[Row]) -> list[StepOutput]:
        running.set()
        assert resume.wait(PATIENCE_S)
        return step(rows)

    monkeypatch.setattr(engine._llama, "step", slow)
    outputs: list[StepOutput] = []
    answering = threading.Thread(target=lambda: outputs.append(generation.extend(())))
    answering.start()
    assert running.wait(PATIENCE_S)
    closing = threading.Thread(target=engine.close)
    closing.start()
    closing.join(0.05)
    assert closing.is_alive(), "a step is running"
    resume.set()
    for thread in (closing, answering):
        thread.join(PATIENCE_S)
    assert len(outputs) == 1 and not closing.is_alive()
    with pytest.raises(ClosedError):
        generation.extend([3])


def test_deterministic_answers_do_not_depend_on_earlier_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same splits into steps every time: the image alone, the rest of the prompt, then token by token."""

    def steps(engine: Engine, image: FakeImage, ids: Sequence[int]) -> list[int]:
        step, counts = engine._llama.step, []
        with monkeypatch.context() as patch:
            patch.setattr(
                engine._llama, "step", lambda rows: (counts.append([len(row.inputs) for row in rows]), step(rows))[1]
            )
            answer(engine, image, ids)
        return [count for (count,) in counts]

    options = EngineOptions(LARGE, deterministic=True)
    network, image = tiny_network(), FakeImage()
    engine = Engine(network, options)
    first = steps(engine, image, [5, 6, 7])
    assert first == [5, 3, 1, 1, 1]
    steps(engine, image, [5, 6])
    assert steps(engine, image, [5, 6, 7]) == first[1:], "only the image comes from the prefix cache"
    assert engine.batcher._max_rows == 1
    assert steps(Engine(network, EngineOptions(LARGE)), image, [5, 6, 7]) == first


def test_the_captured_step_is_left_out_where_the_limit_is_small() -> None:
    network = tiny_network()
    needed = Engine(network, EngineOptions(0))._llama.cache_bytes(engine_module.CAPACITY)
    assert Engine(network, EngineOptions(0, limit_bytes=2 * needed, static_step=True))._static is None
    engine = Engine(network, EngineOptions(LARGE, limit_bytes=4 * needed, static_step=True))
    assert engine._static is not None and engine.prefixes._fixed == engine._static.nbytes == needed
