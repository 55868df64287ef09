# SPDX-License-Identifier: Apache-2.0
"""The loop that every stage of training goes through: AdamW, warm-up and cosine, resumable, with an error for NaN.

Precision is the stage's own affair, since it computes the loss: weights that are trained are float32 everywhere;
`lisa finetune` computes under bf16 autocast on a GPU and in fp32 on a CPU; the embedded recipe takes bf16 autocast on
the CPU too, where it was measured to be faster and no worse.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lisa_ros.segmentation.errors import LisaError
from lisa_ros.training.loop.optimizers import MuonAndAdamW
from lisa_ros.training.loop.reporting import Reporter
from lisa_ros.training.loop.states import Settings, StateFile
from lisa_ros.training.loop.stopping import StopRequest

Scalars = dict[str, float]
Step = Callable[[int], tuple[torch.Tensor, Scalars]]
"""Number of the batch -> its loss and what to log of it. The same number gives the same batch in every run; torch's
own random numbers (dropout) are seeded with the number too."""


@runtime_checkable
class DescribesBatches(Protocol):
    """A stage that can name what a batch is made of."""

    def describe(self, number: int) -> str:
        """Names of the images and questions in a batch, for the error that it causes."""
        ...


@runtime_checkable
class ShowsPredictions(Protocol):
    """A stage that can draw its predictions."""

    def images(self, number: int) -> NDArray[np.uint8]:
        """RGB (H, W, 3): rows of image, truth and prediction of a batch. Called without gradients."""
        ...


class DivergenceError(LisaError):
    """A loss or gradient is not finite; the text names stage, step and batch."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a stage learns.

    Attributes:
        steps: of the optimizer.
        learning_rate: the highest.
        warmup: steps until it is reached.
        weight_decay: of matrices; vectors have none.
        clip_norm: longest gradient.
        save_every: steps between two saved states.
        accumulate: batches whose mean gradient one step takes.
        betas: AdamW's.
        muon_rate: the highest learning rate of Muon, which then trains the inner matrices; 0: AdamW trains all.
        seed: of torch's own random numbers in the steps.
        log_every: steps between two lines of the log; the last step is logged too.
        image_every: steps between two images of how well it does.
    """

    steps: int
    learning_rate: float
    warmup: int = 100
    weight_decay: float = 0.02
    clip_norm: float = 1.0
    save_every: int = 50
    accumulate: int = 1
    betas: tuple[float, float] = (0.9, 0.98)
    muon_rate: float = 0.0
    seed: int = 0
    log_every: int = 10
    image_every: int = 200

    def settings(self) -> Settings:
        """All that the course of the training depends on."""
        rest = ("save_every", "log_every", "image_every")
        return {key: value for key, value in asdict(self).items() if key not in rest}


def learning_rate(schedule: Schedule, step: int) -> float:
    """Linear warm-up, then half a cosine down to 2 % of the full rate."""
    if step < schedule.warmup:
        return schedule.learning_rate * (step + 1) / schedule.warmup
    done = (step - schedule.warmup) / max(1, schedule.steps - schedule.warmup)
    return schedule.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


def train(
    name: str,
    module: nn.Module,
    step_loss: Step,
    schedule: Schedule,
    folder: Path,
    *,
    settings: Settings | None = None,
    trained_only: bool = False,
) -> None:
    """Trains the parameters of a module that require gradients.

    The state is saved every `save_every` steps, at the end, and on SIGINT or SIGTERM, which end the training cleanly
    (after a second one, or kill -9, the last saved state counts). The same call resumes an interrupted one and ends
    with exactly the weights that it would have had without the interruption.

    Args:
        name: of the stage; names its files (see StateFile and Reporter).
        module: trained in place; filled from the saved state where there is one. May also have the
                methods of DescribesBatches and ShowsPredictions.
        step_loss: computes one batch's loss.
        schedule: how long and how fast.
        folder: where states and logs go.
        settings: what else the training depends on (seed of the data, architecture ...); a saved state of other
            settings is refused.
        trained_only: save only the weights that are trained; the others come from elsewhere.

    Raises:
        DivergenceError: a loss or gradient is not finite.
        StateError: the saved state is damaged or belongs to other settings.
        OutputError: another process works on it.
        ValueError: nothing in the module is to be trained.
        KeyboardInterrupt: after SIGINT; the state is saved.
        SystemExit: after SIGTERM, with 143; the state is saved.
    """
    folder.mkdir(parents=True, exist_ok=True)
    optimizer = _optimizer(name, module, schedule)
    state = saved_state(name, schedule, folder, settings, trained_only=trained_only)
    with state.alone():
        first = state.load(module, optimizer)
        devices = {weight.device.index or 0 for weight in module.parameters() if weight.is_cuda}
        with (
            closing(Reporter(name, folder, first, schedule.steps)) as reporter,
            StopRequest() as stop,
            torch.random.fork_rng(devices=sorted(devices)),
        ):
            _Loop(name, module, step_loss, schedule, optimizer, state, reporter, stop).run(first)


def saved_state(
    name: str, schedule: Schedule, folder: Path, settings: Settings | None = None, *, trained_only: bool = False
) -> StateFile:
    """The state that a call of `train` with the same arguments resumes from, to be checked before heavy work."""
    return StateFile(folder / f"{name}.pt", {**schedule.settings(), **(settings or {})}, trained_only=trained_only)


def _optimizer(name: str, module: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    weights = [p for p in module.parameters() if p.requires_grad]
    if not weights:
        raise LisaError(f"stage {name} has no weights that are to be trained")
    if schedule.muon_rate:
        return MuonAndAdamW(
            module,
            learning_rate=schedule.learning_rate,
            muon_rate=schedule.muon_rate,
            weight_decay=schedule.weight_decay,
            betas=schedule.betas,
        )
    decayed = [p for p in weights if p.ndim > 1]
    plain = [p for p in weights if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": schedule.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=schedule.learning_rate, betas=schedule.betas)


class _StoppedError(Exception):
    """A stop was asked for inside a step; what is done of the step is dropped."""


@dataclass(frozen=True)
class _Loop:
    """The steps of one call of `train`."""

    name: str
    module: nn.Module
    step_loss: Step
    schedule: Schedule
    optimizer: torch.optim.Optimizer
    state: StateFile
    reporter: Reporter
    stop: StopRequest

    def run(self, first: int) -> None:
        saved = first
        for step in range(first, self.schedule.steps):
            try:
                scalars = self._step(step)
            except _StoppedError:
                self._end(step, saved)
            self._report(step, scalars)
            last = step + 1 == self.schedule.steps
            if last or (step + 1) % self.schedule.save_every == 0:
                saved = self._save(step + 1)
            if self.stop:
                self._end(step + 1, saved)

    def _step(self, step: int) -> Scalars:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.schedule, step) * group.get("scale", 1.0)
        self.optimizer.zero_grad(set_to_none=True)
        count = self.schedule.accumulate
        numbers = range(step * count, (step + 1) * count)
        scalars_of = [self._batch(step, number) for number in numbers]
        weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        norm = float(torch.nn.utils.clip_grad_norm_(weights, self.schedule.clip_norm))
        if not math.isfinite(norm):
            raise DivergenceError(self._fault("the gradient's length", norm, step, numbers))
        self.optimizer.step()
        mean = {key: sum(scalars[key] for scalars in scalars_of) / count for key in scalars_of[0]}
        return {**mean, "gradient": norm, "learning_rate": learning_rate(self.schedule, step)}

    def _batch(self, step: int, number: int) -> Scalars:
        """Adds a batch's share to the gradients."""
        torch.manual_seed((self.schedule.seed << 32) + number)
        loss, scalars = self.step_loss(number)
        if not torch.isfinite(loss):
            raise DivergenceError(self._fault(f"the loss ({scalars})", loss.item(), step, [number]))
        (loss / self.schedule.accumulate).backward()
        if self.stop and self.schedule.accumulate > 1:
            raise _StoppedError
        return scalars

    def _fault(self, what: str, value: float, step: int, numbers: range | list[int]) -> str:
        batch = "; ".join(
            self.module.describe(number) if isinstance(self.module, DescribesBatches) else f"batch {number}"
            for number in numbers
        )
        return (
            f"{what} of stage {self.name} is {value} at step {step}, on {batch}. "
            "Look for faults in this data, or take a lower learning rate"
        )

    def _report(self, step: int, scalars: Scalars) -> None:
        last = step + 1 == self.schedule.steps
        if last or step % self.schedule.log_every == 0:
            self.reporter.scalars(step, scalars)
        if isinstance(self.module, ShowsPredictions) and (last or step % self.schedule.image_every == 0):
            with torch.no_grad():
                self.reporter.image(step, self.module.images(step * self.schedule.accumulate))
        self.reporter.done()

    def _save(self, step: int) -> int:
        self.reporter.flush()
        self.state.save(self.module, self.optimizer, step)
        return step

    def _end(self, step: int, saved: int) -> None:
        if saved != step:
            self._save(step)
        print(f"\n{self.name} stopped before step {step}; the same command resumes from there", file=sys.stderr)
        self.stop.obey()
