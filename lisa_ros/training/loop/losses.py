# SPDX-License-Identifier: Apache-2.0
"""LISA's losses, as its authors compute them.

Weights: arXiv 2308.00692, section 3.2. Formulas: dvlab-research/LISA at 3cb2d43, model/LISA.py (`sigmoid_ce_loss`,
`dice_loss`, `model_forward`). test/test_losses.py has numbers computed by hand.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

TEXT_WEIGHT = 1.0
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


def batch_mask_losses(
    logits: Sequence[torch.Tensor], targets: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """BCE and DICE over a batch of images of any sizes, not weighted yet.

    As upstream: each image's mean counts as often as it has masks, over the number of all masks.

    Args:
        logits: for each image (n, H, W), at the image's own size.
        targets: likewise, 0 or 1.

    Returns:
        two scalars; zero, without a gradient, where there is no mask at all.
    """
    pairs = [(found, wanted) for found, wanted in zip(logits, targets, strict=True) if len(found)]
    if not pairs:
        return torch.zeros(()), torch.zeros(())
    count = sum(len(found) for found, _ in pairs) + 1e-8
    bce = torch.stack([bce_loss(found, wanted) * len(found) for found, wanted in pairs]).sum() / count
    dice = torch.stack([dice_loss(found, wanted) * len(found) for found, wanted in pairs]).sum() / count
    return bce, dice
