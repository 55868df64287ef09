# SPDX-License-Identifier: Apache-2.0
"""The body of a request: a compressed JSON description of a command, then the image, if the server has not got it.

    4 bytes   length of the compressed description, big endian
    N bytes   the description: JSON, compressed by zlib
    the rest  the image as PNG or JPEG; nothing where the server has it

Sizes are checked before anything is decompressed or decoded.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from lisa_ros.fleet.messages import PixelBudget, references_from, references_json, turn_from, turn_json
from lisa_ros.segmentation.answers import AnswerKind, Image, Reference, check_answer_kind
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.pointing import NO_POINTING, Pointing
from lisa_ros.segmentation.turns import Turn

MOST_BODY_BYTES = 32 * 2**20
MOST_DESCRIPTION_BYTES = 16 * 2**20
"""Decompressed. A turn with one mask of 640 x 480 pixels has about 2 kB."""
MOST_PIXELS = 4096 * 4096
MOST_MASK_PIXELS = 2**28
"""Of all masks of a request: as many as a dialogue of 800 turns about images of 640 x 480 pixels has."""
MOST_TEXT = 10_000
"""Characters of a command."""
MOST_DIALOGUE_TEXT = 200_000
"""Characters of all earlier commands and answers: tokenizing megabytes would hold up the other robots."""
MOST_TURNS = 1000
"""Of a dialogue; each takes time, also an empty one."""
MOST_JPEG_SCANS = 100
"""A progressive JPEG has about ten; each goes over all pixels."""
MOST_TOKENS = 4096
MOST_ANSWER_S = 3600.0
"""How long an answer may take, seconds."""

_LENGTH = struct.Struct(">I")
_FORMATS = ("PNG", "JPEG")
_JPEG_SCAN = b"\xff\xda"


class RequestError(LisaError):
    """A request that is not one of ours; the text says what is wrong."""


@dataclass(frozen=True)
class Query:
    """One command about one image.

    Attributes:
        frame: SHA-256 of the image's bytes as they are sent, in hexadecimal digits.
        command: the operator's text.
        command_id: of the robot's node, for logs.
        turns: the dialogue so far.
        references, max_new_tokens, answer, pointing: see Session.segment.
        max_history_tokens: see Segmenter.session.
        deadline_s: how long the robot waits, seconds; the server stops then.
    """

    frame: str
    command: str
    command_id: str = ""
    turns: tuple[Turn, ...] = ()
    references: tuple[Reference, ...] = ()
    max_new_tokens: int = 512
    max_history_tokens: int = 0
    answer: AnswerKind = "full"
    pointing: Pointing = NO_POINTING
    deadline_s: float = 60.0


def _description(query: Query) -> dict[str, Any]:
    return {
        "frame": query.frame,
        "command": query.command,
        "command_id": query.command_id,
        "turns": [turn_json(turn) for turn in query.turns],
        "references": references_json(query.references),
        "max_new_tokens": query.max_new_tokens,
        "max_history_tokens": query.max_history_tokens,
        "answer": query.answer,
        "points": [list(point) for point in query.pointing.points],
        "boxes": [list(box) for box in query.pointing.boxes],
        "deadline_s": query.deadline_s,
    }


_DEFAULTS = _description(Query("", ""))


def pack(query: Query, image: bytes = b"") -> bytes:
    """The body of a request."""
    packed = zlib.compress(json.dumps(_description(query)).encode(), 6)
    return _LENGTH.pack(len(packed)) + packed + image


def unpack(body: bytes) -> tuple[Query, bytes]:
    """The command and the image (b"" without one) of a body.

    Raises:
        RequestError: it is no such body, or something in it is too large. The image is not looked into.
    """
    if not _LENGTH.size <= len(body) <= MOST_BODY_BYTES:
        raise RequestError(f"a request has {_LENGTH.size} to {MOST_BODY_BYTES} bytes; this one has {len(body)}")
    (length,) = _LENGTH.unpack_from(body)
    if length > len(body) - _LENGTH.size:
        raise RequestError("the request ends within its description")
    end = _LENGTH.size + length
    try:
        return _query(json.loads(_decompressed(body[_LENGTH.size : end]))), body[end:]
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError, zlib.error) as error:
        raise RequestError(f"the request's description cannot be read: {type(error).__name__}: {error}") from error


def _decompressed(packed: bytes) -> bytes:
    decompressor = zlib.decompressobj()
    text = decompressor.decompress(packed, MOST_DESCRIPTION_BYTES)
    if not decompressor.eof:
        raise ValueError(f"it is cut, or has more than {MOST_DESCRIPTION_BYTES} bytes")
    return text


def _query(given: Any) -> Query:
    """The command of a description. Robots may be older than their server: what they do not send has its default."""
    frame, command = str(given["frame"]), str(given["command"])
    given = {**_DEFAULTS, **given}
    check_answer_kind(given["answer"])
    if len(frame) != 64 or not set(frame) <= set("0123456789abcdef"):
        raise ValueError("frame must be a SHA-256 in lower-case hexadecimal digits")
    if len(command) > MOST_TEXT:
        raise ValueError(f"the command has {len(command)} characters; {MOST_TEXT} are accepted")
    if len(given["turns"]) > MOST_TURNS:
        raise ValueError(f"the dialogue has {len(given['turns'])} turns; {MOST_TURNS} are accepted")
    budget = PixelBudget(MOST_MASK_PIXELS)
    spoken = sum(len(str(turn["command"])) + len(str(turn["answer"])) for turn in given["turns"])
    if spoken > MOST_DIALOGUE_TEXT:
        raise ValueError(f"the dialogue has {spoken} characters; {MOST_DIALOGUE_TEXT} are accepted")
    tokens, deadline_s = int(given["max_new_tokens"]), float(given["deadline_s"])
    if not (1 <= tokens <= MOST_TOKENS and 0 < deadline_s <= MOST_ANSWER_S):
        raise ValueError(f"max_new_tokens must be 1 to {MOST_TOKENS}, deadline_s must be 0 to {MOST_ANSWER_S:.0f}")
    return Query(
        frame,
        command,
        str(given["command_id"])[:64],
        tuple(turn_from(one, budget) for one in given["turns"]),
        references_from(given["references"], budget),
        tokens,
        int(given["max_history_tokens"]),
        given["answer"],
        Pointing(_tuples(given["points"], 2), _tuples(given["boxes"], 4)),
        deadline_s,
    )


def newest_turns(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The newest turns of a dialogue, as many as a request may have."""
    first, spoken = len(turns), 0
    for turn in reversed(turns[-MOST_TURNS:]):
        spoken += len(turn.command) + len(turn.answer)
        if spoken > MOST_DIALOGUE_TEXT:
            break
        first -= 1
    return tuple(turns[first:])


def _tuples(given: Any, length: int) -> Any:
    found = tuple(tuple(float(number) for number in one) for one in given)
    if len(found) > 16 or any(len(one) != length for one in found):
        raise ValueError("points must be pairs of numbers and boxes four numbers, at most 16 of them")
    return found


def compress_image(image: Image, jpeg_quality: int) -> bytes:
    """An RGB image (H, W, 3) uint8 as JPEG of this quality (1 to 100), or without loss as PNG (0)."""
    options = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality] if jpeg_quality else [cv2.IMWRITE_PNG_COMPRESSION, 1]
    done, data = cv2.imencode(".jpg" if jpeg_quality else ".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise RequestError(f"an image of shape {image.shape} cannot be compressed")
    return data.tobytes()


def decompress_image(data: bytes) -> Image:
    """The RGB image of `compress_image`.

    Raises:
        RequestError: it is neither PNG nor JPEG, has more than MOST_PIXELS or MOST_JPEG_SCANS, or is damaged.
    """
    try:
        with PillowImage.open(io.BytesIO(data), formats=_FORMATS) as opened:  # reads the header alone
            width, height = opened.size
            if width * height > MOST_PIXELS:
                raise RequestError(f"the image has {width} x {height} pixels; {MOST_PIXELS} are accepted")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, PillowImage.DecompressionBombError) as error:
        raise RequestError("the image is neither a PNG nor a JPEG") from error
    # Compressed data has no such pair of bytes. A kilobyte of scans would hold up the other robots for minutes.
    if opened.format == "JPEG" and data.count(_JPEG_SCAN) > MOST_JPEG_SCANS:
        raise RequestError(f"the image has more than {MOST_JPEG_SCANS} scans")
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if decoded is None or decoded.shape[:2] != (height, width):
        raise RequestError("the image is damaged")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def frame_id(data: bytes) -> str:
    """The name of an image: SHA-256 of its bytes as they are sent."""
    return hashlib.sha256(data).hexdigest()
