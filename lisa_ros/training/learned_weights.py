# SPDX-License-Identifier: Apache-2.0
"""What a stage has learned, read from its saved state, and means of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lisa_ros.training.loop.states import Settings, StateError

Weights = dict[str, torch.Tensor]


def learned_weights(file: Path, prefix: str, settings: Settings) -> Weights:
    """The weights of a part of the network as a finished stage left them.

    Args:
        file: the stage's state, `<stage>.pt`.
        prefix: of the names to read; it is left out of the result's names.
        settings: some of those that the stage must have been trained with.

    Raises:
        StateError: there is no such file, the stage is not finished, or it was trained with other settings.
    """
    stage = file.stem
    if not file.is_file():
        raise StateError(f"there is no {file}: train the stage {stage} first, or name another --work")
    state = torch.load(file, weights_only=True)
    _check(file, state, settings)
    return {key.removeprefix(prefix): value for key, value in state["module"].items() if key.startswith(prefix)}


def _check(file: Path, state: Mapping[str, Any], settings: Settings) -> None:
    stored: dict[str, Any] = json.loads(state.get("settings") or "{}")
    wanted = stored.get("steps", state["step"])
    if state["step"] < wanted:
        raise StateError(f"{file} is at step {state['step']} of {wanted}: finish the stage {file.stem} first")
    for name, value in settings.items():
        if stored and stored.get(name) != value:
            raise StateError(
                f"{file} was trained with {name} {stored.get(name)}, not {value}. Use the same, or name another --work"
            )


def mean_weights(learned: Sequence[Mapping[str, torch.Tensor]]) -> Weights:
    """The mean of networks that went on from each other (model soups: Wortsman et al., arXiv 2203.05482).

    Args:
        learned: tensors by name, the same names and shapes in each.
    """
    return {key: torch.stack([one[key].float() for one in learned]).mean(0) for key in learned[0]}


def between(before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor], share: float) -> Weights:
    """Weights between a network and what it became (Wortsman et al., arXiv 2109.01903).

    Args:
        before: tensors by name.
        after: the same names and shapes.
        share: of `before`, 0 to 1.
    """
    return {key: torch.lerp(value.float(), before[key].float(), share) for key, value in after.items()}
