# SPDX-License-Identifier: Apache-2.0
"""A video of the camera's images; each answer is shown for a moment in place of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_ros.segmentation.errors import LisaError

_SHOWN_S = 2.0
_BAND = 96
"""Pixels below the camera's image, for the text of an overlay."""


class Video:
    """Writes an MP4 (MPEG-4 part 2, by OpenCV). The camera's time stands still while an answer is shown."""

    def __init__(self, file: Path, rate_hz: float) -> None:
        """Begin a video; its size is that of the first image.

        Args:
            file: .mp4.
            rate_hz: Images per second.
        """
        self._file, self._rate_hz = file, rate_hz
        self._part = file.with_name(f"{file.stem}.part{file.suffix}")  # OpenCV chooses the format by the ending
        self._images = 0
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._next_ns = 0

    def wants(self, time_ns: int) -> bool:
        """Whether the video needs an image of this time."""
        return time_ns >= self._next_ns

    def add(self, image: NDArray[np.uint8], time_ns: int) -> None:
        """Add an image of the camera, RGB."""
        period_ns = round(1e9 / self._rate_hz)
        self._next_ns = max(self._next_ns + period_ns, time_ns - period_ns) if self._next_ns else time_ns + period_ns
        self._write(image)

    def show(self, overlay: NDArray[np.uint8]) -> None:
        """Show an answer."""
        for _ in range(round(_SHOWN_S * self._rate_hz)):
            self._write(overlay)

    def finish(self) -> None:
        """Complete the file and give it its name.

        Raises:
            OSError: It is incomplete, for example because its disk is full. Nothing is left of it.
        """
        if self._writer is None:
            return
        self._writer.release()
        if _length(self._part) != self._images:  # OpenCV does not report what it could not write
            self.abandon()
            raise OSError(f"the video {self._file} cannot be written completely; its disk may be full")
        self._part.replace(self._file)

    def abandon(self) -> None:
        """Delete what was written."""
        if self._writer is not None:
            self._writer.release()
            self._part.unlink(missing_ok=True)

    def _write(self, image: NDArray[np.uint8]) -> None:
        if self._writer is None:
            self._writer = self._open(image)
        width, height = self._size
        canvas = np.full((height, width, 3), 24, dtype=np.uint8)
        part = image[:height, :width]
        canvas[: part.shape[0], : part.shape[1]] = part
        self._writer.write(cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR))
        self._images += 1

    def _open(self, image: NDArray[np.uint8]) -> cv2.VideoWriter:
        height, width = image.shape[:2]
        self._size = (width + width % 2, height + height % 2 + _BAND)  # the codec wants even sides
        writer = cv2.VideoWriter(str(self._part), cv2.VideoWriter.fourcc(*"mp4v"), self._rate_hz, self._size)
        if not writer.isOpened():
            raise LisaError(f"the video {self._file} cannot be written; its name must end in .mp4, its folder exist")
        return writer


def _length(file: Path) -> int:
    """The images of a video; 0: it is not complete."""
    video = cv2.VideoCapture(str(file))
    try:
        return int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
    finally:
        video.release()
