# SPDX-License-Identifier: Apache-2.0
"""The decoding step in fixed memory gives the numbers of any other step, for one row at a time."""

from __future__ import annotations

import torch
from tiny_llama import tiny_llama

from lisa_ros.models.common.language.llama import RaggedLlama, Row
from lisa_ros.models.common.language.static_step import StaticStep


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
