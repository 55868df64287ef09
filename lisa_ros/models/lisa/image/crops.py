# SPDX-License-Identifier: Apache-2.0
"""Other crops of an image: regions that differ a little from the region of its objects."""

from __future__ import annotations

from collections.abc import Iterator

from lisa_ros.segmentation.region import Region

CHANGES = ((0.0, 0.03), (0.05, 0.0), (0.0, -0.03), (-0.04, 0.0))
"""What each other crop adds at each side of the region, and how far it moves it both right and down, as shares of the
region's width and height. Of the six sets of changes that were tried this one was best."""


def other_crops(region: Region, size: tuple[int, int]) -> Iterator[Region]:
    """The region with each of CHANGES, cut at the image's border; none that equals the region.

    Args:
        region: of an image.
        size: (H, W) of the image.
    """
    for grown, moved in CHANGES:
        top, bottom = _moved(region.top, region.height, size[0], grown, moved)
        left, end = _moved(region.left, region.width, size[1], grown, moved)
        if (crop := Region(top, left, bottom - top, end - left)) != region:
            yield crop


def _moved(first: int, length: int, size: int, grown: float, moved: float) -> tuple[int, int]:
    """First and end of a side of `length` pixels, in an image of `size` pixels."""
    return max(0, first + round((moved - grown) * length)), min(size, first + length + round((moved + grown) * length))
