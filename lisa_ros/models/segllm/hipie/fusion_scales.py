# SPDX-License-Identifier: Apache-2.0
"""gamma_v and gamma_l, the scales with which text and image are fused, from another file than the checkpoint.

The public loader silently ignores the checkpoint's own: transformers' from_pretrained renames every key that has
"gamma" in it, so its model keeps those of the file that it was built from, HIPIE's r50_parts.pth. Published figures
were measured so; the checkpoint's own are what training ended with.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.weights.files import load_pickle
from lisa_ros.models.segllm.hipie.transformer.fusion import Fusion

NAMES = ("gamma_v", "gamma_l")


def take_fusion_scales(fusion: Fusion, file: Path) -> None:
    """Replaces both scales.

    Args:
        fusion: HIPIE's.
        file: a PyTorch file of HIPIE's weights, such as r50_parts.pth: a dictionary of tensors, or one under "model".

    Raises:
        CheckpointError: it cannot be read, or has not exactly one of each, of the right size.
    """
    tensors = _read(file)
    for name in NAMES:
        old: nn.Parameter = getattr(fusion, name)
        found = [value for key, value in tensors.items() if key.endswith(f"vl_layers.0.b_attn.{name}")]
        if len(found) != 1 or found[0].shape != old.shape:
            shapes = ", ".join(str(tuple(value.shape)) for value in found) or "none"
            raise CheckpointError(
                f"{file} must have one tensor ...vl_layers.0.b_attn.{name} of shape {tuple(old.shape)}; it has {shapes}"
            )
        old.data = found[0].to(old.device, old.dtype)


def _read(file: Path) -> dict[str, torch.Tensor]:
    if not file.is_file():
        raise CheckpointError(f"there is no file {file} to take the fusion scales from")
    content = load_pickle(file)
    content = content.get("model", content) if isinstance(content, dict) else {}
    return {str(key): value for key, value in content.items() if isinstance(value, torch.Tensor)}
