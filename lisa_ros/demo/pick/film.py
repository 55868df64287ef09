# SPDX-License-Identifier: Apache-2.0
"""A GIF of the arm at work: the camera's image with the answer, and the scene from the side."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lisa_ros.client import Result
from lisa_ros.demo.pick.robot import DAYLIGHT, Robot
from lisa_ros.segmentation.overlay import draw_overlay
from lisa_ros.simulation.arrangement import pose_towards
from lisa_ros.simulation.rendering import take_image
from lisa_ros.simulation.scene import Camera

Rgb = NDArray[np.uint8]

SIZE = (360, 270)
STEPS = 40
"""Of the simulation, 1/240 s each, between two images of the film."""
SHOWN_MS, ASKED_MS, HELD_MS = 110, 1200, 2000
_EYE_M, _AIM_M = np.array((0.35, -0.95, 0.62)), np.array((-0.12, 0.0, 0.14))


class Film:
    """Collects the images of some scenes."""

    def __init__(self) -> None:
        """Begin without images."""
        self._images: list[Rgb] = []
        self._times_ms: list[int] = []
        self._left: Rgb | None = None
        self._caption, self._steps = "", 0
        self.robot: Robot | None = None

    def asked(self, text: str) -> None:
        """Show the command."""
        self._show(None, f"{text}\n...", ASKED_MS)

    def answered(self, text: str, result: Result) -> None:
        """Show the answer; from now on the arm is filmed."""
        masks = [one.mask for one in result.objects if one.mask is not None]
        self._show(masks, f"{text}\n{result.explanation or result.message}", ASKED_MS)

    def step(self) -> None:
        """After a step of the simulation: take an image when it is time."""
        self._steps += 1
        if self._left is not None and self._steps % STEPS == 0:
            self._add(self._left, SHOWN_MS)

    def end_scene(self) -> None:
        """Show the last image for a while."""
        if self._times_ms:
            self._times_ms[-1] = HELD_MS
        self._left = None

    def save(self, file: Path) -> None:
        """Write the GIF; all images have one palette."""
        height = max(len(one) for one in self._images)
        padded = [np.pad(one, ((0, height - len(one)), (0, 0), (0, 0)), constant_values=24) for one in self._images]
        palette = Image.fromarray(np.concatenate(padded[:: max(1, len(padded) // 8)])).quantize(128)
        images = [Image.fromarray(one).quantize(palette=palette, dither=Image.Dither.NONE) for one in padded]
        images[0].save(file, save_all=True, append_images=images[1:], duration=self._times_ms, loop=0)

    def _show(self, masks: list[NDArray[np.bool_]] | None, caption: str, shown_ms: int) -> None:
        assert self.robot is not None
        self._caption = caption
        drawn = draw_overlay(self.robot.view.rgb, masks or [])
        left = cv2.resize(drawn, SIZE, interpolation=cv2.INTER_AREA).astype(np.uint8)
        self._left = left
        self._add(left, shown_ms)

    def _add(self, left: Rgb, shown_ms: int) -> None:
        assert self.robot is not None
        right = take_image(self.robot.table.world, _side_camera(), DAYLIGHT)[0]
        self._images.append(draw_overlay(np.hstack([left, right]), [], self._caption))
        self._times_ms.append(shown_ms)


def _side_camera() -> Camera:
    width, height = SIZE
    focal = height / 2.0 / np.tan(np.deg2rad(50.0) / 2.0)
    k = np.array([[focal, 0.0, (width - 1) / 2.0], [0.0, focal, (height - 1) / 2.0], [0.0, 0.0, 1.0]])
    forward = _AIM_M - _EYE_M
    return Camera(width, height, k, pose_towards(_EYE_M, forward / np.linalg.norm(forward)))
