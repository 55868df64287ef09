# SPDX-License-Identifier: Apache-2.0
"""Compressed images that would be expensive or dangerous to decode are refused by their header, without decoding."""

import array
import struct
import zlib

import camera_images
import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage

from lisa_ros.images import decoding
from lisa_ros.images.image_headers import HeaderError, check_header
from lisa_ros.nodes.common.conversions import ImageError, rgb_image_from


def chunk(kind: bytes, content: bytes, length: int | None = None) -> bytes:
    stated = len(content) if length is None else length
    return struct.pack(">I", stated) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int = 8, colour: int = 0, data: bytes = b"", extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = (chunk(b"IHDR", header), extra, chunk(b"IDAT", data), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def encoded(suffix: str, *options: int) -> bytes:
    bgr = np.ascontiguousarray(camera_images.colours()[:, :, ::-1])
    done, data = cv2.imencode(suffix, bgr, list(options))
    assert done
    return bytes(data.tobytes())


def with_jpeg_size(data: bytes, width: int, height: int) -> bytes:
    frame = data.index(b"\xff\xc0")
    return data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]


REFUSED = {
    "png of 30,000 x 30,000": (png(30_000, 30_000, data=bytes(109_000)), "30000 x 30000"),
    "png of 3,000 x 300,000": (png(3_000, 300_000, data=bytes(109_000)), "3000 x 300000"),
    "16-bit png of 16,000 x 16,000": (png(16_000, 16_000, depth=16, data=bytes(778_000)), "at most 40 million"),
    "png too short for its size": (png(6_000, 6_000, depth=16, colour=6, data=bytes(1000)), "1000 bytes cannot hold"),
    "png with a chunk beyond its end": (
        png(48, 32, extra=chunk(b"tEXt", b"x", 2**31 - 1), data=bytes(100)),
        "states 2147483647 bytes",
    ),
    "png of 20,000 chunks": (
        png(48, 32, extra=chunk(b"tEXt", b"") * 20_000, data=bytes(100)),
        "more than 5000 chunks",
    ),
    "png without an end": (encoded(".png")[:-12], "it has no end"),
    "png that begins with another chunk": (b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", b"x" * 20), "IDAT"),
    "jpeg of 17,689 x 47,391": (with_jpeg_size(encoded(".jpg"), 17_689, 47_391), "17689 x 47391"),
    "jpeg too short for its size": (with_jpeg_size(encoded(".jpg"), 6_000, 6_000), "cannot hold 6000 x 6000"),
    "jpeg without a frame header": (b"\xff\xd8\xff\xd9" + bytes(50), "no frame header"),
    "jpeg of fill bytes": (b"\xff\xd8" + b"\xff" * 3_000_000, "truncated"),
    "jpeg of markers": (b"\xff\xd8" + b"\xff\xd0" * 1_000_000, "no frame header"),
    "jpeg with lossless coding": (encoded(".jpg").replace(b"\xff\xc0", b"\xff\xc3"), "lossless"),
    "jpeg of many scans": (encoded(".jpg") + b"\xff\xda" * 100, "scans"),
    "jpeg 2000": (encoded(".jp2"), "JPEG 2000"),
    "bmp": (encoded(".bmp"), "a BMP"),
    "tiff": (encoded(".tiff"), "a TIFF"),
    "webp": (encoded(".webp"), "a WebP"),
    "ppm": (encoded(".ppm"), "neither"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_expensive_or_unknown_file_is_refused_without_decoding(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data, reason = REFUSED[name]
    monkeypatch.setattr(decoding.cv2, "imdecode", None)  # calling it would be a TypeError
    with pytest.raises(ImageError, match="The compressed image") as raised:
        rgb_image_from(CompressedImage(format="jpeg", data=array.array("B", data)))
    assert reason in str(raised.value)


@pytest.mark.parametrize("form", ["16UC1; compressedDepth png", "16UC1; png compressed ", "32FC1; compressedDepth rvl"])
def test_a_compressed_depth_image_is_refused(form: str) -> None:
    grey = np.full((8, 8), 700, dtype=np.uint16)
    with pytest.raises(ImageError, match="depth image"):
        rgb_image_from(camera_images.compressed(".png", form, grey))


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".png", []),
        (".png", [cv2.IMWRITE_PNG_COMPRESSION, 9]),
        (".jpg", []),
        (".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 1]),
    ],
)
def test_files_of_ordinary_encoders_are_accepted(suffix: str, options: list[int]) -> None:
    checked = check_header(encoded(suffix, *options))
    assert (checked.width, checked.height) == (camera_images.WIDTH, camera_images.HEIGHT)


def test_a_flat_image_which_compresses_best_is_accepted() -> None:
    for suffix in (".png", ".jpg"):
        done, data = cv2.imencode(suffix, np.zeros((2160, 3840, 3), dtype=np.uint8))
        assert done and check_header(data.tobytes()).width == 3840


def test_chunks_that_do_not_make_the_pixels_are_left_out() -> None:
    bomb = chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(50_000_000)))
    data = encoded(".png")
    checked = check_header(data[:33] + bomb + data[33:])
    assert checked.data == data


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_mutated_files_are_decoded_or_refused(suffix: str) -> None:
    """2,000 files with changed bytes: an image, or an ImageError, never another exception."""
    random, data = np.random.default_rng(5), np.frombuffer(encoded(suffix), np.uint8)
    for _ in range(2000):
        mutated = data.copy()
        places = random.integers(0, len(data), random.integers(1, 6))
        mutated[places] = random.integers(0, 256, len(places))
        try:
            image = rgb_image_from(CompressedImage(format="x", data=array.array("B", mutated.tobytes())))
        except ImageError:
            continue
        assert image.shape[2] == 3 and image.shape[0] * image.shape[1] <= 40_000_000


def test_a_truncated_file_is_refused_at_every_length() -> None:
    for suffix in (".png", ".jpg"):
        data = encoded(suffix)
        for length in range(1, 60):
            with pytest.raises(HeaderError):
                check_header(data[:length])
