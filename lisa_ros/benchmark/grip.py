# SPDX-License-Identifier: Apache-2.0
"""Grips on the simulated table with a poor depth camera: `python -m lisa_ros.benchmark.grip`.

Every object of some scenes, with true masks and the depth of `lisa_ros.simulation.depth_camera`:

- top_plane: is the point on the object (a true visible point within 5 mm), and how far is the approach from the normal
  of the true surface within 10 mm of the point?
- antipodal: does a simple parallel gripper lift the object in PyBullet?
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lisa_ros.benchmark.depth import NEAR_M
from lisa_ros.simulation.depth_camera import KINDS, spoiled
from lisa_ros.simulation.gripper import try_grasp
from lisa_ros.simulation.scene import SceneObject, View
from lisa_ros.simulation.tabletop import Tabletop
from lisa_ros.spatial.camera import CameraModel
from lisa_ros.spatial.grasping import Gripper
from lisa_ros.spatial.grips.grip import Grip
from lisa_ros.spatial.grips.gripping import grip_of
from lisa_ros.spatial.locating import Located, locate
from lisa_ros.spatial.rotation import rotation_of

Floats = NDArray[np.float64]

PATCH_M = 0.01
GRIPPER = Gripper(opening_m=0.11, clearance_m=0.008)
LIFTED_KINDS = ("brick", "cube", "domino", "can", "bottle", "mug")
"""Boxes, cans, bottles and mugs: what the target for lifting is about. Bowls are measured and not in it."""
BARS = {"on the object": 0.95, "normal within 10 degrees": 0.90, "lifted": 0.80}


@dataclass(frozen=True)
class Measured:
    """One object.

    Attributes:
        kind: of object.
        found: whether there is a grip.
        on_object: top_plane: whether the point lies on it.
        angle_deg: top_plane: between the approach and the true normal; NaN: the point is not on the object.
        lifted: antipodal: whether it was lifted.
        detail: why there is no grip.
        ms: processor time of the grip's computation.
    """

    kind: str
    found: bool
    on_object: bool = False
    angle_deg: float = float("nan")
    lifted: bool = False
    detail: str = ""
    ms: float = float("nan")


def measure_top(found: Located, kind: str, true_xyz: Floats) -> Measured:
    """Compare a top_plane grip with the true visible points (N, 3) of the object."""
    began = time.thread_time()
    grip = grip_of(found, "top_plane")
    ms = 1000 * (time.thread_time() - began)
    if not isinstance(grip, Grip):
        return Measured(kind, False, detail=grip.detail if grip else "", ms=ms)
    distance = np.linalg.norm(true_xyz - grip.position_m, axis=1)
    if distance.min() > NEAR_M:
        return Measured(kind, True, ms=ms)
    around = true_xyz[np.linalg.norm(true_xyz - true_xyz[int(distance.argmin())], axis=1) < PATCH_M]
    normal = np.linalg.svd(around - around.mean(axis=0), full_matrices=False)[2][2]
    cosine = abs(float(normal @ rotation_of(grip.orientation)[:, 2]))
    return Measured(kind, True, True, float(np.rad2deg(np.arccos(min(1.0, cosine)))), ms=ms)


def measure_grasp(found: Located, target: SceneObject, table: Tabletop, view: View, gripper: Gripper) -> Measured:
    """Execute an antipodal grip."""
    began = time.thread_time()
    grip = grip_of(found, "antipodal", gripper)
    ms = 1000 * (time.thread_time() - began)
    if not isinstance(grip, Grip):
        return Measured(target.kind, False, detail=grip.detail if grip else "", ms=ms)
    there = grip.in_frame(view.camera.pose)
    body = table.body_of(target.instance)
    lifted = try_grasp(table.world, body, there.position_m, there.orientation, there.opening_m)
    return Measured(target.kind, True, lifted=lifted, ms=ms)


def run(
    scenes: int, seed: int, depth: str, figure: Path | None = None, gripper: Gripper = GRIPPER, scale: float = 1.0
) -> dict[str, list[Measured]]:
    """Measure all objects of some scenes with one kind of depth; scale: see Tabletop."""
    results: dict[str, list[Measured]] = {"top_plane": [], "antipodal": []}
    rng, drawn = np.random.default_rng(seed), []
    with Tabletop(seed, scale=scale, hollow=True) as table:
        for _ in tqdm(range(scenes), unit="scene", disable=None):
            view = table.render()
            seen = view.camera
            camera = CameraModel.from_info(seen.width, seen.height, seen.k.ravel().tolist(), "", ())
            depth_m = spoiled(view.depth_m, KINDS[depth], rng)
            true_z = view.depth_m.astype(np.float64)
            true_xyz = np.dstack([camera.rays * true_z[..., None], true_z])
            image = view.rgb.copy()
            for target in view.objects:
                mask = view.instances == target.instance
                found = locate(view.rgb, mask, depth_m, camera)
                if not isinstance(found, Located):
                    continue
                results["top_plane"].append(measure_top(found, target.kind, true_xyz[mask]))
                if target.kind in (*LIFTED_KINDS, "bowl"):
                    results["antipodal"].append(measure_grasp(found, target, table, view, gripper))
                draw(image, found, camera, gripper)
            drawn.append(image)
            table.rearrange()
            table.move_camera()
    if figure is not None:
        _write_figure(figure, drawn)
    return results


def _write_figure(file: Path, images: list[NDArray[np.uint8]]) -> None:
    """The first four images in two rows; of two or three, the first two; of one, that one."""
    shown = images[: 4 if len(images) >= 4 else 2]
    rows = [np.hstack(shown[i : i + 2]) for i in range(0, len(shown), 2)]
    cv2.imwrite(str(file), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))


def draw(image: NDArray[np.uint8], found: Located, camera: CameraModel, gripper: Gripper) -> None:
    """Draw the top_plane point with its normal (red), and the fingers' line of the antipodal grip (blue)."""
    top, grasp = grip_of(found, "top_plane"), grip_of(found, "antipodal", gripper)
    if isinstance(top, Grip):
        point = np.asarray(top.position_m)
        ends = camera.pixels_of(np.stack([point, point - 0.04 * rotation_of(top.orientation)[:, 2]]))
        begin, end = ([round(float(v)) for v in p] for p in ends)
        cv2.arrowedLine(image, begin, end, (255, 30, 30), 2, tipLength=0.3)
        cv2.circle(image, begin, 4, (255, 255, 255), -1)
    if isinstance(grasp, Grip):
        middle, closing = np.asarray(grasp.position_m), rotation_of(grasp.orientation)[:, 1]
        ends = camera.pixels_of(np.stack([middle + side * grasp.opening_m / 2 * closing for side in (-1.0, 1.0)]))
        begin, end = ([round(float(v)) for v in p] for p in ends)
        cv2.line(image, begin, end, (40, 90, 255), 2)
        for finger in (begin, end):
            cv2.circle(image, finger, 5, (40, 90, 255), -1)


def shares(results: dict[str, list[Measured]]) -> dict[str, float]:
    """The figures of BARS: of all grips that were found; lifted: of all objects but bowls, those without a grip too."""
    tops = [one for one in results["top_plane"] if one.found]
    grasps = [one for one in results["antipodal"] if one.kind in LIFTED_KINDS]
    return {
        "on the object": float(np.mean([one.on_object for one in tops])),
        "normal within 10 degrees": float(np.mean([one.angle_deg <= 10.0 for one in tops])),
        "lifted": float(np.mean([one.lifted for one in grasps])),
    }


def report(results: dict[str, list[Measured]]) -> str:
    """The figures in Markdown: the targets, and each kind of object."""
    lines = ["| figure | measured | target |", "|---|---|---|"]
    lines += [f"| {name} | {100 * value:.1f} % | {100 * BARS[name]:.0f} % |" for name, value in shares(results).items()]
    lines += ["", "| strategy | kind | objects | without a grip | on it | normal within 10 deg | lifted |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for strategy, measured in results.items():
        kinds: dict[str, list[Measured]] = defaultdict(list)
        for one in measured:
            kinds[one.kind].append(one)
        lines += [_row(strategy, kind, ones) for kind, ones in sorted(kinds.items())]
    for strategy, measured in results.items():
        median, most = np.percentile([one.ms for one in measured], [50, 95])
        lines += ["", f"{strategy}: {median:.1f} ms of processor time per object (median), {most:.1f} ms for 95 %."]
    return "\n".join(lines)


def _row(strategy: str, kind: str, ones: Sequence[Measured]) -> str:
    found = [one for one in ones if one.found]
    counts = [sum(one.on_object for one in found), sum(one.angle_deg <= 10.0 for one in found)]
    shown = [*counts, "-"] if strategy == "top_plane" else ["-", "-", sum(one.lifted for one in found)]
    return f"| {strategy} | {kind} | {len(ones)} | {len(ones) - len(found)} | " + " | ".join(map(str, shown)) + " |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures. Exit code 1: a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m lisa_ros.benchmark.grip", description=main.__doc__)
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--depth", choices=list(KINDS), default="10 % holes")
    parser.add_argument("--opening", type=float, default=GRIPPER.opening_m, help="of the gripper, m (%(default)g)")
    parser.add_argument("--clearance", type=float, default=GRIPPER.clearance_m, help="per finger, m (%(default)g)")
    parser.add_argument("--scale", type=float, default=1.0, help="of the objects; 0.8: life size (%(default)g)")
    parser.add_argument("--image", type=Path, help="also draw the grips of the first four scenes here")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    gripper = Gripper(opening_m=options.opening, clearance_m=options.clearance)
    results = run(options.scenes, options.seed, options.depth, options.image, gripper, options.scale)
    print(report(results))
    return int(any(value < BARS[name] for name, value in shares(results).items()))


if __name__ == "__main__":
    sys.exit(main())
