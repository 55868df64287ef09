# SPDX-License-Identifier: Apache-2.0
"""The simulated table seen by a moving camera, frame by frame, with the truth about one object on it.

`python -m lisa_ros.simulation.moving FOLDER` renders sequences to files, which lisa_ros.benchmark.tracking reads.

A frame is 1/30 s: the motions are those of a camera on an arm or a slow robot, up to about 0.4 m/s and 30 degrees/s.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from tqdm import tqdm

from lisa_ros.simulation.arrangement import pose_towards
from lisa_ros.simulation.scene import Camera, SceneObject, View

if TYPE_CHECKING:
    from lisa_ros.simulation.tabletop import Tabletop

Vector = NDArray[np.float64]

FRAMES = 60
LEAST_TARGET = 1 / 200
"""The tracked object covers at least this part of the first image."""
SHAKE_M, SHAKE_AIM_M = 0.002, 0.004
"""Shake of a hand-held camera: of its position, and of the point it aims at, at about 0.7 m."""
NOISE = 3.0
"""Standard deviation of the sensor's noise, of 255."""
TRIES = 20


@dataclass(frozen=True)
class MovingFrame:
    """One frame of a sequence.

    Attributes:
        rgb: (H, W, 3) uint8, with noise.
        target: (H, W), the pixels where the tracked object is seen; empty where it is hidden or out of the view.
    """

    rgb: NDArray[np.uint8]
    target: NDArray[np.bool_]


@dataclass(frozen=True)
class _Aim:
    """The camera's pose: its position, the point it aims at (table frame), and its roll in radians."""

    eye: Vector
    point: Vector
    roll: float = 0.0


@dataclass(frozen=True)
class _Stage:
    """What a motion knows at its start: the camera's aim, the followed object, and an object to hold before it."""

    aim: _Aim
    target: SceneObject
    occluder: SceneObject


def _around(stage: _Stage, degrees: float) -> _Aim:
    """The start's aim, turned around the vertical through the point it aims at."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    return _Aim(stage.aim.point + turn @ (stage.aim.eye - stage.aim.point), stage.aim.point)


def _right(aim: _Aim) -> Vector:
    forward = aim.point - aim.eye
    right = np.cross(forward, (0.0, 0.0, 1.0))
    return np.asarray(right / np.linalg.norm(right))


def _orbit(stage: _Stage, t: float) -> _Aim:
    return _around(stage, 50.0 * t)


def _approach(stage: _Stage, t: float) -> _Aim:
    point = stage.aim.point + 0.8 * t * (np.array(stage.target.position_m) - stage.aim.point)
    return _Aim(stage.aim.eye + 0.4 * t * (point - stage.aim.eye), point, np.deg2rad(12.0) * t)


def _pan(stage: _Stage, t: float) -> _Aim:
    side = 0.12 * np.sin(2.0 * np.pi * t) * _right(stage.aim)
    return _Aim(stage.aim.eye, stage.aim.point + side)


def _sway(stage: _Stage, t: float) -> _Aim:
    side = 0.10 * np.sin(2.0 * np.pi * t) * _right(stage.aim)
    up = np.array([0.0, 0.0, 0.05 * (1.0 - np.cos(2.0 * np.pi * t))])
    return _Aim(stage.aim.eye + side + up, stage.aim.point + 0.5 * side, np.deg2rad(8.0) * np.sin(2.0 * np.pi * t))


def _leaving(stage: _Stage, t: float) -> _Aim:
    """Still a little, then turning away for good, 45 degrees a second."""
    angle, ahead = np.deg2rad(90.0) * max(0.0, t - 0.15), stage.aim.point - stage.aim.eye
    turned = np.cos(angle) * ahead + np.sin(angle) * np.linalg.norm(ahead) * _right(stage.aim)
    return _Aim(stage.aim.eye, stage.aim.eye + turned)


def _slow_orbit(stage: _Stage, t: float) -> _Aim:
    return _around(stage, 15.0 * t)


def _nothing(stage: _Stage, aim: _Aim, t: float) -> Vector | None:
    return None


def _passing(stage: _Stage, aim: _Aim, t: float) -> Vector | None:
    """Comes in from the right until it covers about half of the target, and goes again."""
    nearer = 0.6
    edge = max(stage.occluder.extent_m[:2]) / 2.0 / nearer
    return _before(stage, aim, nearer, edge + 0.5 * abs(np.cos(np.pi * t)))


def _covering(stage: _Stage, aim: _Aim, t: float) -> Vector | None:
    """Comes in from the right until it covers the target wholly, and stays there."""
    return _before(stage, aim, 0.4, max(0.0, 0.6 - 1.1 * t))


def _before(stage: _Stage, aim: _Aim, nearer: float, side_m: float) -> Vector:
    """A place on the way from the eye to the target, `side_m` beside it as measured at the target."""
    seen_at = np.array(stage.target.position_m) + side_m * _right(aim)
    return np.asarray(aim.eye + nearer * (seen_at - aim.eye))


@dataclass(frozen=True)
class Motion:
    """A kind of sequence: where the camera is at t, 0 to 1, and where the object held before the target is, if any."""

    camera: Callable[[_Stage, float], _Aim]
    occluder: Callable[[_Stage, _Aim, float], Vector | None] = _nothing


MOTIONS: dict[str, Motion] = {
    "orbit": Motion(_orbit),
    "approach": Motion(_approach),
    "pan": Motion(_pan),
    "sway": Motion(_sway),
    "passing": Motion(_slow_orbit, _passing),
    "leaving": Motion(_leaving),
    "hidden": Motion(_slow_orbit, _covering),
}
"""Kinds of sequences. In "passing" an object covers part of the target for a while; in "leaving" the camera turns away,
and in "hidden" an object covers the whole target: in both the target's last masks are empty."""


def moving_frames(
    motion: str, seed: int, *, frames: int = FRAMES, width: int = 640, height: int = 480
) -> Iterator[MovingFrame]:
    """A sequence of frames; the same arguments give the same frames.

    Args:
        motion: a key of `MOTIONS`.
        seed: of all random numbers: the scene, which object is tracked, how the hand shakes.
        frames: how many.
        width: pixels.
        height: pixels.

    Raises:
        ValueError: there is no such motion.
        RuntimeError: no table was found with something large enough to follow.
    """
    if motion not in MOTIONS:
        raise ValueError(f"there is no motion {motion!r}; there are: {', '.join(MOTIONS)}")
    from lisa_ros.simulation.tabletop import Tabletop  # only those who render need the simulator

    kind, rng = MOTIONS[motion], np.random.default_rng(seed)
    with Tabletop(seed, width=width, height=height) as table:
        stage, lens = _stage(table, rng), table.camera
        shakes = _shakes(rng, frames)
        for index in range(frames):
            t = index / max(1, FRAMES - 1)
            aim = kind.camera(stage, t)
            held = kind.occluder(stage, aim, t)
            if held is not None:
                table.carry(stage.occluder.instance, (float(held[0]), float(held[1]), float(held[2])))
            shaken = _Aim(aim.eye + SHAKE_M * shakes[index, :3], aim.point + SHAKE_AIM_M * shakes[index, 3:], aim.roll)
            table.set_camera(_camera(lens, shaken))
            view = table.render(least_visible=0.0)
            yield MovingFrame(_noisy(view.rgb, rng), view.instances == stage.target.instance)


def _stage(table: Tabletop, rng: Generator) -> _Stage:
    for _ in range(TRIES):
        view = table.render()
        wholes = [item for item in view.objects if _is_whole(view, item)]
        target = wholes[int(rng.integers(len(wholes)))] if wholes else None
        # One sees through a ring.
        others = [item for item in view.objects if item != target and item.kind != "ring"]
        if target is not None and others:
            occluder = max(others, key=lambda item: sorted(item.extent_m)[1])
            eye, forward = view.camera.pose[:3, 3], view.camera.pose[:3, 2]
            # The camera aims at a point near the table's top.
            point = eye + forward * (0.02 - eye[2]) / forward[2]
            return _Stage(_Aim(eye, point), target, occluder)
        table.rearrange()
        table.move_camera()
    raise RuntimeError(f"in {TRIES} scenes nothing was large enough to follow; take another seed")


def _is_whole(view: View, item: SceneObject) -> bool:
    """Whether it is large enough and does not touch the image's edge."""
    seen = view.instances == item.instance
    edge = seen[0].any() or seen[-1].any() or seen[:, 0].any() or seen[:, -1].any()
    return not edge and int(np.count_nonzero(seen)) >= LEAST_TARGET * seen.size


def _shakes(rng: Generator, frames: int) -> NDArray[np.float64]:
    """(frames, 6): smooth, about -1 to 1, with parts of 1 to 4 Hz at 30 frames a second; zero at first."""
    seconds = np.arange(frames)[:, None, None] / 30.0
    rates, phases = rng.uniform(1.0, 4.0, (1, 3, 6)), rng.uniform(0.0, 2.0 * np.pi, (1, 3, 6))
    waves = (np.sin(2.0 * np.pi * rates * seconds + phases) / rates).sum(axis=1)
    return np.asarray(waves - waves[0])


def _camera(lens: Camera, aim: _Aim) -> Camera:
    forward = aim.point - aim.eye
    pose = pose_towards(aim.eye, forward / np.linalg.norm(forward))
    cosine, sine = np.cos(aim.roll), np.sin(aim.roll)
    pose[:3, :3] = pose[:3, :3] @ np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    return Camera(lens.width, lens.height, lens.k, pose)


def _noisy(rgb: NDArray[np.uint8], rng: Generator) -> NDArray[np.uint8]:
    noise = rng.normal(0.0, NOISE, rgb.shape)
    return np.clip(np.rint(rgb + noise), 0, 255).astype(np.uint8)


def write_sequence(path: Path, frames: Sequence[MovingFrame]) -> None:
    """Writes a sequence as one .npz file: rgb (N, H, W, 3) uint8 and target (N, H, W) bool."""
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, rgb=np.stack([f.rgb for f in frames]), target=np.stack([f.target for f in frames]))
    partial.replace(path)


def read_sequence(path: Path) -> list[MovingFrame]:
    """Reads what `write_sequence` wrote.

    Raises:
        OSError: the file cannot be read.
    """
    with np.load(path) as arrays:
        return [MovingFrame(rgb, target) for rgb, target in zip(arrays["rgb"], arrays["target"], strict=True)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Renders sequences that are not there yet to FOLDER/<motion>-<seed>.npz."""
    parser = argparse.ArgumentParser(prog="python -m lisa_ros.simulation.moving", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--motions", nargs="+", choices=list(MOTIONS), default=list(MOTIONS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    for motion in options.motions:
        for seed in options.seeds:
            path = options.folder / f"{motion}-{seed}.npz"
            if not path.exists():
                frames = moving_frames(motion, seed)
                write_sequence(path, list(tqdm(frames, desc=path.stem, total=FRAMES, unit="frame", disable=None)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
