# SPDX-License-Identifier: Apache-2.0
"""Checks of the weights that transformers has loaded."""

from __future__ import annotations

import math

import pytest
import torch

from lisa_ros.segmentation.files.pretrained import all_finite

TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2)


@pytest.mark.parametrize("dtype", TYPES)
def test_every_number_that_is_nan_or_infinite_is_found(dtype: torch.dtype) -> None:
    assert all_finite(torch.zeros(0, 3, dtype=dtype))
    for number in (0.0, -1.5, torch.finfo(dtype).max, math.nan, math.inf, -math.inf):
        for place in ((0, 0), (6, 999)):
            weights = torch.randn(7, 1000)
            weights[place] = number
            assert all_finite(weights.to(dtype)) == math.isfinite(number)
            assert all_finite(weights.to(dtype).T) == math.isfinite(number)
