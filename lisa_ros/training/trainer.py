# SPDX-License-Identifier: Apache-2.0
"""The loop that every stage of training goes through: AdamW, warm-up and cosine, resumable, loud about NaN."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

Scalars = dict[str, float]
Step = Callable[[int], tuple[torch.Tensor, Scalars]]
"""Number of the step -> its loss and what to log of it."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a stage learns."""

    steps: int
    learning_rate: float
    warmup: int = 100
    weight_decay: float = 0.02
    clip_norm: float = 1.0
    save_every: int = 50


def learning_rate(schedule: Schedule, step: int) -> float:
    """Linear warm-up, then half a cosine down to 2 % of the full rate."""
    if step < schedule.warmup:
        return schedule.learning_rate * (step + 1) / schedule.warmup
    done = (step - schedule.warmup) / max(1, schedule.steps - schedule.warmup)
    return schedule.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


def train(name: str, module: nn.Module, step_loss: Step, schedule: Schedule, folder: Path) -> None:
    """Trains the parameters of a module that require gradients.

    The state is saved every `save_every` steps and at the end; the same call goes on where an interrupted one
    was, with the same batches, since those depend on the step's number alone. Scalars are appended to
    `folder/<name>.jsonl`.

    Args:
        name: of the stage; names its files.
        module: trained in place; filled from the saved state where there is one.
        step_loss: computes one step's loss.
        schedule: how long and how fast.
        folder: where states and logs go.

    Raises:
        FloatingPointError: the loss is not finite; names stage and step.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = [p for p in module.parameters() if p.requires_grad]
    decayed = [p for p in weights if p.ndim > 1]
    plain = [p for p in weights if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": schedule.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=schedule.learning_rate, betas=(0.9, 0.98))
    state_file = folder / f"{name}.pt"
    first = _resume(state_file, module, optimizer)
    bar = tqdm(range(first, schedule.steps), initial=first, total=schedule.steps, desc=name, mininterval=10.0)
    began = time.monotonic()
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(schedule, step)
        loss, scalars = step_loss(step)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss of stage {name} is {loss.item()} at step {step}: {scalars}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, schedule.clip_norm)
        optimizer.step()
        if step % 10 == 0:
            _log(folder / f"{name}.jsonl", {"step": step, "seconds": time.monotonic() - began, **scalars})
            bar.set_postfix({key: f"{value:.3f}" for key, value in scalars.items()}, refresh=False)
        if (step + 1) % schedule.save_every == 0 or step + 1 == schedule.steps:
            _save(state_file, module, optimizer, step + 1)


def _resume(state_file: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    if not state_file.is_file():
        return 0
    state = torch.load(state_file, weights_only=True)
    module.load_state_dict(state["module"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def _save(state_file: Path, module: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    part = state_file.with_suffix(".part")
    torch.save({"module": module.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, part)
    part.replace(state_file)


def _log(file: Path, values: Scalars) -> None:
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(values) + "\n")
