# SPDX-License-Identifier: Apache-2.0
"""Rows of different lengths in one step give what transformers computes for each alone."""

from __future__ import annotations

import pytest
import torch
from tiny_llama import tiny_llama

from lisa_ros.models.common.language.llama import RaggedLlama, Row


def test_rows_equal_transformers_on_each_alone() -> None:
    language, head = tiny_llama()
    llama = RaggedLlama(language, head)
    inputs = [torch.randn(n, 32) for n in (9, 1, 14)]
    caches = [llama.empty_cache(2) for _ in inputs]
    states: list[list[torch.Tensor]] = [[], [], []]
    with torch.inference_mode():
        for end in (0, 1, 6, 14):  # in uneven pieces; rows join and leave
            pieces = [(i, row[caches[i].length : end]) for i, row in enumerate(inputs)]
            running = [(i, piece) for i, piece in pieces if len(piece)]
            if running:
                outputs = llama.step([Row(caches[i], piece, len(piece)) for i, piece in running])
                for (i, _), output in zip(running, outputs, strict=True):
                    states[i].append(output.states)
        for row, parts in zip(inputs, states, strict=True):
            whole = language(inputs_embeds=row.unsqueeze(0), use_cache=False).last_hidden_state[0]
            assert torch.allclose(torch.cat(parts), whole, atol=1e-5)


def test_only_the_requested_outputs_and_no_trace_of_dropped_positions() -> None:
    language, head = tiny_llama()
    llama = RaggedLlama(language, head)
    inputs, wrong = torch.randn(8, 32), torch.randn(3, 32)
    with torch.inference_mode():
        whole = language(inputs_embeds=inputs.unsqueeze(0), use_cache=False).last_hidden_state[0]
        cache = llama.empty_cache(4)
        (nothing,) = llama.step([Row(cache, inputs[:5], 0)])
        assert nothing.states.shape == (0, 32) and nothing.tokens == []
        llama.step([Row(cache, wrong, 1)])
        cache.crop(5)
        (two,) = llama.step([Row(cache, inputs[5:], 2)])
        assert torch.allclose(two.states, whole[-2:], atol=1e-5)
        assert two.tokens == head(whole[-2:]).argmax(-1).tolist()


def test_a_failed_step_can_be_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    language, head = tiny_llama()
    llama, inputs = RaggedLlama(language, head), torch.randn(4, 32)
    with torch.inference_mode():
        expected = llama.step([Row(llama.empty_cache(8), inputs, 4)])[0].states
        cache = llama.empty_cache(8)
        forward = head.forward
        monkeypatch.setattr(head, "forward", lambda states: (_ for _ in ()).throw(torch.OutOfMemoryError("full")))
        with pytest.raises(torch.OutOfMemoryError):
            llama.step([Row(cache, inputs, 4)])
        monkeypatch.setattr(head, "forward", forward)
        assert cache.length == 0
        assert torch.equal(llama.step([Row(cache, inputs, 4)])[0].states, expected)


def test_cache_bytes_are_those_of_the_cache() -> None:
    llama = RaggedLlama(*tiny_llama())
    assert llama.cache_bytes(7) == llama.empty_cache(7).nbytes
