# SPDX-License-Identifier: Apache-2.0
"""Messages as image_transport's plugin compressedDepth writes them, made from the definitions of its formats."""

import array
import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage

DEPTH_MAX_M, QUANTIZATION = 10.0, 100.0
"""The plugin's defaults."""


def rvl_of(values: NDArray[np.uint16]) -> bytes:
    """The RVL coding, one value at a time as its paper describes it."""
    nibbles: list[int] = []

    def write(number: int) -> None:
        while True:
            low, number = number & 7, number >> 3
            nibbles.append(low | (8 if number else 0))
            if not number:
                return

    flat, at, previous = values.ravel().tolist(), 0, 0
    while at < len(flat):
        begin = at
        while at < len(flat) and flat[at] == 0:
            at += 1
        write(at - begin)
        begin = at
        while at < len(flat) and flat[at] != 0:
            at += 1
        write(at - begin)
        for value in flat[begin:at]:
            difference = value - previous
            write(2 * difference if difference >= 0 else -2 * difference - 1)
            previous = value
    nibbles += [0] * (-len(nibbles) % 8)
    words = (
        sum(nibble << (28 - 4 * i) for i, nibble in enumerate(nibbles[n : n + 8])) for n in range(0, len(nibbles), 8)
    )
    return b"".join(struct.pack("<I", word) for word in words)


def quantized(depth_m: NDArray[np.float32]) -> tuple[NDArray[np.uint16], float, float]:
    """(inverse depth as whole numbers, a, b): 0 where nothing was measured or beyond the largest depth."""
    a = QUANTIZATION * (QUANTIZATION + 1.0)
    b = 1.0 - a / DEPTH_MAX_M
    there = (depth_m > 0.0) & (depth_m < DEPTH_MAX_M)
    inverse = np.divide(a, depth_m, out=np.zeros(depth_m.shape), where=there) + b
    return np.where(there, inverse, 0.0).astype(np.uint16), a, b


def compressed_depth(depth_m: NDArray[np.float32], encoding: str, coding: str, header: Any = None) -> CompressedImage:
    """A message of a depth image in metres, of encoding 16UC1 or 32FC1, coded as png or rvl."""
    values, a, b = (np.rint(1000 * depth_m).astype(np.uint16), 0.0, 0.0) if encoding == "16UC1" else quantized(depth_m)
    if coding == "rvl":
        body = struct.pack("<II", values.shape[1], values.shape[0]) + rvl_of(values)
    else:
        body = cv2.imencode(".png", values)[1].tobytes()
    data = array.array("B", struct.pack("<iff", 0, a, b) + body)
    message = CompressedImage(format=f"{encoding}; compressedDepth {coding}", data=data)
    if header is not None:
        message.header = header
    return message
