# SPDX-License-Identifier: Apache-2.0
"""ConvNeXt's trunk as OMG-Seg uses it: the raw maps of the four stages.

transformers' own layers. Its ConvNextBackbone normalizes each map once more, which OpenCLIP's trunk does not.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import ConvNextConfig
from transformers.models.convnext import modeling_convnext

from lisa_ros.models.lira.configuration import OmgSizes


class ConvNextTrunk(nn.Module):
    """Pixels -> four maps, of strides 4, 8, 16 and 32."""

    def __init__(self, sizes: OmgSizes) -> None:
        super().__init__()
        widths, depths = list(sizes.stage_widths), list(sizes.stage_depths)
        config = ConvNextConfig(hidden_sizes=widths, depths=depths, layer_scale_init_value=1.0)
        layers: Any = modeling_convnext
        self.embeddings = layers.ConvNextEmbeddings(config)
        entries = [widths[0], *widths[:-1]]
        self.stages = nn.ModuleList(
            layers.ConvNextStage(config, entries[i], widths[i], stride=2 if i else 1, depth=depths[i]) for i in range(4)
        )

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """(B, 3, h, w) -> (B, width, h / stride, w / stride) of each stage, not normalized."""
        maps = [self.embeddings(pixels)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps[1:]
