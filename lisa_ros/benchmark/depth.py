# SPDX-License-Identifier: Apache-2.0
"""How well objects are located with a poor depth camera: `python -m lisa_ros.benchmark.depth`.

Scenes of the simulated table, with depth made as a depth camera's is: noise, holes, flying pixels at borders; and masks
as a model's are: right, 3 pixels too wide or too narrow. Needs PyBullet, but not torch.

Three truths are compared with, all from the simulator, of the part of an object that the camera sees:

- *its point*: what `locate` promises, from true mask and true depth: on the ray of the pixel centroid, at the median
  depth of all the mask's pixels;
- *its mean*: the mean of all true visible points;
- *its middle*: the centre of the object's upright box, of which the camera sees the front alone. The box's centre is
  compared with it, too.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lisa_ros.benchmark.tracking import STARTS
from lisa_ros.segmentation.masks import centroid_pixel
from lisa_ros.simulation.depth_camera import KINDS, spoiled
from lisa_ros.simulation.scene import SceneObject, View
from lisa_ros.spatial.camera import CameraModel
from lisa_ros.spatial.locating import Located, locate

Depth = NDArray[np.float32]
Floats = NDArray[np.float64]

NEAR_M = 0.005
"""A point lies on the object if a true visible point of it is as near as this."""
REACH_PX = 3
"""True points are looked for in pixels as near as this."""


@dataclass(frozen=True)
class Error:
    """One object, located; lengths in millimetres.

    Attributes:
        kind: of object.
        located: whether it was; the rest is NaN where it was not.
        point_mm: distance of the centroid from *its point*.
        mean_mm: from *its mean*.
        middle_mm: from *its middle*.
        box_mm: distance of the box's centre from *its middle*.
        on_object: the part of the points that lie on the object.
        points: their number, as a part of the true mask's pixels.
        ms: processor time.
    """

    kind: str
    located: bool
    point_mm: float = np.nan
    mean_mm: float = np.nan
    middle_mm: float = np.nan
    box_mm: float = np.nan
    on_object: float = np.nan
    points: float = np.nan
    ms: float = np.nan


def measure(view: View, target: SceneObject, depth_m: Depth, camera: CameraModel, mask: NDArray[np.bool_]) -> Error:
    """Locates one object of a view by the mask and depth given, and compares with the view's truth."""
    began = time.thread_time()
    found = locate(view.rgb, mask, depth_m, camera)
    ms = 1000 * (time.thread_time() - began)
    if not isinstance(found, Located):
        return Error(target.kind, False)
    truth = view.instances == target.instance
    true_xyz = _true_points(view, camera)
    seen = true_xyz[truth]
    (x, y), *_ = camera.rays_of(np.array([centroid_pixel(truth)]))
    point = np.median(seen[:, 2]) * np.array([x, y, 1.0])
    middle = (np.linalg.inv(view.camera.pose) @ np.array([*target.position_m, 1.0]))[:3]
    centroid, box = np.array(found.centroid_m), np.array(found.box.centre_m)
    distances = (centroid - point, centroid - seen.mean(axis=0), centroid - middle, box - middle)
    errors = [1000 * float(np.linalg.norm(distance)) for distance in distances]
    gaps = _gaps(found, true_xyz, truth)
    share = len(gaps) / int(np.count_nonzero(truth))
    point_mm, mean_mm, middle_mm, box_mm = errors
    on_object = float((gaps <= NEAR_M).mean())
    return Error(target.kind, True, point_mm, mean_mm, middle_mm, box_mm, on_object, share, ms)


def _true_points(view: View, camera: CameraModel) -> Floats:
    z = view.depth_m.astype(np.float64)
    return np.dstack([camera.rays * z[:, :, None], z])


def _gaps(found: Located, true_xyz: Floats, truth: NDArray[np.bool_]) -> Floats:
    """How far each of the points is from the nearest true point of the object in pixels near its own, metres."""
    padded = np.pad(np.where(truth[:, :, None], true_xyz, np.inf), ((REACH_PX,) * 2, (REACH_PX,) * 2, (0, 0)),
                    constant_values=np.inf)  # fmt: skip
    best = np.full(len(found.points.xyz), np.inf)
    for dy in range(2 * REACH_PX + 1):
        for dx in range(2 * REACH_PX + 1):
            there = padded[found.points.rows + dy, found.points.columns + dx]
            best = np.minimum(best, np.linalg.norm(there - found.points.xyz, axis=1))
    return best


def views(scenes: int, seed: int) -> Iterator[View]:
    """Scenes, each with other objects and another camera."""
    from lisa_ros.simulation.tabletop import Tabletop  # only those who render need the simulator

    with Tabletop(seed) as table:
        for _ in range(scenes):
            yield table.render()
            table.rearrange()
            table.move_camera()


def summary(errors: Sequence[Error]) -> dict[str, float]:
    """Medians of what was located, and more, by name; lengths in millimetres."""
    found = [error for error in errors if error.located]

    def middle(values: Sequence[float], percent: float = 50.0) -> float:
        return float(np.percentile(values, percent)) if values else float("nan")

    return {
        "objects": float(len(errors)),
        "located": float(len(found)),
        "point": middle([e.point_mm for e in found]),
        "point, 95 %": middle([e.point_mm for e in found], 95.0),
        "mean": middle([e.mean_mm for e in found]),
        "mean, 95 %": middle([e.mean_mm for e in found], 95.0),
        "middle": middle([e.middle_mm for e in found]),
        "box to middle": middle([e.box_mm for e in found]),
        "on the object": float(np.average([e.on_object for e in found], weights=[e.points for e in found])),
        "on it, worst 5 %": middle([e.on_object for e in found], 5.0),
        "points / pixels": middle([e.points for e in found]),
        "ms": middle([e.ms for e in found]),
    }


def table(results: dict[str, dict[str, float]]) -> str:
    """The summaries in Markdown."""
    names = list(next(iter(results.values())))
    rows = [
        f"| {case} | " + " | ".join(f"{figures[name]:.3g}" for name in names) + " |"
        for case, figures in results.items()
    ]
    return "\n".join(["| depth, mask | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 1), *rows])


def main(arguments: Sequence[str] | None = None) -> int:
    """Locates every object of some scenes of the simulated table, and prints how far off that is."""
    parser = argparse.ArgumentParser(prog="python -m lisa_ros.benchmark.depth", description=main.__doc__)
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write every object's errors here")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    errors: dict[str, list[Error]] = {f"{kind}, {start}": [] for kind in KINDS for start in STARTS}
    rng = np.random.default_rng(options.seed)
    for view in tqdm(views(options.scenes, options.seed), total=options.scenes, unit="scene", disable=None):
        seen = view.camera
        camera = CameraModel.from_info(seen.width, seen.height, seen.k.ravel().tolist(), "plumb_bob", [0.0] * 5)
        _ = camera.rays  # made once for a camera, so no part of an object's time
        for name, kind in KINDS.items():
            depth_m = spoiled(view.depth_m, kind, rng)
            for start, masked in STARTS.items():
                for target in view.objects:
                    mask = masked(view.instances == target.instance)
                    errors[f"{name}, {start}"].append(measure(view, target, depth_m, camera, mask))
    print(table({case: summary(found) for case, found in errors.items()}))
    if options.json:
        figures = {case: [asdict(error) for error in found] for case, found in errors.items()}
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
