# SPDX-License-Identifier: Apache-2.0
"""Images and masks read from files."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lisa_ros.segmentation.answers import Mask
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.atomic_files import write_bytes


def read_image(file: Path) -> NDArray[np.uint8]:
    """Read an image file with OpenCV, as the public implementation of LISA does.

    Returns:
        RGB uint8 (H, W, 3), turned upright where the file has an EXIF orientation.

    Raises:
        ValueError: There is no such file, it is a folder, OpenCV cannot read it, it has more pixels than Pillow opens
            (PIL.Image.MAX_IMAGE_PIXELS), or it holds 16-bit grey values: of depth in millimetres, the upper 8 bits are
            a nearly black image.
    """
    if _is_grey16(file):
        raise LisaError(f"{file} has 16-bit grey values, as depth has; name the colour image, or scale it to 8 bits")
    return np.asarray(cv2.cvtColor(_decoded(file, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), dtype=np.uint8)


def read_pixels(file: Path) -> NDArray[Any]:
    """As read_image, in the depth of the file: RGB uint8, uint16, float32 ... (H, W, 3), of a grey PFM file (H, W).

    Of 16 bits, read_image drops the lower 8, in which small numbers of objects stand.
    """
    pixels = _decoded(file, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    return pixels[:, :, ::-1] if pixels.ndim == 3 else pixels


def read_mask(file: Path) -> Mask:
    """Read a mask file, (H, W): every pixel that is not black belongs to the object.

    Raises:
        ValueError: See read_image.
    """
    pixels = read_pixels(file)
    return np.asarray(pixels.any(axis=2) if pixels.ndim == 3 else pixels, dtype=np.bool_)


def _is_grey16(file: Path) -> bool:
    """Whether a file is a PNG of grey values (with alpha or not) of 16 bits."""
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        head = opened.read(26)
    return head.startswith(b"\x89PNG") and head[24:25] == b"\x10" and head[25:] in (b"\x00", b"\x04")


def _decoded(file: Path, flags: int) -> NDArray[Any]:
    if file.is_dir():
        raise LisaError(f"{file} is a folder; name an image file in it")
    if not file.is_file():
        raise LisaError(f"there is no image file {file}")
    _check_pixels(file)
    try:
        image = cv2.imdecode(np.fromfile(file, dtype=np.uint8), flags) if file.stat().st_size else None
    except cv2.error:  # the header claims more pixels than OpenCV reads
        image = None
    if image is None:
        raise LisaError(f"{file} is damaged, or not an image that OpenCV can read (PNG, JPEG, BMP, TIFF, WebP ...)")
    return np.asarray(image)


def _check_pixels(file: Path) -> None:
    """Refuse an image that would take all memory by its header: decoded, a small file can have any number of pixels.

    The limit is Pillow's, as for PIL images: 89 million pixels, 256 MiB in RGB. OpenCV's own is 12 times as high.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            Image.open(file).close()
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        most = (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise LisaError(f"{file} has more than {most:.0f} million pixels, which are the most; scale it down") from error
    except Exception:  # Pillow cannot read it, for various reasons; OpenCV reads other formats, too
        return


def write_image(file: Path, image: NDArray[np.uint8]) -> None:
    """Write an image in the format that the file's name ends in.

    Args:
        file: For example a PNG.
        image: RGB uint8 (H, W, 3), or grey (H, W).

    Raises:
        OSError: It cannot be written.
    """
    stored = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    # OpenCV's own files end the process where a name is not UTF-8.
    encoded, data = cv2.imencode(file.suffix, stored)
    if not encoded:
        raise OSError(f"{file} cannot be written")
    write_bytes(file, data.tobytes())
