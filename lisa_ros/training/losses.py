# SPDX-License-Identifier: Apache-2.0
"""LISA's mask losses, as its authors compute them (arXiv 2308.00692, section 3.2; weights BCE 2.0, DICE 0.5)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

BCE_WEIGHT = 2.0
DICE_WEIGHT = 0.5


def bce_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy, mean over a mask's pixels, then over masks.

    Args:
        logits: (n, H, W).
        target: (n, H, W) in 0..1; a share of a coarse pixel is allowed.
    """
    each = F.binary_cross_entropy_with_logits(logits, target, reduction="none").flatten(1).mean(1)
    return each.sum() / (len(each) + 1e-8)


def dice_loss(logits: torch.Tensor, target: torch.Tensor, scale: float = 1000.0, eps: float = 1e-6) -> torch.Tensor:
    """1 - DICE coefficient, mean over masks.

    Args:
        logits: (n, H, W).
        target: (n, H, W) in 0..1.
        scale: upstream's; keeps the sums finite in half precision.
        eps: upstream's; counts nothing found of nothing wanted as right.
    """
    found, wanted = logits.sigmoid().flatten(1), target.flatten(1)
    shared = 2 * (found / scale * wanted).sum(-1)
    total = (found / scale).sum(-1) + (wanted / scale).sum(-1)
    each = 1 - (shared + eps) / (total + eps)
    return each.sum() / (len(each) + 1e-8)


def mask_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The weighted sum of both; zero, with a gradient, for no masks."""
    if not len(logits):
        return logits.sum()
    return BCE_WEIGHT * bce_loss(logits, target) + DICE_WEIGHT * dice_loss(logits, target)
