# SPDX-License-Identifier: Apache-2.0
"""LIRA's released pieces as one network's tensors, with a strict report of every wrong name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.weights.files import Layout
from lisa_ros.models.lira.configuration import LiraConfig, configuration_of
from lisa_ros.models.lira.keys import Recipe, is_unused, recipe_of
from lisa_ros.models.lira.network import LiraNetwork
from lisa_ros.models.lira.released.describing import described, lora_scale
from lisa_ros.models.lira.released.pieces import ReleasedTensors, find_pieces


class ReleasedLira:
    """LIRA's tensors by LiraNetwork's names, made of the released pieces one by one. Has the interface of WeightFiles.

    Attributes:
        folder: of the pieces.
        pieces: the path of each piece.
        files: all files that are read.
        description: the entries of config.json that describe the network.
        config: the same, checked.
        network: on the meta device.
    """

    def __init__(self, source: Path) -> None:
        """Finds the pieces and compares all their names and shapes with what the network needs.

        Raises:
            CheckpointError: lists every tensor that is missing, unexpected or misshapen, or what else is wrong.
        """
        self.pieces = find_pieces(source)
        self.folder, self.files = self.pieces.lira.parent.parent, self.pieces.files
        self._tensors = ReleasedTensors(self.pieces)
        self.description: dict[str, Any] = described(self.pieces, self._tensors)
        self.config: LiraConfig = configuration_of(self.description, self.folder, "none")
        with torch.device("meta"):
            self.network = LiraNetwork(self.config)
        scale = lora_scale(self.pieces)
        self._recipes = {key: recipe_of(key, self.config, scale) for key in self.network.state_dict()}
        self._check()

    def layouts(self) -> dict[str, Layout]:
        """Name -> type and shape, in the order of `tensors`."""
        return {key: Layout.of(self._made(recipe, meta=True)) for key, recipe in self._recipes.items()}

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every name with its tensor, LoRA merged."""
        for key, recipe in self._recipes.items():
            yield key, self._made(recipe).contiguous()

    def report(self) -> str:
        """One line: how many tensors come from which piece, and how many are unused."""
        used = {released for recipe in self._recipes.values() for released in recipe.sources}
        counts = {piece: sum(one[0] == piece for one in used) for piece in ("lira", "internvl", "omg", "classes")}
        by_piece = ", ".join(f"{count} of {piece}" for piece, count in counts.items())
        unused = sum(is_unused(released) for released in self._tensors.names())
        total = sum(counts.values())
        return f"{len(self._recipes)} tensors made of {total} released ones ({by_piece}); {unused} are unused"

    def _made(self, recipe: Recipe, *, meta: bool = False) -> torch.Tensor:
        sources = [self._tensors[released] for released in recipe.sources]
        return recipe.make(*(one.to("meta") for one in sources) if meta else sources)

    def _check(self) -> None:
        needed = {released for recipe in self._recipes.values() for released in recipe.sources}
        missing = sorted(":".join(one) for one in needed if one not in self._tensors)
        names = self._tensors.names()
        unexpected = sorted(":".join(one) for one in names if one not in needed and not is_unused(one))
        misshapen = [] if missing else self._misshapen({k: v.shape for k, v in self.network.state_dict().items()})
        faults = [("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen)]
        found = [f"{len(names)} {what}: {', '.join(names)}" for what, names in faults if names]
        if found:
            raise CheckpointError(f"the pieces in {self.folder} are not LIRA's. " + "; ".join(found))

    def _misshapen(self, needed: Mapping[str, torch.Size]) -> list[str]:
        wrong = []
        for key, recipe in self._recipes.items():
            sources = ", ".join(f"{':'.join(one)} {tuple(self._tensors[one].shape)}" for one in recipe.sources)
            try:
                fits = self._made(recipe, meta=True).shape == needed[key]
            except RuntimeError:  # the shapes do not fit together
                fits = False
            wrong += [] if fits else [f"{sources} for {key} {tuple(needed[key])}"]
        return wrong
