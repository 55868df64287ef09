# SPDX-License-Identifier: Apache-2.0
"""Depth images of image_transport's plugin compressedDepth: PNG and RVL, quantized or not, and what is refused."""

import array
import contextlib
import re
import struct

import cv2
import numpy as np
import pytest
from depth_coding import QUANTIZATION, compressed_depth, rvl_of
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage

from lisa_ros.images import compressed_depth as decoder
from lisa_ros.images.rvl import RvlError, decode_rvl
from lisa_ros.nodes.common.conversions import ImageError, check_depth, depth_from

HEADER = struct.pack("<iff", 0, 0.0, 0.0)


def table(height: int = 48, width: int = 64) -> NDArray[np.float32]:
    """A slope with noise, holes and an object, in metres."""
    rng = np.random.default_rng(4)
    depth_m = 0.6 + np.linspace(0.0, 3.0, height)[:, None] + rng.normal(0.0, 0.003, (height, width))
    depth_m[10:20, 30:50] = 0.4
    depth_m[rng.random((height, width)) < 0.1] = 0.0
    depth_m[:3] = 0.0
    return depth_m.astype(np.float32)


@pytest.mark.parametrize("coding", ["png", "rvl"])
def test_16_bit_depth_is_exact(coding: str) -> None:
    depth_m = table()
    found = depth_from(compressed_depth(depth_m, "16UC1", coding))
    assert found.dtype == np.float32 and np.array_equal(np.rint(1000 * found), np.rint(1000 * depth_m))


@pytest.mark.parametrize("coding", ["png", "rvl"])
def test_quantized_metres_are_right_to_the_quantum(coding: str) -> None:
    depth_m = table()
    found = depth_from(compressed_depth(depth_m, "32FC1", coding))
    there = depth_m > 0.0
    assert np.isnan(found[~there]).all() and np.isfinite(found[there]).all()
    # A quantum of inverse depth is depth squared over a.
    quantum_m = depth_m[there] ** 2 / (QUANTIZATION * (QUANTIZATION + 1.0))
    assert (np.abs(found[there] - depth_m[there]) <= quantum_m * 1.02 + 1e-6).all()


def test_old_versions_name_no_coding() -> None:
    message = compressed_depth(table(), "16UC1", "png")
    for form in ("16UC1; compressedDepth", "16UC1"):
        message.format = form
        assert depth_from(message).shape == (48, 64)


@pytest.mark.parametrize(
    "values",
    [[0], [7], [0, 0, 0], [65535, 1, 65535, 0, 0, 1], [1, 0, 1, 0, 1], [0, 65535], list(range(1, 400))],
)
def test_rvl_by_hand(values: list[int]) -> None:
    given = np.array(values, dtype=np.uint16)
    assert decode_rvl(rvl_of(given), len(values)).tolist() == values


def test_rvl_of_noise_and_of_damaged_data() -> None:
    rng = np.random.default_rng(1)
    noise = np.where(rng.random(5000) < 0.5, 0, rng.integers(0, 65536, 5000)).astype(np.uint16)
    data = rvl_of(noise)
    assert np.array_equal(decode_rvl(data, 5000), noise)
    for length in range(0, len(data) - 4, 97):
        with pytest.raises(RvlError):
            decode_rvl(data[:length], 5000)
    for seed in range(300):
        damaged = bytearray(data)
        for at in np.random.default_rng(seed).integers(0, len(data), 4):
            damaged[at] ^= 0xFF
        with contextlib.suppress(RvlError):
            assert decode_rvl(bytes(damaged), 5000).shape == (5000,)


def message(form: str, data: bytes) -> CompressedImage:
    return CompressedImage(format=form, data=array.array("B", data))


def rvl(width: int, height: int, data: bytes = b"") -> bytes:
    return HEADER + struct.pack("<II", width, height) + data


def png_of(values: NDArray[np.generic]) -> bytes:
    return HEADER + cv2.imencode(".png", values)[1].tobytes()


HUGE = png_of(np.ones((2, 2), np.uint16)).replace(struct.pack(">II", 2, 2), struct.pack(">II", 16000, 16000))
REFUSED = {
    "png: no header": ("16UC1; compressedDepth png", b"\0" * 12, "its header alone has 12"),
    "png: a size of gigabytes": ("16UC1; compressedDepth png", HUGE, "at most 40 million"),
    "png: 8 bits": ("16UC1; compressedDepth png", png_of(np.ones((4, 4), np.uint8)), "one channel of 16 bits"),
    "png: colour": ("16UC1; compressedDepth png", png_of(np.ones((4, 4, 3), np.uint16)), "one channel of 16 bits"),
    "png: a jpeg": ("16UC1; compressedDepth png", HEADER + b"\xff\xd8\xff\xe0" + bytes(40), "JPEG"),
    "png: no quantization": ("32FC1; compressedDepth png", png_of(np.ones((4, 4), np.uint16)), "quantization"),
    "rvl: no size": ("16UC1; compressedDepth rvl", HEADER + b"\1\2", "size is missing"),
    "rvl: a size of gigabytes": ("16UC1; compressedDepth rvl", rvl(2**32 - 1, 2**32 - 1), "each side must be"),
    "rvl: too many pixels": ("16UC1; compressedDepth rvl", rvl(16000, 16000), "at most 10 million"),
    "rvl: no pixels": ("16UC1; compressedDepth rvl", rvl(0, 4), "each side must be"),
    "rvl: truncated": ("16UC1; compressedDepth rvl", rvl(40, 40, bytes(4)), "empty run"),
    "rvl: too long": ("16UC1; compressedDepth rvl", rvl(2, 2, bytes(100)), "too many for 4 pixels"),
    "rvl: a number without end": ("16UC1; compressedDepth rvl", rvl(40, 40, b"\xff" * 40 + b"\0" * 4), "30 bits"),
    "another plugin": ("16UC1; png compressed ", png_of(np.ones((4, 4), np.uint16)), "plugin compressedDepth"),
    "a photo": ("rgb8; jpeg compressed bgr8", b"\xff\xd8" + bytes(60), "plugin compressedDepth"),
    "unknown coding": ("16UC1; compressedDepth zstd", bytes(60), "plugin compressedDepth"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_damaged_or_expensive_data_is_refused_with_the_reason(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    form, data, reason = REFUSED[name]
    if "gigabytes" in name or "too" in name:
        monkeypatch.setattr(decoder.cv2, "imdecode", None)  # calling it would be a TypeError
    with pytest.raises(ImageError, match="The compressed depth image") as raised:
        depth_from(message(form, data))
    assert reason in str(raised.value)
    if name.startswith("png"):  # what the diagnostics look at, without decoding
        with pytest.raises(ImageError, match=re.escape(reason)):
            check_depth(message(form, data))
