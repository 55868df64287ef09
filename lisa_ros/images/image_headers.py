# SPDX-License-Identifier: Apache-2.0
"""Reads the size of a JPEG or PNG file from its header, and refuses files that would be expensive to decode.

A decoder allocates and computes what a file's header states: a PNG of 109 kB can state 30,000 x 30,000 pixels, which
takes gigabytes and half a minute. So the header is read first, without decoding, in well under a millisecond.
"""

import re
import struct
from dataclasses import dataclass

MAX_SIDE = 16384
"""Maximum width and height of any image, in pixels."""
MAX_PIXELS = 40_000_000
"""Maximum number of pixels of a compressed image; an 8K image has 33 million."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_OTHER_FORMATS = {
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"BM": "BMP",
    b"GIF8": "GIF",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"RIFF": "WebP",
}

# PNG (W3C, second edition): what is not needed to decode the pixels is left out.
_NEEDED_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_MAX_CHUNKS = 5_000
# Deflate makes at most 1032 bytes of one.
_MAX_INFLATION = 1032
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}

# JPEG (ITU-T T.81): frame headers that libjpeg decodes; others are lossless, hierarchical or arithmetic.
_FRAMES = (0xC0, 0xC1, 0xC2)
_OTHER_FRAMES = (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD8))
_START_OF_SCAN, _END = 0xDA, 0xD9
# Each 8 x 8 block takes at least one bit.
_PIXELS_PER_BYTE = 8 * 64
# Every scan of a progressive file makes the decoder pass over the whole image again. Encoders write about ten.
_MAX_SCANS = 32
_MAX_SEGMENTS = 1000
_FILL = re.compile(rb"\xff{1,1000}")


class HeaderError(ValueError):
    """A file that must not be decoded; the text completes the sentence "The compressed image ..."."""


@dataclass(frozen=True)
class Checked:
    """A file that may be decoded.

    Attributes:
        data: The file; of a PNG, only the chunks that make the pixels.
        width: In pixels.
        height: In pixels.
        bits: Bits per sample.
        channels: Samples per pixel.
    """

    data: bytes
    width: int
    height: int
    bits: int = 8
    channels: int = 3


def check_header(data: bytes) -> Checked:
    """Check a compressed image before it is decoded.

    Args:
        data: The whole file.

    Raises:
        HeaderError: It is neither JPEG nor PNG, is truncated or inconsistent, or is too large.
    """
    if data.startswith(_PNG):
        return _check_png(data)
    if data.startswith(_JPEG):
        return _check_jpeg(data)
    found = next((name for start, name in _OTHER_FORMATS.items() if data.startswith(start)), "")
    raise HeaderError(f"is {'a ' + found if found else 'neither a JPEG nor a PNG'} file; it must be JPEG or PNG")


def _check_size(width: int, height: int) -> None:
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise HeaderError(f"states a size of {width} x {height} pixels; each side must be 1 to {MAX_SIDE}")
    if width * height > MAX_PIXELS:
        raise HeaderError(f"has {width} x {height} pixels; at most {MAX_PIXELS // 1_000_000} million are decoded")


def _check_length(length: int, least: float, width: int, height: int) -> None:
    if length < least:
        raise HeaderError(f"is truncated: {length} bytes cannot hold {width} x {height} pixels")


def _check_png(data: bytes) -> Checked:
    chunks: list[bytes] = [_PNG]
    header, end, ended, count, compressed = None, len(_PNG), False, 0, 0
    while end + 12 <= len(data) and not ended:
        begin, (length,), kind = end, struct.unpack_from(">I", data, end), data[end + 4 : end + 8]
        end = begin + 12 + length
        if end > len(data) or (header is None and (kind != b"IHDR" or length != 13)):
            raise HeaderError(f"is a damaged PNG file: its chunk {kind!r} states {length} bytes")
        count += 1
        if count > _MAX_CHUNKS:
            raise HeaderError(f"is a PNG file of more than {_MAX_CHUNKS} chunks")
        if header is None:
            header = struct.unpack_from(">IIBBBBB", data, begin + 8)
            _check_size(*header[:2])
        compressed += length if kind == b"IDAT" else 0
        ended = kind == b"IEND"
        if kind in _NEEDED_CHUNKS:
            chunks.append(data[begin:end])
    if header is None or not ended:
        raise HeaderError("is a truncated PNG file: it has no end")
    width, height, depth, colour = header[:4]
    channels = _CHANNELS.get(colour, 4)
    _check_length(compressed, width * height * depth * channels / 8 / _MAX_INFLATION, width, height)
    return Checked(b"".join(chunks), width, height, depth, channels)


def _check_jpeg(data: bytes) -> Checked:
    width, height = _jpeg_size(data)
    _check_length(len(data), width * height / _PIXELS_PER_BYTE, width, height)
    if data.count(bytes((0xFF, _START_OF_SCAN))) > _MAX_SCANS:
        raise HeaderError(f"is a JPEG file of more than {_MAX_SCANS} scans")
    # Inside a scan, neither marker can occur: a byte 0xFF is followed by 0 or a restart marker there.
    if data.rfind(bytes((0xFF, _END))) < data.rfind(bytes((0xFF, _START_OF_SCAN))):
        raise HeaderError("is a truncated JPEG file: it has no end")
    return Checked(data, width, height)


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """(width, height) of the frame header, which stands before the first scan."""
    size: tuple[int, int] | None = None
    position = 2
    for _ in range(_MAX_SEGMENTS):
        marker, position = _next_marker(data, position)
        if marker in _OTHER_FRAMES:
            raise HeaderError("is a JPEG file of a kind that is not decoded (lossless or arithmetic coding)")
        if marker in (_START_OF_SCAN, _END):
            break
        if marker in _WITHOUT_LENGTH:
            continue
        if marker in _FRAMES:
            height, width = _read(">HH", data, position + 3)
            _check_size(width, height)
            size = width, height
        position += max(2, *_read(">H", data, position))
    if size is None:
        raise HeaderError("is a damaged JPEG file: it has no frame header")
    return size


def _next_marker(data: bytes, position: int) -> tuple[int, int]:
    """(the marker at a position, the position after it); fill bytes before it are skipped."""
    if position >= len(data):
        raise HeaderError("is a truncated JPEG file: it has no image data")
    fill = _FILL.match(data, position)
    if fill is None:
        raise HeaderError("is a damaged JPEG file: a marker is missing")
    (marker,) = _read(">B", data, fill.end())
    return marker, fill.end() + 1


def _read(layout: str, data: bytes, position: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(layout, data, position)
    except struct.error as error:
        raise HeaderError("is a truncated JPEG file: it has no image data") from error
