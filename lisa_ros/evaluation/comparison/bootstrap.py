# SPDX-License-Identifier: Apache-2.0
"""Confidence intervals by the percentile bootstrap (Efron 1979), with images or dialogues as the unit of resampling.

The questions of one image, or the turns of one dialogue, depend on each other; so images are drawn, not questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lisa_ros.evaluation.items import Item

DRAWS = 2000
LEVEL = 0.95
_SEED = 0


@dataclass(frozen=True)
class Interval:
    """A number with its confidence interval.

    Attributes:
        value: of all items.
        low, high: ends of the interval of LEVEL.
        images: how many images or dialogues were resampled.
    """

    value: float
    low: float
    high: float
    images: int

    @property
    def excludes_zero(self) -> bool:
        """Whether a difference is distinguishable from none."""
        return self.low > 0 or self.high < 0


def mean_iou(items: Sequence[Item]) -> Interval | None:
    """Mean IoU of the scored items (gIoU), 0 to 1; None where there are none."""
    scored = [item for item in items if item.failed is None]
    return _interval([item.sample for item in scored], [item.iou for item in scored])


def share(items: Sequence[Item], hits: Sequence[bool]) -> Interval | None:
    """The share of the items that are hits, 0 to 1; None where there are none."""
    return _interval([item.sample for item in items], [float(hit) for hit in hits])


def difference(one: Sequence[Item], other: Sequence[Item]) -> Interval | None:
    """Mean IoU of `one` minus that of `other`, -1 to 1, over the questions of both runs; None for none.

    A variant is compared with the same variant where both runs have it in common, as those of the protocol
    "quantization" do; otherwise variants do not count.
    """
    skipped = 0 if {item.variant for item in one} & {item.variant for item in other} else 1
    theirs = {item.key[skipped:]: item for item in other if item.failed is None}
    pairs = [(item, theirs[item.key[skipped:]]) for item in one if item.failed is None and item.key[skipped:] in theirs]
    return _interval([item.sample for item, _ in pairs], [item.iou - them.iou for item, them in pairs])


def _interval(samples: Sequence[str], values: Sequence[float]) -> Interval | None:
    if not values:
        return None
    names, index = np.unique(np.array(samples), return_inverse=True)
    sums = np.bincount(index, weights=np.array(values), minlength=len(names)).astype(np.float64)
    counts = np.bincount(index, minlength=len(names)).astype(np.float64)
    means = _resampled(sums, counts)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(np.sum(sums) / np.sum(counts)), float(low), float(high), len(names))


def _resampled(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """(DRAWS,) means of resampled images; the same in every run."""
    rng = np.random.default_rng(_SEED)
    n = len(sums)
    means = np.empty(DRAWS)
    for draw in range(DRAWS):
        chosen = rng.integers(n, size=n)
        means[draw] = sums[chosen].sum() / counts[chosen].sum()
    return means
