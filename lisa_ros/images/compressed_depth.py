# SPDX-License-Identifier: Apache-2.0
"""Decodes the depth images of image_transport's plugin compressedDepth: 16-bit values as PNG or RVL after a header.

The header has 12 bytes: the kind of quantization, and its two parameters a and b. A 16UC1 image is stored as it is. Of
a 32FC1 image the inverse is stored, as a whole number q: the depth is a / (q - b) metres, NaN where q is 0.
"""

import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_ros.images.image_headers import MAX_SIDE, Checked, HeaderError, check_header
from lisa_ros.images.rvl import RvlError, decode_rvl
from lisa_ros.segmentation.errors import ImageError
from lisa_ros.segmentation.text import quoted

_HEADER = struct.Struct("<iff")
_RVL_SIZE = struct.Struct("<II")
MAX_RVL_PIXELS = 10_000_000
"""Maximum number of pixels of an RVL image: a few bytes can state any number. 4K has 8.3 million."""


def decode_compressed_depth(message: Any) -> NDArray[np.float32]:
    """Decode a message of the topic `<depth>/compressedDepth`: an object with `format` and `data`.

    Returns:
        Metres along the optical axis, float32 (height, width). 0 or NaN where nothing was measured.

    Raises:
        ImageError: The format is not one of compressedDepth, or the data is truncated, damaged or too large.
    """
    encoding, coding = _format_of(message.format)
    a, b, body = _parts(bytes(message.data), encoding)
    try:
        stored = _from_rvl(body) if coding == "rvl" else _from_png(body)
    except (HeaderError, RvlError) as error:
        raise ImageError(f"The compressed depth image ({quoted(message.format)}) {error}.") from error
    if encoding != "32FC1":
        return stored.astype(np.float32) * np.float32(0.001)
    return _from_inverse(stored, a, b)


def compressed_depth_size(message: Any) -> tuple[int, int]:
    """Width and height that such a message states, without decoding it. Raises an ImageError as the decoder does."""
    encoding, coding = _format_of(message.format)
    _, _, body = _parts(bytes(message.data), encoding)
    try:
        if coding == "rvl":
            return _rvl_size(body)
        checked = _checked_png(body)
    except (HeaderError, RvlError) as error:
        raise ImageError(f"The compressed depth image ({quoted(message.format)}) {error}.") from error
    return checked.width, checked.height


def _format_of(text: str) -> tuple[str, str]:
    """The encoding of the depth image, and "png" or "rvl"; versions before 2020 name no coding and write PNG."""
    encoding, _, rest = (part.strip() for part in text.partition(";"))
    coding = rest.removeprefix("compressedDepth").strip() or "png"
    if encoding not in ("16UC1", "mono16", "32FC1") or coding not in ("png", "rvl"):
        raise ImageError(
            f"The compressed depth image has format {quoted(text)}; it must be 16UC1 or 32FC1 and then"
            " '; compressedDepth png' or '; compressedDepth rvl', as image_transport's plugin compressedDepth writes."
        )
    return encoding, coding


def _parts(data: bytes, encoding: str) -> tuple[float, float, bytes]:
    """The two parameters of the quantization, which count for 32FC1 alone, and what follows the header."""
    if len(data) <= _HEADER.size:
        raise ImageError(f"The compressed depth image has {len(data)} bytes; its header alone has {_HEADER.size}.")
    _, a, b = _HEADER.unpack_from(data)
    if encoding == "32FC1" and not (np.isfinite(a) and np.isfinite(b) and a > 0.0):
        raise ImageError(
            f"The compressed depth image has the quantization parameters {a:g} and {b:g}; both must be numbers, the"
            " first above 0."
        )
    return a, b, data[_HEADER.size :]


def _checked_png(body: bytes) -> Checked:
    checked = check_header(body)
    if (checked.bits, checked.channels) != (16, 1):
        raise HeaderError(f"has {checked.bits} bits and {checked.channels} channels; depth is one channel of 16 bits")
    return checked


def _from_png(body: bytes) -> NDArray[np.uint16]:
    checked = _checked_png(body)
    try:
        decoded = cv2.imdecode(np.frombuffer(checked.data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        decoded = None
    if decoded is None or decoded.dtype != np.uint16 or decoded.ndim != 2:
        raise HeaderError("cannot be decoded: it must be a complete PNG file of one channel of 16 bits")
    return decoded.astype(np.uint16, copy=False)


def _rvl_size(body: bytes) -> tuple[int, int]:
    if len(body) < _RVL_SIZE.size:
        raise RvlError("is truncated: its size is missing")
    width, height = _RVL_SIZE.unpack_from(body)
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE) or width * height > MAX_RVL_PIXELS:
        raise RvlError(
            f"states a size of {width} x {height} pixels; each side must be 1 to {MAX_SIDE}, and at most"
            f" {MAX_RVL_PIXELS // 1_000_000} million in all"
        )
    return width, height


def _from_rvl(body: bytes) -> NDArray[np.uint16]:
    width, height = _rvl_size(body)
    return decode_rvl(body[_RVL_SIZE.size :], width * height).reshape(height, width)


def _from_inverse(stored: NDArray[np.uint16], a: float, b: float) -> NDArray[np.float32]:
    inverse = stored.astype(np.float32) - np.float32(b)
    measured = (stored > 0) & (inverse > 0.0)
    return np.divide(np.float32(a), inverse, out=np.full(stored.shape, np.nan, dtype=np.float32), where=measured)
