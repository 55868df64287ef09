# SPDX-License-Identifier: Apache-2.0
"""Image messages as arrays, without ROS: any object with the fields of sensor_msgs/Image or CompressedImage.

Only this module knows the layout of a sensor_msgs/Image. rclpy's messages and those that rosbags reads from a bag are
decoded by the same code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_ros.images.compressed_depth import compressed_depth_size, decode_compressed_depth
from lisa_ros.images.image_headers import MAX_SIDE, HeaderError, check_header
from lisa_ros.segmentation.errors import ImageError
from lisa_ros.segmentation.text import quoted

RgbImage = NDArray[np.uint8]


class RawImage(Protocol):
    """The fields of a sensor_msgs/Image that decoding reads."""

    height: int
    width: int
    encoding: str
    is_bigendian: Any
    step: int
    data: Any


class CompressedFile(Protocol):
    """The fields of a sensor_msgs/CompressedImage that decoding reads."""

    format: str
    data: Any


Bridge: TypeAlias = Callable[[NDArray[np.uint8], Any], RgbImage | None]
"""Converts packed rows of a message to RGB; None: it cannot."""


@dataclass(frozen=True)
class _Encoding:
    """The memory layout of an encoding and its conversion to RGB.

    Attributes:
        code: OpenCV's conversion to RGB; None: it is RGB. ROS names a Bayer pattern by the 2 x 2 pixels at the top
            left, OpenCV by those from the second row and column: bayer_rggb8 is OpenCV's BayerBG.
        channels: Samples per pixel.
        sample_bytes: Bytes per sample.
        bridged: Both libraries called cv_bridge convert it correctly once the rows are packed, see rgb_from.
        even_width: The width must be even.
        planar_420: A plane of Y, then one of U and V for every 2 x 2 pixels.
        planar_444: A plane of Y, then one of U and V for every pixel.
    """

    code: int | None
    channels: int = 1
    sample_bytes: int = 1
    bridged: bool = False
    even_width: bool = False
    planar_420: bool = False
    planar_444: bool = False


_UYVY = _Encoding(cv2.COLOR_YUV2RGB_UYVY, channels=2, even_width=True)
_YUYV = _Encoding(cv2.COLOR_YUV2RGB_YUY2, channels=2, even_width=True)

_BAYER = {
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
}

# Every colour and grey encoding of sensor_msgs/image_encodings, and nv12, which several drivers publish.
_ENCODINGS = {
    "rgb8": _Encoding(None, channels=3, bridged=True),
    "bgr8": _Encoding(cv2.COLOR_BGR2RGB, channels=3, bridged=True),
    "rgba8": _Encoding(cv2.COLOR_RGBA2RGB, channels=4, bridged=True),
    "bgra8": _Encoding(cv2.COLOR_BGRA2RGB, channels=4, bridged=True),
    "mono8": _Encoding(cv2.COLOR_GRAY2RGB, bridged=True),
    "8UC1": _Encoding(cv2.COLOR_GRAY2RGB),
    "mono16": _Encoding(cv2.COLOR_GRAY2RGB, sample_bytes=2),
    "rgb16": _Encoding(None, channels=3, sample_bytes=2),
    "bgr16": _Encoding(cv2.COLOR_BGR2RGB, channels=3, sample_bytes=2),
    "rgba16": _Encoding(cv2.COLOR_RGBA2RGB, channels=4, sample_bytes=2),
    "bgra16": _Encoding(cv2.COLOR_BGRA2RGB, channels=4, sample_bytes=2),
    # PyPI's cv_bridge lacks bayer_grbg8.
    **{f"bayer_{pattern}8": _Encoding(code, bridged=pattern != "grbg") for pattern, code in _BAYER.items()},
    **{f"bayer_{pattern}16": _Encoding(code, sample_bytes=2) for pattern, code in _BAYER.items()},
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    "nv12": _Encoding(cv2.COLOR_YUV2RGB_NV12, even_width=True, planar_420=True),
    "nv21": _Encoding(cv2.COLOR_YUV2RGB_NV21, even_width=True, planar_420=True),
    "nv24": _Encoding(cv2.COLOR_YUV2RGB_YUY2, planar_444=True),
}

SUPPORTED_ENCODINGS = tuple(_ENCODINGS)

# REP-118: integer millimetres with 0 for no measurement, or metres. Some drivers call the first one mono16.
_DEPTH_ENCODINGS = {
    "16UC1": _Encoding(None, sample_bytes=2),
    "mono16": _Encoding(None, sample_bytes=2),
    "32FC1": _Encoding(None, sample_bytes=4),
}

_LARGEST_OF_12_BITS = 4095

_REASONS = {
    "8UC3": "the order of its channels is not known: publish rgb8 or bgr8",
    "8UC4": "the order of its channels is not known: publish rgba8 or bgra8",
    "16UC1": "that is a depth image: remap `image` to the colour camera, or publish mono16",
    "32FC1": "that is a depth image: remap `image` to the colour camera",
}


def rgb_from(message: Any, bridge: Bridge | None = None) -> RgbImage:
    """Decode an image message.

    Args:
        message: A RawImage, or a CompressedFile: the one that has a `format`.
        bridge: Converts the encodings that cv_bridge converts correctly; None: OpenCV does.

    Returns:
        RGB uint8 (height, width, 3), contiguous, a copy of the message's data.

    Raises:
        ImageError: The message is empty, truncated or inconsistent, or its encoding is not supported.
    """
    return _from_compressed(message) if hasattr(message, "format") else _from_raw(message, bridge)


def depth_from(message: Any) -> NDArray[np.float32]:
    """Decode a depth image (REP-118), or one of image_transport's plugin compressedDepth.

    Returns:
        Metres along the optical axis, float32 (height, width), a copy of the message's data. 0, NaN or infinite where
        nothing was measured.

    Raises:
        ImageError: The message is empty, truncated or inconsistent, or its encoding is not one of depth.
    """
    if hasattr(message, "format"):
        return decode_compressed_depth(message)
    encoding = _depth_encoding(message)
    order = ">" if message.is_bigendian else "<"
    rows = _packed_rows(message, encoding, "depth image")
    if encoding.sample_bytes == 2:
        return rows.view(np.dtype(f"{order}u2")).astype(np.float32) * np.float32(0.001)
    return rows.view(np.dtype(f"{order}f4")).astype(np.float32)


def size_of(message: Any) -> tuple[int, int]:
    """Width and height that an image states, without decoding it.

    Raises:
        ImageError: A compressed image has no valid header.
    """
    if not hasattr(message, "format"):
        return message.width, message.height
    try:
        checked = check_header(bytes(message.data))
    except HeaderError as error:
        raise ImageError(f"The compressed image ({quoted(message.format)}) {error}.") from error
    return checked.width, checked.height


def check_image(message: Any) -> None:
    """Look for what `rgb_from` would refuse, without decoding: damage inside a compressed file is not found.

    Raises:
        ImageError: As of `rgb_from`.
    """
    if hasattr(message, "format"):
        _check_format(message.format)
        size_of(message)
    else:
        _step(message, _colour_encoding(message))


def largest_if_nearly_black(message: Any) -> int | None:
    """The largest sample of a raw image of 16 bits if it is so small that the image is nearly black; otherwise None.

    So look the values of a sensor of 10 or 12 bits that its driver does not shift: no field says how many bits count,
    and another scale for each image would make a still scene flicker.
    """
    encoding = None if hasattr(message, "format") else _ENCODINGS.get(message.encoding)
    if encoding is None or encoding.sample_bytes != 2:
        return None
    order = ">" if message.is_bigendian else "<"
    largest = int(_packed_rows(message, encoding).view(np.dtype(f"{order}u2")).max())
    return largest if largest <= _LARGEST_OF_12_BITS else None


def check_depth(message: Any) -> tuple[int, int]:
    """Look for what `depth_from` would refuse, without decoding: damage inside compressed depth is not found.

    Returns:
        Width and height.

    Raises:
        ImageError: As of `depth_from`.
    """
    if hasattr(message, "format"):
        return compressed_depth_size(message)
    _step(message, _depth_encoding(message), "depth image")
    return message.width, message.height


def _depth_encoding(message: RawImage) -> _Encoding:
    encoding = _DEPTH_ENCODINGS.get(message.encoding)
    if encoding is None:
        raise ImageError(f"The depth image has encoding {quoted(message.encoding)}; 16UC1 (mm) or 32FC1 (m) is needed.")
    return encoding


def _colour_encoding(message: RawImage) -> _Encoding:
    encoding = _ENCODINGS.get(message.encoding)
    if encoding is None:
        reason = _REASONS.get(message.encoding)
        known = f"supported are {', '.join(SUPPORTED_ENCODINGS)}"
        raise ImageError(
            f"The image has encoding {quoted(message.encoding)}; " + (f"{reason} ({known})." if reason else f"{known}.")
        )
    return encoding


def _from_raw(message: RawImage, bridge: Bridge | None) -> RgbImage:
    encoding = _colour_encoding(message)
    rows = _packed_rows(message, encoding)
    if encoding.sample_bytes == 2:
        rows = _eight_bits(rows, bool(message.is_bigendian))
    if encoding.bridged and bridge is not None:
        bridged = bridge(rows, message)
        if bridged is not None:
            return bridged
    if encoding.planar_444:
        return _from_planar_444(rows, message.height)
    shaped = rows.reshape(rows.shape[0], message.width, encoding.channels)
    return np.array(shaped if encoding.code is None else cv2.cvtColor(shaped, encoding.code), dtype=np.uint8)


def _packed_rows(message: RawImage, encoding: _Encoding, what: str = "image") -> NDArray[np.uint8]:
    """The message's bytes without the padding of the rows, (rows, bytes per row)."""
    step = _step(message, encoding, what)
    flat = np.frombuffer(message.data, dtype=np.uint8)
    shape = _row_count(message.height, encoding), _row_bytes(message, encoding)
    return np.ascontiguousarray(np.lib.stride_tricks.as_strided(flat, shape, (step, 1), writeable=False))


def _step(message: RawImage, encoding: _Encoding, what: str = "image") -> int:
    """The distance of two rows in bytes; the message has them all. Errors name the message as `what` says."""
    _check_size(message, encoding, what)
    row_bytes, row_count = _row_bytes(message, encoding), _row_count(message.height, encoding)
    step = message.step or _tight_step(message, row_count, row_bytes, what)
    if step < row_bytes:
        raise ImageError(
            f"The {what} has step {step}, but a row of {message.width} pixels in {message.encoding} needs"
            f" {row_bytes} bytes; step must be at least that."
        )
    # The padding after the last row may be missing.
    needed = (row_count - 1) * step + row_bytes
    if len(message.data) < needed:
        raise ImageError(
            f"The {what} is truncated: {message.width} x {message.height} pixels in {message.encoding} with step"
            f" {step} need {needed} bytes, the message has {len(message.data)}."
        )
    return step


def _row_bytes(message: RawImage, encoding: _Encoding) -> int:
    return message.width * encoding.channels * encoding.sample_bytes


def _row_count(height: int, encoding: _Encoding) -> int:
    """Rows of the image, counting those of the planes below the first one in the first one's length."""
    if encoding.planar_444:
        return height * 3
    return height * 3 // 2 if encoding.planar_420 else height


def _tight_step(message: RawImage, row_count: int, row_bytes: int, what: str) -> int:
    """The length of a row where the message states step 0, as some simulators do: rows without padding."""
    if len(message.data) != row_count * row_bytes:
        raise ImageError(
            f"The {what} has step 0 and {len(message.data)} bytes; rows without padding of {message.width} x"
            f" {message.height} pixels in {message.encoding} need {row_count * row_bytes}."
        )
    return row_bytes


def _check_size(message: RawImage, encoding: _Encoding, what: str) -> None:
    width, height = message.width, message.height
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise ImageError(f"The {what}'s size is {width} x {height} pixels; each side must be 1 to {MAX_SIDE}.")
    if encoding.even_width and width % 2:
        raise ImageError(
            f"The image is {width} pixels wide; {message.encoding} has one colour per two pixels: width must be even."
        )
    if encoding.planar_420 and height % 2:
        raise ImageError(
            f"The image is {height} pixels high; {message.encoding} has one colour per two rows: height must be even."
        )


def _from_planar_444(rows: NDArray[np.uint8], height: int) -> RgbImage:
    """NV24 converted to RGB. OpenCV has no code for it, but for YUY2, in which two neighbouring pixels share a colour.

    So each pixel is written twice, and every second one of the result is taken.
    """
    luma, colour = rows[:height], rows[height:].reshape(height, -1, 2)
    doubled = np.empty((height, 2 * luma.shape[1], 2), dtype=np.uint8)
    doubled[:, :, 0] = luma.repeat(2, axis=1)
    doubled[:, :, 1] = colour.reshape(height, -1)
    return np.ascontiguousarray(cv2.cvtColor(doubled, cv2.COLOR_YUV2RGB_YUY2)[:, ::2])


def _eight_bits(rows: NDArray[np.uint8], big_endian: bool) -> NDArray[np.uint8]:
    """16-bit samples scaled by 255/65535 and rounded, as ROS 2's cv_bridge does."""
    samples = rows.view(np.dtype(">u2" if big_endian else "<u2")).astype(np.uint32)
    return ((samples + 128) // 257).astype(np.uint8)


def _from_compressed(message: CompressedFile) -> RgbImage:
    data = np.frombuffer(message.data, dtype=np.uint8).tobytes()
    if not data:
        raise ImageError("The compressed image is empty; it must be a JPEG or PNG file.")
    _check_format(message.format)
    try:
        checked = check_header(data)
        decoded = cv2.imdecode(np.frombuffer(checked.data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except HeaderError as error:
        raise ImageError(f"The compressed image ({quoted(message.format)}, {len(data)} bytes) {error}.") from error
    except cv2.error:
        decoded = None
    if decoded is None:
        raise ImageError(
            f"The compressed image ({quoted(message.format)}, {len(data)} bytes) cannot be decoded: it must be a"
            " complete JPEG or PNG file."
        )
    return _rgb_of_decoded(decoded, message.format)


def _check_format(format_text: str) -> None:
    """Refuse what the format calls a depth image: its file would be decoded as a grey image."""
    encoding = format_text.split(";")[0].strip()
    if "compressedDepth" in format_text or encoding in ("16UC1", "32FC1"):
        raise ImageError(f"The compressed image has format {quoted(format_text)}; {_REASONS['16UC1']}.")


def _check_deep_grey(decoded: NDArray[Any], format_text: str) -> None:
    """Refuse 16-bit grey values, in which drivers send depth, unless the format calls them those of a camera."""
    encoding = format_text.split(";")[0].strip()
    if decoded.ndim == 2 and encoding != "mono16" and not encoding.startswith("bayer_"):
        raise ImageError(
            f"The compressed image has 16-bit grey values and format {quoted(format_text)}: {_REASONS['16UC1']}."
        )


def _rgb_of_decoded(decoded: NDArray[Any], format_text: str) -> RgbImage:
    """OpenCV's BGR, BGRA or one channel, 8 or 16 bit, converted to RGB.

    image_transport writes the format "rgb8; jpeg compressed bgr8": first the camera's encoding, last the encoding that
    was given to the encoder. That is normally BGR; if the last word is rgb8, red and blue are swapped in the file.
    """
    if decoded.dtype == np.uint16:
        _check_deep_grey(decoded, format_text)
        decoded = (decoded.astype(np.uint32) + 128) // 257
    elif decoded.dtype != np.uint8:
        raise ImageError(f"The compressed image has {decoded.dtype} samples; they must be 8 or 16 bit integers.")
    pixels = decoded.astype(np.uint8)
    if pixels.ndim == 2:
        pattern = _ENCODINGS.get(format_text.split(";")[0].strip(), _ENCODINGS["mono8"])
        planar = pattern.planar_420 or pattern.planar_444
        one_channel = pattern if pattern.channels == 1 and not planar else _ENCODINGS["mono8"]
        return np.array(cv2.cvtColor(pixels, one_channel.code or cv2.COLOR_GRAY2RGB), dtype=np.uint8)
    blue_first = "compressed rgb" not in format_text
    return np.array(pixels[:, :, 2::-1] if blue_first else pixels[:, :, :3], dtype=np.uint8, order="C")
