# SPDX-License-Identifier: Apache-2.0
"""LIRA's models for the tests of this folder, each loaded once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from lisa_ros.models.common.language.engine import Generation
from lisa_ros.models.common.language.llama import StepOutput
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.lira import Lira, load_lira
from lisa_ros.models.lira.reading import LiraEngine, Part
from lisa_ros.models.lira.segmenter import LiraSegmenter
from lisa_ros.models.loading import load_segmenter


@pytest.fixture(scope="session")
def lira(converted_lira: Path) -> Lira:
    options = LoadOptions(precision="fp32", device="cpu", refine=True, attributes=True)
    return load_lira(converted_lira, options)


@pytest.fixture(scope="session")
def uncached(converted_lira: Path) -> Lira:
    """The same model without a cache."""
    return load_lira(converted_lira, LoadOptions(precision="fp32", device="cpu", refine=True, cache_mib=0))


@pytest.fixture(scope="session")
def segmenter(converted_lira: Path) -> LiraSegmenter:
    loaded = load_segmenter(converted_lira, LoadOptions(precision="fp32", device="cpu", refine=True))
    assert isinstance(loaded, LiraSegmenter)
    return loaded


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make the model generate given tokens, as in the pack's forced cases; returns the states of each step."""

    def force(script: Sequence[int]) -> list[torch.Tensor]:
        tokens = iter([*script])
        states: list[torch.Tensor] = []
        extend = LiraEngine.extend

        def scripted(self: LiraEngine, generation: Generation, parts: Sequence[Part] = ()) -> StepOutput:
            output = extend(self, generation, parts)
            states.append(output.states)
            return StepOutput(output.states, [next(tokens, output.tokens[-1])], output.log_probs)

        monkeypatch.setattr(LiraEngine, "extend", scripted)
        return states

    return force
