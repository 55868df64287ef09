# SPDX-License-Identifier: Apache-2.0
"""Images, depth, intrinsics and requests of any content are decoded, or refused with one sentence."""

from __future__ import annotations

import asyncio
import json
import struct
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import cv2
import numpy as np
import pytest
from hostile_cases import cases
from hypothesis import assume, given
from hypothesis import strategies as st

from lisa_ros.images.decoding import depth_from, rgb_from, size_of
from lisa_ros.segmentation.errors import ImageError, LisaError
from lisa_ros.spatial.camera import COEFFICIENTS, CameraModel

pytest.importorskip("starlette", reason="the extra `console` is not installed")

from lisa_ros.nodes.console.page import Page, PageError
from lisa_ros.nodes.console.web.access import COOKIE, AccessCheck

pytestmark = pytest.mark.unit

ENCODINGS = (
    *("rgb8", "bgr8", "rgba8", "bgra8", "mono8", "8UC1", "8UC3", "mono16", "rgb16", "bgra16", "16UC1", "32FC1"),
    *("bayer_rggb8", "bayer_grbg16", "yuv422", "uyvy", "yuv422_yuy2", "nv12", "nv21", "nv24", "", "\x00", "rgb8 "),
)
SIDES = st.one_of(st.integers(0, 8), st.sampled_from([2**16, 2**31 - 1, 2**32 - 1]))


@cases(3000)
@given(
    height=SIDES,
    width=SIDES,
    encoding=st.sampled_from(ENCODINGS),
    big_endian=st.booleans(),
    step=st.one_of(st.integers(0, 64), st.sampled_from([2**31, 2**32 - 1])),
    data=st.binary(max_size=200),
)
def test_a_raw_image_of_any_fields(
    height: int, width: int, encoding: str, big_endian: bool, step: int, data: bytes
) -> None:
    message = SimpleNamespace(
        height=height, width=width, encoding=encoding, is_bigendian=big_endian, step=step, data=data
    )
    for decode, depth in ((rgb_from, False), (depth_from, True)):
        try:
            pixels = decode(message)
        except ImageError:
            continue
        assert pixels.shape == ((height, width) if depth else (height, width, 3))


def files() -> list[bytes]:
    image = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    deep = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30) * 100
    return [
        cv2.imencode(suffix, one)[1].tobytes() for suffix, one in ((".png", image), (".jpg", image), (".png", deep))
    ]


FILES = files()
CHANGED_FILES = st.builds(
    lambda file, place, change, cut: (
        file[: place % len(file)] + (b"" if cut else change + file[(place + len(change)) % len(file) :])
    ),
    st.sampled_from(FILES),
    st.integers(0, 5000),
    st.binary(max_size=6),
    st.booleans(),
)
SIZED_FILES = st.builds(
    lambda width, height, rest: b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + rest,
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=40),
)
BODIES = st.one_of(CHANGED_FILES, SIZED_FILES, st.binary(max_size=60))


@cases(2500)
@given(data=BODIES, text=st.sampled_from(["png", "jpeg", "rgb8; png compressed bgr8", "mono16; png", "", "tiff"]))
def test_a_compressed_image_of_any_bytes(data: bytes, text: str) -> None:
    message = SimpleNamespace(format=text, data=data)
    try:
        width, height = size_of(message)
        pixels = rgb_from(message)
    except ImageError:
        return
    assert pixels.shape == (height, width, 3), "the header said what would be decoded"


RVL = st.builds(
    lambda width, height, body: struct.pack("<II", width, height) + body,
    st.one_of(st.integers(0, 20), st.integers(0, 2**32 - 1)),
    st.one_of(st.integers(0, 20), st.integers(0, 2**32 - 1)),
    st.binary(max_size=40),
)


@cases(2500)
@given(
    text=st.sampled_from(
        ["16UC1; compressedDepth png", "32FC1; compressedDepth rvl", "16UC1; compressedDepth rvl", "16UC1", ";;"]
    ),
    header=st.binary(max_size=14),
    body=st.one_of(BODIES, RVL),
)
def test_a_compressed_depth_image_of_any_bytes(text: str, header: bytes, body: bytes) -> None:
    try:
        depth = depth_from(SimpleNamespace(format=text, data=header + body))
    except ImageError:
        return
    assert depth.dtype == np.float32 and depth.ndim == 2 and depth.size < 40_000_000


NUMBERS = st.one_of(st.floats(), st.sampled_from([0.0, 1e-300, 1e300, -1.0, 500.0]))


@cases(2000)
@given(
    size=st.tuples(st.integers(-1, 12), st.integers(-1, 12)),
    k=st.lists(NUMBERS, max_size=10),
    model=st.one_of(st.sampled_from(sorted(COEFFICIENTS)), st.text(max_size=8)),
    d=st.lists(NUMBERS, max_size=14),
)
def test_intrinsics_of_any_numbers(size: tuple[int, int], k: list[float], model: str, d: list[float]) -> None:
    try:
        camera = CameraModel.from_info(*size, k, model, d)
    except LisaError:
        return
    with np.errstate(all="ignore"):
        assert camera.rays.shape == (size[1], size[0], 2)


TOKEN = "a-token-of-the-test"
HEADER_NAMES = st.sampled_from([b"host", b"origin", b"cookie", b"content-length", b"transfer-encoding", b"upgrade"])
HEADER_VALUES = st.one_of(
    st.binary(max_size=30),
    st.sampled_from([b"localhost:8080", b"http://localhost:8080", b"127.0.0.1", b"[::1]:80", b"[", b"0", b"null"]),
    st.sampled_from([f"{COOKIE}_80={TOKEN}x".encode(), f"{COOKIE}_80={TOKEN[:-1]}".encode(), f"x={TOKEN}".encode()]),
)


@cases(3000)
@given(
    kind=st.sampled_from(["http", "websocket"]),
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "\x00"]),
    path=st.one_of(st.text(max_size=20), st.sampled_from(["/", "/page", "/static/main.js", "/healthz/", "//healthz"])),
    query=st.one_of(st.binary(max_size=30), st.just(b"token="), st.just(f"token={TOKEN}%00".encode())),
    headers=st.lists(st.tuples(HEADER_NAMES, HEADER_VALUES), max_size=5),
)
def test_no_request_without_the_token_passes_the_gate(
    kind: str, method: str, path: str, query: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    assume(path != "/healthz")
    passed, sent = [], []

    async def app(*_: Any) -> None:
        passed.append(path)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": kind, "method": method, "path": path, "query_string": query, "headers": headers}
    scope["server"] = ("127.0.0.1", 80)
    asyncio.run(AccessCheck(app, token=TOKEN, local=True, tls=False)(scope, receive, send))
    assert passed == []
    assert sent[0]["type"] in ("http.response.start", "websocket.close")
    assert sent[0].get("status", 403) in (401, 403, 405, 413, 421)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
TYPES = ("hello", "view", "frame", "command", "cancel", "reset", "undo", "talk", "", "serve", "_handle", "__class__")
FIELDS = st.sampled_from(["operator", "camera", "text", "width", "points", "boxes", "references", "id", "visible"])


@cases(2500)
@given(
    message=st.one_of(
        st.text(max_size=30),
        st.builds(
            lambda kind, fields: json.dumps({**fields, "type": kind}),
            st.one_of(st.sampled_from(TYPES), VALUES),
            st.dictionaries(FIELDS, VALUES, max_size=4),
        ),
    )
)
def test_a_message_of_a_page_of_any_content(message: str) -> None:
    camera = MagicMock(reset=AsyncMock(), undo_reset=AsyncMock(), namespace="")
    camera.state.return_value = {"type": "state"}
    page = Page(MagicMock(), {"": camera})
    page._camera, page._conversation = camera, MagicMock()
    try:
        asyncio.run(page._handle(message))
    except PageError:
        assert not camera.send.called
