# SPDX-License-Identifier: Apache-2.0
"""Messages to arrays and back; the one place that knows what is inside a sensor_msgs/Image.

Two libraries are called cv_bridge: ROS 2's own (robots) and a port of ROS 1's on PyPI. The port ignores `step` and
lacks encodings, and either may fail with the numpy that is installed. So the rows are packed here, the encodings that
both do right go through cv_bridge, and the rest through OpenCV. Pictures come out the same whichever is installed.
"""

import array
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

if TYPE_CHECKING:
    from std_msgs.msg import Header

RgbImage = NDArray[np.uint8]

# A camera with more pixels than this does not exist; a broken message with such a size does.
_LARGEST_SIDE = 16384


class ImageError(ValueError):
    """A picture that cannot be decoded; the text says what was wrong and what would be right."""


@dataclass(frozen=True)
class _Encoding:
    """How an encoding lies in memory and becomes RGB.

    `code` is OpenCV's conversion to RGB (None: it is RGB). ROS names a Bayer pattern by its first two rows from the top
    left, OpenCV by the 2 x 2 pixels from the second row and column: bayer_rggb8 is OpenCV's BayerBG.
    `bridged`: both libraries called cv_bridge do it right once the rows are packed.
    """

    code: int | None
    channels: int = 1
    sample_bytes: int = 1
    bridged: bool = False
    even_width: bool = False
    planar_420: bool = False


_UYVY = _Encoding(cv2.COLOR_YUV2RGB_UYVY, channels=2, even_width=True)
_YUYV = _Encoding(cv2.COLOR_YUV2RGB_YUY2, channels=2, even_width=True)

_ENCODINGS = {
    "rgb8": _Encoding(None, channels=3, bridged=True),
    "bgr8": _Encoding(cv2.COLOR_BGR2RGB, channels=3, bridged=True),
    "rgba8": _Encoding(cv2.COLOR_RGBA2RGB, channels=4, bridged=True),
    "bgra8": _Encoding(cv2.COLOR_BGRA2RGB, channels=4, bridged=True),
    "mono8": _Encoding(cv2.COLOR_GRAY2RGB, bridged=True),
    "8UC1": _Encoding(cv2.COLOR_GRAY2RGB),
    "mono16": _Encoding(cv2.COLOR_GRAY2RGB, sample_bytes=2),
    "bayer_rggb8": _Encoding(cv2.COLOR_BayerBG2RGB, bridged=True),
    "bayer_bggr8": _Encoding(cv2.COLOR_BayerRG2RGB, bridged=True),
    "bayer_gbrg8": _Encoding(cv2.COLOR_BayerGR2RGB, bridged=True),
    "bayer_grbg8": _Encoding(cv2.COLOR_BayerGB2RGB),
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    "nv12": _Encoding(cv2.COLOR_YUV2RGB_NV12, even_width=True, planar_420=True),
}

SUPPORTED_ENCODINGS = tuple(_ENCODINGS)

# Of REP-118: whole millimetres, 0 where nothing was measured, or metres. Some drivers call the first mono16.
_DEPTH_ENCODINGS = {
    "16UC1": _Encoding(None, sample_bytes=2),
    "mono16": _Encoding(None, sample_bytes=2),
    "32FC1": _Encoding(None, sample_bytes=4),
}

_REASONS = {
    "8UC3": "it does not say in which order its channels are: publish rgb8 or bgr8",
    "8UC4": "it does not say in which order its channels are: publish rgba8 or bgra8",
    "16UC1": "it is what depth cameras send: give the node the colour camera, or publish mono16",
    "32FC1": "it is what depth cameras send: give the node the colour camera",
}


def rgb_image_from(message: Image | CompressedImage) -> RgbImage:
    """Decode a camera's message.

    Returns:
        RGB, uint8, (height, width, 3), contiguous; a copy of its own.

    Raises:
        ImageError: the message is empty, truncated, contradicts itself, or has an encoding that is not supported.
    """
    if isinstance(message, CompressedImage):
        return _from_compressed(message)
    return _from_raw(message)


def depth_from(message: Image) -> NDArray[np.float32]:
    """Decode a depth camera's message (REP-118).

    Returns:
        metres along the optical axis, float32, (height, width); a copy of its own. Where nothing was measured it is 0,
        NaN or infinite.

    Raises:
        ImageError: the message is empty, truncated, contradicts itself, or has an encoding that is no depth.
    """
    encoding = _DEPTH_ENCODINGS.get(message.encoding)
    if encoding is None:
        raise ImageError(f"The depth image has encoding {message.encoding!r}; 16UC1 (mm) or 32FC1 (m) is needed.")
    order = ">" if message.is_bigendian else "<"
    rows = _packed_rows(message, encoding)
    if encoding.sample_bytes == 2:
        return rows.view(np.dtype(f"{order}u2")).astype(np.float32) * np.float32(0.001)
    return rows.view(np.dtype(f"{order}f4")).astype(np.float32)


def to_image_message(pixels: NDArray[np.uint8], encoding: str, header: "Header") -> Image:
    """Make a message with tight rows.

    Args:
        pixels: uint8, (height, width) for mono8, (height, width, 3) for rgb8 and bgr8.
        encoding: what the pixels are.
        header: is shared with the message, not copied.
    """
    data = array.array("B")
    # rclpy takes an array.array as it is; any other sequence is checked byte by byte.
    data.frombytes(np.ascontiguousarray(pixels).reshape(-1).data)
    height, width = pixels.shape[:2]
    return Image(header=header, height=height, width=width, encoding=encoding, step=len(data) // height, data=data)


def nanoseconds(seconds: int, nanoseconds_part: int) -> int:
    """A ROS time stamp as one number."""
    return seconds * 1_000_000_000 + nanoseconds_part


def _from_raw(message: Image) -> RgbImage:
    encoding = _ENCODINGS.get(message.encoding)
    if encoding is None:
        reason = _REASONS.get(message.encoding)
        known = f"supported are {', '.join(SUPPORTED_ENCODINGS)}"
        raise ImageError(
            f"The image has encoding {message.encoding!r}; " + (f"{reason} ({known})." if reason else f"{known}.")
        )
    rows = _packed_rows(message, encoding)
    if encoding.sample_bytes == 2:
        rows = _eight_bits(rows, bool(message.is_bigendian))
    if encoding.bridged:
        bridged = _through_bridge(rows, message)
        if bridged is not None:
            return bridged
    shaped = rows.reshape(rows.shape[0], message.width, encoding.channels)
    return np.array(shaped if encoding.code is None else cv2.cvtColor(shaped, encoding.code), dtype=np.uint8)


def _packed_rows(message: Image, encoding: _Encoding) -> NDArray[np.uint8]:
    """The bytes of the picture without the rows' padding, (rows, bytes of a row)."""
    _check_size(message, encoding)
    row_bytes = message.width * encoding.channels * encoding.sample_bytes
    row_count = message.height * 3 // 2 if encoding.planar_420 else message.height
    if message.step < row_bytes:
        raise ImageError(
            f"The image has step {message.step}, but a row of {message.width} pixels in {message.encoding} takes"
            f" {row_bytes} bytes; step must be at least that."
        )
    # The padding behind the last row may be left out.
    needed = (row_count - 1) * message.step + row_bytes
    if len(message.data) < needed:
        raise ImageError(
            f"The image is cut short: {message.width} x {message.height} pixels in {message.encoding} with step"
            f" {message.step} take {needed} bytes, the message has {len(message.data)}."
        )
    flat = np.frombuffer(message.data, dtype=np.uint8)
    rows = np.lib.stride_tricks.as_strided(flat, (row_count, row_bytes), (message.step, 1), writeable=False)
    return np.ascontiguousarray(rows)


def _check_size(message: Image, encoding: _Encoding) -> None:
    width, height = message.width, message.height
    if not (0 < width <= _LARGEST_SIDE and 0 < height <= _LARGEST_SIDE):
        raise ImageError(f"The image says it is {width} x {height} pixels; each side must be 1 to {_LARGEST_SIDE}.")
    if encoding.even_width and width % 2:
        raise ImageError(
            f"The image is {width} pixels wide; {message.encoding} stores colour for pairs: an even width is needed."
        )
    if encoding.planar_420 and height % 2:
        raise ImageError(
            f"The image is {height} pixels high; {message.encoding} stores colour for pairs: an even height is needed."
        )


def _eight_bits(rows: NDArray[np.uint8], big_endian: bool) -> NDArray[np.uint8]:
    """16 bit samples scaled by 255/65535 and rounded, as ROS 2's cv_bridge does."""
    samples = rows.view(np.dtype(">u2" if big_endian else "<u2")).astype(np.uint32)
    return ((samples + 128) // 257).astype(np.uint8)


def _through_bridge(rows: NDArray[np.uint8], message: Image) -> RgbImage | None:
    """The picture as cv_bridge makes it; None when the installed cv_bridge cannot be used with the installed numpy."""
    bridge = _bridge()
    if bridge is None:
        return None
    tight = to_image_message(rows, message.encoding, message.header)
    tight.width, tight.step = message.width, rows.shape[1]
    return np.array(bridge.imgmsg_to_cv2(tight, desired_encoding="rgb8"), dtype=np.uint8)


@functools.cache
def _bridge() -> Any | None:
    try:
        from cv_bridge import CvBridge
        from cv_bridge.boost.cv_bridge_boost import getCvType

        getCvType("rgb8")
    except (ImportError, AttributeError, RuntimeError):
        # ROS 2's is compiled against one major version of numpy, and fails to load with the other.
        return None
    return CvBridge()


def _from_compressed(message: CompressedImage) -> RgbImage:
    data = np.frombuffer(message.data, dtype=np.uint8)
    if not data.size:
        raise ImageError("The compressed image is empty; a JPEG or PNG file is needed.")
    try:
        decoded = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        decoded = None
    if decoded is None:
        raise ImageError(
            f"The compressed image ({message.format!r}, {data.size} bytes) cannot be decoded: a whole JPEG or PNG"
            " file is needed."
        )
    return _rgb_of_decoded(decoded, message.format)


def _rgb_of_decoded(decoded: NDArray[Any], format_text: str) -> RgbImage:
    """OpenCV's BGR, BGRA or one channel, 8 or 16 bit -> RGB.

    image_transport writes "rgb8; jpeg compressed bgr8": first what the camera sent, last what the encoder was handed.
    Encoders are handed BGR; where the last word says rgb8, the file's red is its blue.
    """
    if decoded.dtype == np.uint16:
        decoded = (decoded.astype(np.uint32) + 128) // 257
    elif decoded.dtype != np.uint8:
        raise ImageError(f"The compressed image holds {decoded.dtype} samples; 8 or 16 bit integers are needed.")
    pixels = decoded.astype(np.uint8)
    if pixels.ndim == 2:
        pattern = _ENCODINGS.get(format_text.split(";")[0].strip(), _ENCODINGS["mono8"])
        one_channel = pattern if pattern.channels == 1 and not pattern.planar_420 else _ENCODINGS["mono8"]
        return np.array(cv2.cvtColor(pixels, one_channel.code or cv2.COLOR_GRAY2RGB), dtype=np.uint8)
    blue_first = "compressed rgb" not in format_text
    return np.array(pixels[:, :, 2::-1] if blue_first else pixels[:, :, :3], dtype=np.uint8, order="C")
