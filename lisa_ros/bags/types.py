# SPDX-License-Identifier: Apache-2.0
"""The message types of a bag: those of ROS 2 and lisa_ros's own, made and serialized without ROS."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

import lisa_ros
from lisa_ros.bags.other_types import OTHER_TYPES
from lisa_ros.segmentation.errors import LisaError

_NUMBERS = {"byte": "uint8", "char": "uint8", "octet": "uint8"}


@functools.cache
def typestore() -> Typestore:
    """The types of ROS 2, vision_msgs, foxglove_msgs and lisa_ros.

    Raises:
        LisaError: The .msg files of lisa_ros are not installed.
    """
    store = get_typestore(Stores.ROS2_JAZZY)
    types: dict[str, Any] = {}
    for file in sorted(_definitions().glob("*.msg")):
        types.update(get_types_from_msg(file.read_text(encoding="utf-8"), f"lisa_ros/msg/{file.stem}"))
    for name, definition in OTHER_TYPES.items():
        types.update(get_types_from_msg(definition, name))
    store.register(types)
    return store


def make(kind: str, **fields: Any) -> Any:
    """A message; fields that are not given are zero or empty, rotations none.

    Args:
        kind: Such as "geometry_msgs/msg/Point".
        **fields: Values of fields.
    """
    store = typestore()
    values = {name: fields[name] if name in fields else _zero(desc) for name, desc in store.fielddefs[kind][1]}
    if kind == "geometry_msgs/msg/Quaternion" and not fields:
        values["w"] = 1.0
    unknown = fields.keys() - values.keys()
    if unknown:
        raise TypeError(f"{kind} has no field {', '.join(sorted(unknown))}")
    return store.types[kind](**values)


def constant(kind: str, name: str) -> int:
    """The value of a constant of a message type."""
    return int(next(value for one, _, value in typestore().fielddefs[kind][0] if one == name))


def serialize(message: Any) -> bytes:
    """A message as CDR."""
    return bytes(typestore().serialize_cdr(message, message.__msgtype__))


def deserialize(data: bytes, kind: str) -> Any:
    """A message from CDR. Damaged data raises exceptions of several kinds."""
    return typestore().deserialize_cdr(data, kind)


def time_message(time_ns: int) -> Any:
    """A builtin_interfaces/Time."""
    return make("builtin_interfaces/msg/Time", sec=time_ns // 1_000_000_000, nanosec=time_ns % 1_000_000_000)


def nanoseconds(stamp: Any) -> int:
    """A builtin_interfaces/Time in nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def _definitions() -> Path:
    """The folder of lisa_ros's .msg files: in the checkout, the ROS workspace, or where pip installed them."""
    package = Path(lisa_ros.__file__)
    shares = [folder / "share" / "lisa_ros" / "msg" for folder in (*package.parents, Path(sys.prefix))]
    for folder in (*shares, package.resolve().parents[1] / "msg"):
        if (folder / "Segmentation.msg").is_file():
            return folder
    raise LisaError("the message definitions of lisa_ros (msg/*.msg) are not installed; install lisa_ros again")


def _zero(desc: Any) -> Any:
    kind, detail = desc
    if kind == Nodetype.NAME:
        return make(detail)
    if kind == Nodetype.BASE:
        name = detail[0]
        return "" if name in ("string", "wstring") else False if name == "bool" else 0.0 if "float" in name else 0
    (inner_kind, inner), length = detail
    if inner_kind == Nodetype.BASE and inner[0] not in ("string", "wstring"):
        return np.zeros(length if kind == Nodetype.ARRAY else 0, dtype=_NUMBERS.get(inner[0], inner[0]))
    return [_zero((inner_kind, inner)) for _ in range(length)] if kind == Nodetype.ARRAY else []
