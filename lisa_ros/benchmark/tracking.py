# SPDX-License-Identifier: Apache-2.0
"""How well and how fast an object is followed: `python -m lisa_ros.benchmark.tracking FOLDER`.

FOLDER has the sequences that `python -m lisa_ros.simulation.moving FOLDER` rendered. Needs neither torch nor PyBullet.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_ros.segmentation.masks import intersection_over_union as iou
from lisa_ros.simulation.moving import MovingFrame, read_sequence
from lisa_ros.tracking.flow import FlowTracker
from lisa_ros.tracking.interface import Mask, Tracker, TrackState

START_ERROR_PX = 3


def _as_it_is(mask: Mask) -> Mask:
    return mask


def _wider(mask: Mask) -> Mask:
    return np.asarray(cv2.dilate(mask.view(np.uint8), _disc()) > 0)


def _narrower(mask: Mask) -> Mask:
    return np.asarray(cv2.erode(mask.view(np.uint8), _disc()) > 0)


def _disc() -> NDArray[np.uint8]:
    edge = 2 * START_ERROR_PX + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (edge, edge)), dtype=np.uint8)


STARTS: dict[str, Callable[[Mask], Mask]] = {"exact": _as_it_is, "wider": _wider, "narrower": _narrower}
"""The mask that tracking starts with: the truth, or one that is 3 pixels too wide or too narrow, like a model's."""


@dataclass(frozen=True)
class Followed:
    """One sequence, followed.

    Attributes:
        sequence: its name.
        start: a key of `STARTS`.
        iou: mean over the frames in which the object is seen at all; a frame in which it is LOST counts 0.
        least_iou: of those frames with at least a tenth of the object's first pixels.
        still_iou: `iou`, were the first mask kept as it is: what there is to gain.
        gone_after: the first frame in which the object is no longer seen, and not again later; None if it always is.
        lost_after: the first frame in which LOST was said.
        frame_ms: median time of a frame on the clock, milliseconds.
        frame_cpu_ms: the same of the processor's time, which other programs' work on the machine does not lengthen.
    """

    sequence: str
    start: str
    iou: float
    least_iou: float
    still_iou: float
    gone_after: int | None
    lost_after: int | None
    frame_ms: float
    frame_cpu_ms: float

    @property
    def lost_in_time(self) -> int | None:
        """Frames from the object's going until LOST was said; None if it did not go, or LOST was not said."""
        if self.gone_after is None or self.lost_after is None:
            return None
        return self.lost_after - self.gone_after


def follow(name: str, frames: Sequence[MovingFrame], start: str, tracker: Tracker) -> Followed:
    """Follows the target of a sequence from its first frame on."""
    first = STARTS[start](frames[0].target)
    tracker.start(frames[0].rgb, first)
    masks, clock_ms, cpu_ms, lost_after = [], [], [], None
    for index, frame in enumerate(frames[1:], 1):
        clock, cpu = time.perf_counter(), time.thread_time()
        tracked = tracker.update(frame.rgb)
        if tracked.state is TrackState.TRACKED:
            cpu_ms.append(1000 * (time.thread_time() - cpu))
            clock_ms.append(1000 * (time.perf_counter() - clock))
        elif lost_after is None:
            lost_after = index
        masks.append(tracked.mask)
    truths = [frame.target for frame in frames[1:]]
    seen = [iou(mask, truth) for mask, truth in zip(masks, truths, strict=True) if truth.any()]
    large = 0.1 * np.count_nonzero(frames[0].target)
    well_seen = [iou(m, truth) for m, truth in zip(masks, truths, strict=True) if np.count_nonzero(truth) >= large]
    still = [iou(first, truth) for truth in truths if truth.any()]
    return Followed(
        name, start, float(np.mean(seen)), min(well_seen), float(np.mean(still)), _gone_after(frames), lost_after,
        float(np.median(clock_ms)), float(np.median(cpu_ms)),
    )  # fmt: skip


def _gone_after(frames: Sequence[MovingFrame]) -> int | None:
    last_seen = max(index for index, frame in enumerate(frames) if frame.target.any())
    return last_seen + 1 if last_seen + 1 < len(frames) else None


def table(results: Sequence[Followed]) -> str:
    """The results in Markdown."""
    head = "| sequence | start | IoU | least | first mask kept | gone | LOST | frame, ms | of processor |"
    rows = [
        f"| {r.sequence} | {r.start} | {r.iou:.3f} | {r.least_iou:.3f} | {r.still_iou:.3f} | {_frame(r.gone_after)} | "
        f"{_frame(r.lost_after)} | {r.frame_ms:.1f} | {r.frame_cpu_ms:.1f} |"
        for r in results
    ]
    return "\n".join([head, "|" + "---|" * 9, *rows])


def _frame(index: int | None) -> str:
    return "" if index is None else str(index)


def summary(results: Sequence[Followed]) -> str:
    """The results' means and worst cases, one line each."""
    delays = [r.lost_in_time for r in results if r.lost_in_time is not None]
    never = sum(r.gone_after is not None and r.lost_after is None for r in results)
    early = sum(r.gone_after is None and r.lost_after is not None for r in results)
    slowest = max(results, key=lambda r: r.frame_cpu_ms)
    lines = [
        f"mean IoU {np.mean([r.iou for r in results]):.3f}; worst sequence {min(r.iou for r in results):.3f}",
        f"LOST after the object went: {sorted(delays)} frames (below 0: before); never said: {never}",
        f"LOST though the object was there to the end: {early}",
        f"a frame: median {np.median([r.frame_ms for r in results]):.1f} ms, "
        f"{np.median([r.frame_cpu_ms for r in results]):.1f} ms of processor time; "
        f"slowest sequence {slowest.frame_cpu_ms:.1f} ms of it",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Follows the targets of all sequences in FOLDER on one core, and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m lisa_ros.benchmark.tracking", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--starts", nargs="+", choices=list(STARTS), default=list(STARTS))
    parser.add_argument("--json", type=Path, help="also write the results here")
    options = parser.parse_args(arguments)
    paths = sorted(path for path in options.folder.glob("*.npz") if ".partial" not in path.name)
    if not paths:
        parser.error(f"{options.folder} has no sequences: render some with python -m lisa_ros.simulation.moving")
    cv2.setNumThreads(1)
    results = []
    for path in paths:
        frames = read_sequence(path)
        results += [follow(path.stem, frames, start, FlowTracker()) for start in options.starts]
    print(f"{table(results)}\n\n{summary(results)}")
    if options.json:
        options.json.write_text(json.dumps([asdict(r) for r in results], indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
