# SPDX-License-Identifier: Apache-2.0
"""Bags as a robot records them: a camera with depth and intrinsics about the simulated table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from paths import ROOT
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

IMAGE, DEPTH, INFO = "/camera/image", "/camera/depth", "/camera/camera_info"
START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000
STORE = get_typestore(Stores.ROS2_JAZZY)


def table() -> NDArray[np.uint8]:
    """The simulated table with a red square, RGB."""
    seen = cv2.cvtColor(cv2.imread(str(ROOT / "examples" / "table.png")), cv2.COLOR_BGR2RGB)
    seen[400:440, 300:340] = (220, 20, 20)
    return seen


def write_bag(
    folder: Path,
    images: int = 20,
    storage: str = "mcap",
    compression: str = "",
    encodings: tuple[str, ...] = ("rgb8",),
    size: tuple[int, int] | None = None,
    image_every: int = 1,
    depth_frame: str = "camera_optical",
) -> Path:
    """One image, depth and intrinsics every 0.1 s; the encodings alternate.

    Args:
        folder: Of the bag.
        images: How many moments.
        storage: "mcap" or "sqlite3".
        compression: "message", "file", "storage" or "".
        encodings: Of the images; "jpeg" is a CompressedImage on IMAGE/compressed.
        size: Width and height, None: that of the table's image.
        image_every: Of so many moments, only the first has an image.
        depth_frame: The frame_id of the depth images.
    """
    writer = Writer(folder, version=9, storage_plugin=StoragePlugin[storage.upper()])
    if compression:
        writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    seen = table() if size is None else cv2.resize(table(), size)
    with writer:
        topics: dict[str, Any] = {}
        for number in range(images):
            stamp_ns = START_NS + number * PERIOD_NS
            encoding = encodings[number % len(encodings)]
            for topic, message in camera_messages(seen, stamp_ns, encoding, depth_frame):
                kind = message.__msgtype__
                if number % image_every and topic not in (DEPTH, INFO):
                    continue
                if topic not in topics:
                    topics[topic] = writer.add_connection(topic, kind, typestore=STORE)
                writer.write(topics[topic], stamp_ns + 2_000_000, STORE.serialize_cdr(message, kind))
    return folder


def camera_messages(
    seen: NDArray[np.uint8], stamp_ns: int, encoding: str, depth_frame: str = "camera_optical"
) -> list[tuple[str, Any]]:
    """Depth, intrinsics and image of one moment, with rosbags' types."""
    types = STORE.types
    stamp = types["builtin_interfaces/msg/Time"](stamp_ns // 10**9, stamp_ns % 10**9)
    header, of_depth = (types["std_msgs/msg/Header"](stamp, frame) for frame in ("camera_optical", depth_frame))
    height, width = seen.shape[:2]
    make_image = types["sensor_msgs/msg/Image"]
    depth = np.full((height, width), 800, np.uint16)
    return [
        (DEPTH, make_image(of_depth, height, width, "16UC1", 0, 2 * width, depth.view(np.uint8).ravel())),
        (INFO, _info(header, width, height)),
        _image(seen, header, encoding),
    ]


def _image(seen: NDArray[np.uint8], header: Any, encoding: str) -> tuple[str, Any]:
    height, width = seen.shape[:2]
    if encoding == "jpeg":
        _, data = cv2.imencode(".jpg", cv2.cvtColor(seen, cv2.COLOR_RGB2BGR))
        return f"{IMAGE}/compressed", STORE.types["sensor_msgs/msg/CompressedImage"](header, "jpeg", data.ravel())
    pixels = seen if encoding == "rgb8" else seen[:, :, ::-1]
    data = np.ascontiguousarray(pixels).ravel()
    return IMAGE, STORE.types["sensor_msgs/msg/Image"](header, height, width, encoding, 0, 3 * width, data)


def _info(header: Any, width: int, height: int) -> Any:
    f = 0.74 * width
    k = np.array([f, 0, width / 2, 0, f, height / 2, 0, 0, 1], dtype=float)
    p = np.array([f, 0, width / 2, 0, 0, f, height / 2, 0, 0, 0, 1, 0], dtype=float)
    roi = STORE.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    r = np.eye(3).ravel()
    return STORE.types["sensor_msgs/msg/CameraInfo"](
        header, height, width, "plumb_bob", np.zeros(5), k, r, p, 0, 0, roi
    )
