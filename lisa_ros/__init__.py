# SPDX-License-Identifier: Apache-2.0
"""Reasoning segmentation for robots: LISA (Large Language Instructed Segmentation Assistant) on ROS 2.

Without ROS: `model = lisa_ros.load("xinlai/LISA-7B-v1")`, then `model.segment(image_rgb, "the red mug")`.
docs/architecture.md has the packages, and three files to begin with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lisa_ros.models.model import load as load

__version__ = "0.1.0"

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    """`load`, imported when it is first used: `import lisa_ros` alone takes no time."""
    if name == "load":
        from lisa_ros.models.model import load

        return load
    raise AttributeError(f"module 'lisa_ros' has no attribute {name!r}")
