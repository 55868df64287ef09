# SPDX-License-Identifier: Apache-2.0
"""Quality of the masks' scores: of the masks with a score of 0.8, four in five should be right.

Brier (1950): mean squared difference of score and outcome. ECE (Naeini et al. 2015): mean over bins of equal width,
weighted by their masks, of the difference of mean score and share that is right. AUROC: the chance that a right mask
has a higher score than a wrong one, ties counting half.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lisa_ros.evaluation.items import Item
from lisa_ros.segmentation.scoring import RIGHT_IOU

BINS = 10
LIMITS = (0.3, 0.5, 0.7, 0.8, 0.9)
"""Values of min_score whose effect is reported."""

_SIDE, _MARGIN = 300, 46


@dataclass(frozen=True)
class Bin:
    """Masks with similar scores.

    Attributes:
        masks: how many.
        score: their mean score.
        right: the share of them that are right.
    """

    masks: int
    score: float
    right: float


@dataclass(frozen=True)
class Limit:
    """The effect of a min_score.

    Attributes:
        right_lost: share of the right masks that are below it.
        wrong_dropped: share of the wrong masks that are.
        absent_dropped: share of the masks of absent objects that are; None where there is no such mask.
    """

    min_score: float
    right_lost: float | None
    wrong_dropped: float | None
    absent_dropped: float | None


@dataclass(frozen=True)
class Reliability:
    """How scores and outcomes agree.

    Attributes:
        masks: that have a score and at least one pixel.
        right: the share of them with an IoU of RIGHT_IOU or more.
        score: their mean score.
        calibrated: whether all scores come from a calibration.
        auroc: None where all are right, or none is.
    """

    masks: int
    right: float
    score: float
    brier: float
    ece: float
    auroc: float | None
    bins: tuple[Bin, ...]
    limits: tuple[Limit, ...]
    calibrated: bool = False

    def as_json(self) -> dict[str, Any]:
        """For results.json."""
        return {"right_iou": RIGHT_IOU, **asdict(self)}

    def line(self) -> str:
        """For a terminal."""
        auroc = "-" if self.auroc is None else f"{self.auroc:.3f}"
        origin = "" if self.calibrated else " (not calibrated)"
        return (
            f"scores of {self.masks} masks{origin}: {self.right:.1%} right (IoU {RIGHT_IOU} or more), mean score "
            f"{self.score:.3f}, AUROC {auroc}, Brier {self.brier:.4f}, ECE {self.ece:.4f}"
        )


def reliability(items: Iterable[Item]) -> Reliability | None:
    """Of all masks of a run; None where none has a score."""
    scored = [item for item in items if item.failed is None and item.found_pixels and item.score is not None]
    if not scored:
        return None
    scores = np.array([item.score for item in scored], dtype=np.float64)
    right = np.array([item.iou >= RIGHT_IOU for item in scored])
    absent = np.array([item.absent for item in scored])
    bins = _bins(scores, right)
    return Reliability(
        masks=len(scored),
        right=float(right.mean()),
        score=float(scores.mean()),
        brier=float(((scores - right) ** 2).mean()),
        ece=sum(one.masks * abs(one.score - one.right) for one in bins) / len(scored),
        auroc=auroc(scores, right),
        bins=tuple(bins),
        limits=tuple(_limit(value, scores, right, absent) for value in LIMITS),
        calibrated=all(item.score_calibrated for item in scored),
    )


def auroc(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> float | None:
    """The area under the ROC curve (Mann-Whitney's U); None where all masks are right, or none is."""
    hits, misses = int(right.sum()), int((~right).sum())
    if not hits or not misses:
        return None
    _, index, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[index]
    return float((ranks[right].sum() - hits * (hits + 1) / 2) / (hits * misses))


def _bins(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> list[Bin]:
    """The bins that have masks."""
    places = np.minimum((scores * BINS).astype(int), BINS - 1)
    chosen = [places == number for number in range(BINS)]
    return [Bin(int(own.sum()), float(scores[own].mean()), float(right[own].mean())) for own in chosen if own.any()]


def _limit(value: float, scores: NDArray[np.float64], right: NDArray[np.bool_], absent: NDArray[np.bool_]) -> Limit:
    below = scores < value

    def share(of: NDArray[np.bool_]) -> float | None:
        return float(below[of].mean()) if of.any() else None

    return Limit(value, share(right), share(~right), share(absent))


def diagram(found: Reliability) -> str:
    """The reliability diagram as SVG: share that are right over score; a dot's area is the share of its masks."""
    size = _SIDE + 2 * _MARGIN
    ticks = "".join(_tick(value) for value in (0.0, 0.5, 1.0))
    dots = "".join(_dot(one, found.masks) for one in found.bins)
    low, high = _MARGIN, _MARGIN + _SIDE
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}" viewBox="0 0 {size} {size}" '
        f'font-family="sans-serif" font-size="13"><rect width="{size}" height="{size}" fill="white"/>'
        f'<rect x="{low}" y="{low}" width="{_SIDE}" height="{_SIDE}" fill="none" stroke="#888"/>'
        f'<line x1="{low}" y1="{high}" x2="{high}" y2="{low}" stroke="#bbb" stroke-dasharray="5 4"/>{ticks}{dots}'
        f'<text x="{size / 2}" y="{size - 8}" text-anchor="middle">score</text>'
        f'<text transform="translate(13 {size / 2}) rotate(-90)" text-anchor="middle">share that are right</text>'
        f'<text x="{size / 2}" y="{_MARGIN - 14}" text-anchor="middle">{found.masks} masks, ECE {found.ece:.3f}</text>'
        "</svg>"
    )


def _tick(value: float) -> str:
    x, y = _position(value, value)
    return (
        f'<text x="{x:.0f}" y="{_MARGIN + _SIDE + 16}" text-anchor="middle">{value:g}</text>'
        f'<text x="{_MARGIN - 5}" y="{y + 4:.0f}" text-anchor="end">{value:g}</text>'
    )


def _dot(one: Bin, masks: int) -> str:
    x, y = _position(one.score, one.right)
    radius = max(3.0, 26.0 * (one.masks / masks) ** 0.5)
    title = f"{one.masks} masks: mean score {one.score:.3f}, {one.right:.1%} right"
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="#2a6fbb" fill-opacity="0.55" stroke="#174a80">'
        f"<title>{title}</title></circle>"
    )


def _position(score: float, right: float) -> tuple[float, float]:
    return _MARGIN + score * _SIDE, _MARGIN + (1 - right) * _SIDE


def limit_rows(limits: Sequence[Limit]) -> list[list[str]]:
    """The limits as a table's texts, titles first."""
    titles = ["min_score", "right masks lost", "wrong masks dropped", "masks of absent objects dropped"]
    shares = [[one.right_lost, one.wrong_dropped, one.absent_dropped] for one in limits]
    cells = [["-" if share is None else f"{share:.1%}" for share in row] for row in shares]
    return [titles, *([f"{one.min_score:g}", *row] for one, row in zip(limits, cells, strict=True))]
