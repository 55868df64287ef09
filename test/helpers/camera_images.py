# SPDX-License-Identifier: Apache-2.0
"""One image in every encoding, made from the definitions of the encodings without OpenCV or cv_bridge.

The image has flat colours in large blocks: every correct interpolation of a Bayer pattern or of subsampled colour gives
the same values inside a block.
"""

import array

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

HEIGHT, WIDTH = 32, 48
RED, GREEN, BLUE = (200, 30, 20), (40, 190, 30), (10, 40, 210)
COLOURED = ("rgb8", "bgr8", "rgba8", "bgra8", "rgb16", "bgr16", "rgba16", "bgra16")
MONO = ("mono8", "8UC1", "mono16")
BAYER = tuple(f"bayer_{pattern}{bits}" for bits in (8, 16) for pattern in ("rggb", "bggr", "gbrg", "grbg"))
YUV = ("yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv12", "nv21", "nv24")
ENCODINGS = COLOURED + MONO + BAYER + YUV


def colours() -> NDArray[np.uint8]:
    """RGB: red left, green in the middle, blue right."""
    image = np.empty((HEIGHT, WIDTH, 3), dtype=np.uint8)
    for i, colour in enumerate((RED, GREEN, BLUE)):
        image[:, 16 * i : 16 * (i + 1)] = colour
    return image


def greys() -> NDArray[np.uint8]:
    """One channel: dark left, bright right."""
    image = np.full((HEIGHT, WIDTH), 20, dtype=np.uint8)
    image[:, 24:] = 230
    return image


def inside_blocks() -> NDArray[np.bool_]:
    """Pixels at least two away from the edge of a block and of the image."""
    inside = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    for i in range(3):
        inside[2:-2, 16 * i + 2 : 16 * (i + 1) - 2] = True
    return inside


def expected(encoding: str) -> NDArray[np.uint8]:
    """The correct RGB image."""
    return np.repeat(greys()[:, :, None], 3, axis=2) if encoding in MONO else colours()


def message(encoding: str, padding: int = 0, big_endian: bool = False) -> Image:
    """The image in an encoding, each row followed by `padding` random bytes."""
    rows = _rows(encoding, big_endian)
    filler = np.full((rows.shape[0], padding), 0xA5, dtype=np.uint8)
    data = array.array("B", np.hstack([rows, filler]).tobytes())
    return Image(
        height=HEIGHT,
        width=WIDTH,
        encoding=encoding,
        is_bigendian=int(big_endian),
        step=rows.shape[1] + padding,
        data=data,
    )


def compressed(suffix: str, format_text: str, pixels: NDArray[np.generic]) -> CompressedImage:
    """A file of BGR or one-channel pixels, the encoders' input."""
    done, data = cv2.imencode(suffix, pixels)
    assert done
    return CompressedImage(format=format_text, data=array.array("B", data.tobytes()))


def _rows(encoding: str, big_endian: bool) -> NDArray[np.uint8]:
    if encoding in MONO:
        rows = greys()
    elif encoding in COLOURED:
        rows = _interleaved(encoding.rstrip("0123456789")).reshape(HEIGHT, -1)
    elif encoding in BAYER:
        rows = _mosaic(encoding[6:10])
    else:
        return _yuv_rows(encoding)
    if not encoding.endswith("16"):
        return rows
    return (rows.astype(np.uint16) * 257).astype(">u2" if big_endian else "<u2").view(np.uint8)


def _yuv_rows(encoding: str) -> NDArray[np.uint8]:
    y, u, v = _yuv(colours())
    if encoding == "nv24":
        return np.vstack([y, np.dstack([u, v]).reshape(2 * HEIGHT, WIDTH)])
    if encoding in ("nv12", "nv21"):
        first, second = (u, v) if encoding == "nv12" else (v, u)
        pairs = np.dstack([first[::2, ::2], second[::2, ::2]]).reshape(HEIGHT // 2, WIDTH)
        return np.vstack([y, pairs])
    order = (u[:, ::2], y[:, ::2], v[:, ::2], y[:, 1::2]) if encoding in ("yuv422", "uyvy") else (
        y[:, ::2], u[:, ::2], y[:, 1::2], v[:, ::2]
    )  # fmt: skip
    return np.dstack(order).reshape(HEIGHT, -1)


def _interleaved(letters: str) -> NDArray[np.uint8]:
    planes = dict(zip("rgb", np.moveaxis(colours(), 2, 0), strict=True))
    planes["a"] = np.full((HEIGHT, WIDTH), 77, dtype=np.uint8)
    return np.dstack([planes[letter] for letter in letters])


def _mosaic(letters: str) -> NDArray[np.uint8]:
    """The four letters are the pixels of the top left 2 x 2 corner, row by row."""
    mosaic = np.empty((HEIGHT, WIDTH), dtype=np.uint8)
    for i, letter in enumerate(letters):
        row, column = divmod(i, 2)
        mosaic[row::2, column::2] = colours()[row::2, column::2, "rgb".index(letter)]
    return mosaic


def _yuv(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """BT.601, studio range."""
    r, g, b = (rgb[:, :, i] / 255 for i in range(3))
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    y, u, v = 16 + 219 * luma, 128 + 224 * (b - luma) / 1.772, 128 + 224 * (r - luma) / 1.402
    return tuple(np.rint(plane).astype(np.uint8) for plane in (y, u, v))  # type: ignore[return-value]
