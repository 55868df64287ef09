# SPDX-License-Identifier: Apache-2.0
"""HIPIE's ResNet-50: bottlenecks with their stride in the 3x3 convolution, and frozen batch norms.

The modules are named as detectron2 names them, which is how checkpoints store them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import FrozenBatchNorm2d


@dataclass(frozen=True)
class StageSizes:
    """One stage of bottlenecks.

    Attributes:
        blocks: how many.
        inner, outer: channels inside a bottleneck and after it.
    """

    blocks: int
    inner: int
    outer: int


class NormedConv(nn.Conv2d):
    """A convolution without bias, and the norm that follows it."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, size, stride, padding=size // 2, bias=False)
        self.norm = FrozenBatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        out: torch.Tensor = self.norm(super().forward(x))
        return out


class Bottleneck(nn.Module):
    """ResNet's block (arXiv 1512.03385, section 4.1), with its stride in the 3x3."""

    def __init__(self, inputs: int, sizes: StageSizes, stride: int) -> None:
        super().__init__()
        self.conv1 = NormedConv(inputs, sizes.inner, 1)
        self.conv2 = NormedConv(sizes.inner, sizes.inner, 3, stride)
        self.conv3 = NormedConv(sizes.inner, sizes.outer, 1)
        changes = inputs != sizes.outer or stride != 1
        self.shortcut = NormedConv(inputs, sizes.outer, 1, stride) if changes else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, outer, H / stride, W / stride)."""
        inner = F.relu(self.conv2(F.relu(self.conv1(x))))
        return F.relu(self.conv3(inner) + self.shortcut(x))


class Backbone(nn.Module):
    """From pixels to features at strides 8, 16 and 32."""

    def __init__(self, stem: int, stages: Sequence[StageSizes]) -> None:
        """Takes the channels of the first convolution, and four stages: res2 to res5."""
        super().__init__()
        self.stem = nn.ModuleDict({"conv1": NormedConv(3, stem, 7, 2)})
        inputs = stem
        for number, sizes in enumerate(stages, start=2):
            strides = [1 if number == 2 else 2] + [1] * (sizes.blocks - 1)
            blocks = [Bottleneck(inputs if i == 0 else sizes.outer, sizes, stride) for i, stride in enumerate(strides)]
            self.add_module(f"res{number}", nn.Sequential(*blocks))
            inputs = sizes.outer

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """(B, 3, side, side) normalized -> the outputs of res3, res4 and res5."""
        x = F.max_pool2d(F.relu(self.stem["conv1"](pixels)), 3, 2, 1)
        features = []
        for number in range(2, 6):
            x = self.get_submodule(f"res{number}")(x)
            features.append(x)
        return features[1:]
