# SPDX-License-Identifier: Apache-2.0
"""The saved state of a training: a file that is always complete and names the settings it belongs to."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.atomic_files import naming
from lisa_ros.segmentation.files.output_folders import lock

Settings = Mapping[str, Any]
"""What a training's course depends on, as values that JSON has. Two trainings that differ in one are not the same."""


class StateError(LisaError):
    """A training cannot resume from a saved state; the text says why and what to do."""


class StateFile:
    """The state of one training: weights, optimizer, number of the next step.

    Written under another name first, so that a process killed at any moment leaves the last whole state.
    """

    def __init__(self, file: Path, settings: Settings, *, trained_only: bool = False) -> None:
        """Nothing is read or written yet.

        Args:
            file: its folder exists.
            settings: of the training that it belongs to.
            trained_only: keep only the weights that require gradients; the others come from elsewhere.
        """
        self.file = file
        self._settings = _as_json(settings)
        self._trained_only = trained_only

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps the file to this process. Raises an OutputError where another one has it."""
        with self.file.with_suffix(".lock").open("w") as stream:
            lock(stream, self.file)
            yield

    def check(self) -> None:
        """Raises a StateError where the file belongs to a training with other settings, or is damaged."""
        if self.file.is_file():
            self._read(mapped=True)

    def load(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> int:
        """Fills module and optimizer from the file, where there is one.

        Returns:
            the number of the next step; 0 without a file.

        Raises:
            StateError: see `check`; or the weights are not those of this module.
        """
        if not self.file.is_file():
            return 0
        state = self._read(mapped=False)
        try:
            self._load_weights(module, state["module"])
            optimizer.load_state_dict(state["optimizer"])
            return int(state["step"])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise StateError(
                f"{self.file} is not the state of this network ({error}); delete it to start again"
            ) from error

    def save(self, module: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Writes the state before a step. Raises an OSError that names the file where the disk has no room."""
        state = {
            "module": self._weights(module),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "settings": json.dumps(self._settings),
        }
        part = self.file.with_suffix(".part")
        try:
            with naming(self.file), part.open("wb") as stream:
                torch.save(state, stream)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError:
            part.unlink(missing_ok=True)
            raise
        part.replace(self.file)

    def _weights(self, module: nn.Module) -> dict[str, torch.Tensor]:
        state = module.state_dict()
        if not self._trained_only:
            return state
        return {name: state[name] for name, weight in module.named_parameters() if weight.requires_grad}

    def _load_weights(self, module: nn.Module, weights: dict[str, torch.Tensor]) -> None:
        if self._trained_only and weights.keys() != self._weights(module).keys():
            differing = sorted(weights.keys() ^ self._weights(module).keys())
            raise ValueError(f"other weights are trained: {', '.join(differing)}")
        module.load_state_dict(weights, strict=not self._trained_only)

    def _read(self, *, mapped: bool) -> dict[str, Any]:
        """The file's content; mapped, reading the settings does not read gigabytes."""
        try:
            state = torch.load(self.file, map_location="cpu", weights_only=True, mmap=mapped)
        except Exception as error:  # damaged bytes can raise anything
            raise StateError(f"{self.file} is damaged ({type(error).__name__}); delete it to start again") from error
        if not isinstance(state, dict) or not {"module", "optimizer", "step"} <= state.keys():
            raise StateError(f"{self.file} is no state of a training; name another folder, or delete it")
        self._check_settings(state.get("settings"))
        return state

    def _check_settings(self, stored: str | None) -> None:
        if stored is None:
            print(f"{self.file} does not say which settings it belongs to; taken as this training's", file=sys.stderr)
            return
        before: dict[str, Any] = json.loads(stored)
        unlike = [
            _difference(key, before, self._settings)
            for key in sorted(before.keys() | self._settings.keys())
            if _shown(before, key) != _shown(self._settings, key)
        ]
        if unlike:
            raise StateError(
                f"{self.file} belongs to a training with other settings: {'; '.join(unlike)}. Use those, "
                "name another folder, or delete the file to start again"
            )


def _as_json(settings: Settings) -> dict[str, Any]:
    """As it comes back from a file: tuples are lists there."""
    value: dict[str, Any] = json.loads(json.dumps(dict(settings), default=str))
    return value


def _difference(key: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs in a setting; of one that has entries by name, such as files, their names."""
    old, new = before.get(key), now.get(key)
    if isinstance(new, dict) and old is None:
        return f"there was no {key}"
    if isinstance(old, dict) and new is None:
        return f"there is no {key} now"
    if not isinstance(old, dict) or not isinstance(new, dict):
        return f"{key} was {_shown(before, key)} and is now {_shown(now, key)}"
    kinds = {
        "is new": new.keys() - old.keys(),
        "is missing": old.keys() - new.keys(),
        "has changed": {name for name in old.keys() & new.keys() if old[name] != new[name]},
    }
    parts = [f"{_some(names)} {kind}" for kind, names in kinds.items() if names]
    return f"in {key}, {', '.join(parts)}"


def _some(names: Collection[str]) -> str:
    first, *others = sorted(names)
    return f"{first} (and {len(others)} more)" if others else first


def _shown(settings: Mapping[str, Any], key: str) -> str:
    return json.dumps(settings[key], ensure_ascii=False) if key in settings else "not set"
