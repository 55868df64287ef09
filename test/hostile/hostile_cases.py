# SPDX-License-Identifier: Apache-2.0
"""How many hostile inputs a test tries: few in the suite, HOSTILE_SCALE times as many with `make fuzz`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings

SCALE = int(os.environ.get("HOSTILE_SCALE", "1"))


def cases(count: int) -> Callable[[Any], Any]:
    """Settings of a hypothesis test with `count` cases in the suite: the same ones in every run, unless scaled."""
    return settings(
        max_examples=count * SCALE,
        derandomize=SCALE == 1,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
