# SPDX-License-Identifier: Apache-2.0
"""The intrinsics of an image that is a part of the sensor's, or a smaller one."""

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, RegionOfInterest

from lisa_ros.segmentation.errors import LisaError
from lisa_ros.spatial.camera_info import camera_from

K = [200.0, 0.0, 160.0, 0.0, 210.0, 121.0, 0.0, 0.0, 1.0]
P = [200.0, 0.0, 160.0, 0.0, 0.0, 210.0, 121.0, 0.0, 0.0, 0.0, 1.0, 0.0]
PART = RegionOfInterest(x_offset=40, y_offset=30, width=200, height=100)


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("part", [RegionOfInterest(), PART])
@pytest.mark.parametrize("binning", [0, 2])
def test_rays_are_those_of_the_sensors_pixels(rectified: bool, part: RegionOfInterest, binning: int) -> None:
    info = CameraInfo(width=320, height=240, k=K, p=P, roi=part, binning_x=binning, binning_y=binning)
    times = max(1, binning)
    size = (part.width or 320) // times, (part.height or 240) // times
    camera = camera_from(info, rectified, size)
    assert (camera.width, camera.height) == size
    # The middle of the image's pixel (7, 5) is that of the sensor's pixels it is made of.
    u, v = part.x_offset + times * 7 + (times - 1) / 2, part.y_offset + times * 5 + (times - 1) / 2
    assert camera.rays[5, 7] == pytest.approx([(u - 160) / 200, (v - 121) / 210], abs=1e-6)


def test_a_camera_info_of_the_images_size_is_taken_as_it_is() -> None:
    """Drivers give the binned image's K and the binning as well."""
    info = CameraInfo(width=320, height=240, k=K, binning_x=2, binning_y=2, roi=PART)
    camera = camera_from(info, False, (320, 240))
    assert np.array_equal(camera.matrix.ravel(), K)
    assert camera_from(info, False, (64, 48)) == camera  # of no use; `locate` says so


@pytest.mark.parametrize(
    ("changed", "reason"),
    [({0: 1e30, 4: 1e30}, "focal"), ({0: 1e-30}, "focal"), ({2: 1e6}, "optical centre"), ({5: -1e9}, "optical centre")],
)
def test_numbers_that_no_lens_has_are_refused(changed: dict[int, float], reason: str) -> None:
    """They gave positions 5e31 m away."""
    info = CameraInfo(width=320, height=240, k=[changed.get(i, K[i]) for i in range(9)])
    with pytest.raises(LisaError, match=reason):
        camera_from(info, False, (320, 240))


def test_a_region_outside_of_the_sensor_is_not_used() -> None:
    outside = RegionOfInterest(x_offset=4_000_000_000, y_offset=30, width=200, height=100)
    camera = camera_from(CameraInfo(width=320, height=240, k=K, roi=outside), False, (200, 100))
    assert (camera.width, camera.height) == (320, 240)
