# SPDX-License-Identifier: Apache-2.0
"""Where a chat's images come from: a file, a folder, a camera of this computer."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.image_files import read_image

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
_SKIPPED_FRAMES = 4
"""A camera buffers a few; the one that is answered must be of now."""


class Source(Protocol):
    """Gives the image that a command is about."""

    def image(self) -> tuple[str, NDArray[np.uint8]]:
        """The name and the RGB uint8 (H, W, 3) image for the next command. Raises a ValueError if there is none."""
        ...

    def names(self) -> list[str]:
        """What `choose` takes."""
        ...

    def choose(self, name: str) -> None:
        """Changes the image: a name, a number counted from 1, "next", or the path of a file; else a ValueError."""
        ...


class FileSource:
    """An image file, or all of a folder."""

    def __init__(self, path: Path) -> None:
        """Raises a ValueError if there is no image."""
        self._files = _images_of(path.expanduser())
        self._place = 0
        self._read: tuple[Path, NDArray[np.uint8]] | None = None

    def image(self) -> tuple[str, NDArray[np.uint8]]:
        """See Source."""
        file = self._files[self._place]
        if self._read is None or self._read[0] != file:
            self._read = file, read_image(file)
        return file.name, self._read[1]

    def names(self) -> list[str]:
        """See Source."""
        return [file.name for file in self._files]

    def choose(self, name: str) -> None:
        """See Source."""
        if name == "next":
            self._place = (self._place + 1) % len(self._files)
        elif name in self.names():
            self._place = self.names().index(name)
        elif name.isdecimal() and 1 <= int(name) <= len(self._files):
            self._place = int(name) - 1
        else:
            file = Path(name).expanduser()
            read_image(file)
            self._files.append(file)
            self._place = len(self._files) - 1


class CameraSource:
    """A camera of this computer (V4L2 on Linux): a new image for each command."""

    def __init__(self, number: int) -> None:
        """Raises a ValueError if it cannot be opened."""
        self._number = number
        self._camera = cv2.VideoCapture(number)
        if not self._camera.isOpened():
            raise LisaError(f"camera {number} cannot be opened (/dev/video{number}); --camera takes its number")

    def image(self) -> tuple[str, NDArray[np.uint8]]:
        """See Source."""
        for _ in range(_SKIPPED_FRAMES):
            self._camera.grab()
        taken, frame = self._camera.read()
        if not taken:
            raise LisaError(f"camera {self._number} sends no image")
        return f"camera {self._number}", np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), dtype=np.uint8)

    def names(self) -> list[str]:
        """See Source."""
        return []

    def choose(self, name: str) -> None:
        """See Source."""
        raise LisaError("the camera gives a new image for each command; there is none to choose")


def _images_of(path: Path) -> list[Path]:
    if not path.is_dir():
        read_image(path)
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    if not files:
        raise LisaError(f"the folder {path} has no images ({', '.join(sorted(SUFFIXES))})")
    return files
