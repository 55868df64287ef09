# SPDX-License-Identifier: Apache-2.0
"""What a replica answers, without a server around it."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from scripted_segmenter import ScriptedSegmenter

pytest.importorskip("ray", reason="ray is not installed: see extra fleet in setup.py")

from lisa_ros.fleet.frame_cache import FrameCache
from lisa_ros.fleet.replica import Replica
from lisa_ros.fleet.requests import Query, compress_image, frame_id
from lisa_ros.segmentation.cancellation import CancelToken


def test_an_answer_names_the_model_that_gave_it() -> None:
    """A server may be replaced by one with another model, and the robot notices only that a connection broke."""
    replica: Any = Replica.__new__(Replica)
    replica._segmenter, replica._frames = ScriptedSegmenter(name="the other model"), FrameCache(2)
    replica._frame_hits = replica._first_mask = MagicMock()
    image = compress_image(np.full((8, 8, 3), (255, 0, 0), np.uint8), 0)
    sent: list[dict[str, Any]] = []
    assert replica._segment("robot", Query(frame_id(image), "red"), image, CancelToken(), sent.append) == "answered"
    assert (sent[-1]["event"], sent[-1]["model"]) == ("finished", "the other model")
