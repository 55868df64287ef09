# SPDX-License-Identifier: Apache-2.0
"""Decodes RVL, a lossless coding of depth images (A. D. Wilson, "Fast Lossless Depth Image Compression", ISS 2017).

The file is a sequence of numbers. Each number has one or more nibbles of 3 bits, the lowest first; bit 3 of a nibble
says that another one follows. In turn come the length of a run of zeros, the length of a run of other values, and for
each of these its difference from the previous one, with the sign in the lowest bit. Nibbles are packed into 32-bit
words, which are little endian here, from the highest bit down.
"""

import itertools

import numpy as np
from numpy.typing import NDArray

_MAX_NIBBLES = 10
"""Most nibbles of a number: 30 bits, more than any length or difference needs."""


class RvlError(ValueError):
    """The data is no RVL of that many pixels; the text completes the sentence "The depth image ..."."""


def decode_rvl(data: bytes, pixels: int) -> NDArray[np.uint16]:
    """Decode the values of a depth image.

    Args:
        data: The encoded values, without a header.
        pixels: Their number.

    Returns:
        (pixels,) uint16.

    Raises:
        RvlError: The data is truncated or damaged, or is longer than RVL of so many pixels can be.
    """
    if len(data) > 3 * pixels + 12:  # the worst case
        raise RvlError(f"has {len(data)} bytes of RVL data, too many for {pixels} pixels")
    numbers = _numbers(data)
    first, places, counts = _runs(numbers, pixels)
    values = np.zeros(pixels, dtype=np.uint16)
    coded = numbers[_ranges(first, counts)].astype(np.int64)
    # Differences continue across runs of zeros, and wrap around at 16 bits as in the encoder.
    differences = (coded >> 1) ^ -(coded & 1)
    values[_ranges(places, counts)] = np.cumsum(differences).astype(np.uint16)
    return values


def _numbers(data: bytes) -> NDArray[np.int32]:
    words = np.frombuffer(data[: len(data) // 4 * 4], dtype="<u4")
    packed = words.astype(">u4").view(np.uint8)
    nibbles = np.stack([packed >> 4, packed & 15], axis=1).ravel()
    ends = np.flatnonzero(nibbles < 8)
    if not len(ends):
        return np.zeros(0, dtype=np.int32)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if int(lengths.max()) > _MAX_NIBBLES:
        raise RvlError("is damaged: its RVL data has a number of more than 30 bits")
    nibbles = nibbles[: ends[-1] + 1]
    shifts = 3 * (np.arange(len(nibbles), dtype=np.int32) - np.repeat(starts, lengths).astype(np.int32))
    return np.add.reduceat((nibbles & 7).astype(np.int32) << shifts, starts).astype(np.int32)


def _runs(numbers: NDArray[np.int32], pixels: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Of each run of values: the index of its first number, its first pixel and its length."""
    listed, runs = numbers.tolist(), list[tuple[int, int, int]]()
    at = place = 0
    while place < pixels:
        if at + 2 > len(listed):
            raise RvlError(f"is truncated: its RVL data has {place} of {pixels} pixels")
        zeros, count = listed[at], listed[at + 1]
        place, at = place + zeros, at + 2
        if (runs and not zeros) or (not count and place < pixels):
            raise RvlError("is damaged: its RVL data has an empty run")
        if place + count > pixels or at + count > len(listed):
            raise RvlError(f"is damaged: its RVL data does not have {pixels} pixels")
        runs.append((at, place, count))
        place, at = place + count, at + count
    first, places, counts = np.array(runs, dtype=np.int64).reshape(-1, 3).T
    return first, places, counts


def _ranges(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The indices start, start + 1, … of every range, one after another."""
    before = np.array([0, *itertools.accumulate(counts.tolist())], dtype=np.int64)
    return np.asarray(np.repeat(starts - before[:-1], counts) + np.arange(before[-1]), dtype=np.int64)
