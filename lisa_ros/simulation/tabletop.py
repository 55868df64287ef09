# SPDX-License-Identifier: Apache-2.0
"""The simulated table top: objects dropped at random positions, at rest after physics, seen by a camera."""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np
import pybullet_data
from numpy.typing import NDArray

from lisa_ros.simulation import arrangement
from lisa_ros.simulation.arrangement import Placement
from lisa_ros.simulation.bullet import Bullet
from lisa_ros.simulation.engine import pybullet
from lisa_ros.simulation.meshes import extreme_points, write_hulls, write_obj
from lisa_ros.simulation.objects import Model, catalogue, paint_of
from lisa_ros.simulation.rendering import take_image
from lisa_ros.simulation.scene import COLOURS, Camera, SceneObject, View
from lisa_ros.simulation.surfaces import write_patterns

TABLE_HALF_M = (0.5, 0.75, 0.02)
FLOOR_Z_M = -0.72
LEAST_VISIBLE = 1 / 1200
"""An object that covers a smaller part of the image than this is hidden: it is not listed, and not in the instances."""
SCALES = (0.92, 1.0, 1.08, 1.16)
"""How much larger than its model an object may be: few sizes, since the simulator keeps every shape it is given."""
STEPS_AT_MOST = 360
STEPS_BETWEEN_CHECKS = 30


@dataclass(frozen=True)
class Body:
    """An object in the simulator: its body's id, its model, its size relative to the model, and its instance number.

    Instance 0: a distractor, which is not listed in views.
    """

    body: int
    model: Model
    scale: float
    instance: int


class Tabletop:
    """A table with objects on it, a camera and a lamp; use it in a `with` statement, which frees the simulator.

    The same seed and the same calls give bitwise the same views, in any process.
    """

    def __init__(
        self,
        seed: int,
        *,
        width: int = 640,
        height: int = 480,
        avoid: Collection[tuple[str, str]] = (),
        scale: float = 1.0,
        hollow: bool = False,
    ) -> None:
        """Lays the table, ready to render.

        Args:
            seed: of all random numbers.
            width: of the images, pixels.
            height: of the images, pixels.
            avoid: (kind, colour) pairs that never lie there.
            scale: of objects, distances between them and the camera's distance. The objects are larger than life;
                at 0.8 they are as large as real ones, and the images look the same.
            hollow: for physics, bowls and mugs are hollow, so that a finger goes in; otherwise they are their convex
                hulls, which is faster.

        Raises:
            ValueError: the image would be smaller than 16 pixels a side.
        """
        if width < 16 or height < 16:
            raise ValueError(f"an image of {width}x{height} pixels is too small: both sides must be 16 or more")
        self._width, self._height, self._avoid, self._scale = width, height, frozenset(avoid), scale
        self._objects_rng, self._colours_rng, self._camera_rng = np.random.default_rng(seed).spawn(3)
        self._folder = tempfile.TemporaryDirectory(prefix="lisa_tabletop_")
        self._bullet = Bullet()
        self._hollow = hollow
        self._models = catalogue(Path(pybullet_data.getDataPath()))
        self._mesh_files = _write_models(self._models, Path(self._folder.name))
        self._patterns = [self._bullet.loadTexture(str(p)) for p in write_patterns(Path(self._folder.name))]
        self._table, self._floor, self._wall = self._build_room()
        self._shapes: dict[tuple[str, float], tuple[int, int]] = {}
        self._bodies: list[Body] = []
        self._colours: list[str] = []
        self.rearrange()
        self.move_camera()

    def __enter__(self) -> Self:
        """The table itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the table."""
        self.close()

    def close(self) -> None:
        """Frees the simulator and its files; calling it again does nothing."""
        self._bullet.close()
        self._folder.cleanup()

    def rearrange(self) -> None:
        """Clears the table and drops other objects onto it, in new colours; camera and lamp stay."""
        while True:
            for item in self._bodies:
                self._bullet.removeBody(item.body)
            self._bodies = []
            self._drop(self._choose_kinds())
            self._run_until_at_rest()
            self._remove_fallen()
            if sum(body.instance > 0 for body in self._bodies) >= self._fewest:
                break
        self.recolour()

    def recolour(self) -> None:
        """Gives objects, table, floor and wall new colours."""
        kinds = [item.model.kind for item in self._bodies]
        self._colours = arrangement.choose_colours(self._colours_rng, kinds, self._avoid)
        for item, colour in zip(self._bodies, self._colours, strict=True):
            for number, part in enumerate(item.model.parts):
                self._paint(item.body, paint_of(part, colour, COLOURS[colour]), shape=number)
        self._paint_room()

    def move_camera(self) -> None:
        """Draws a new camera and a new lamp."""
        camera = arrangement.choose_camera(self._camera_rng, self._width, self._height)
        pose = camera.pose.copy()
        pose[:3, 3] *= self._scale
        self._camera = replace(camera, pose=pose)
        self._light = arrangement.choose_light(self._camera_rng)

    @property
    def camera(self) -> Camera:
        """The camera that the next image is taken with."""
        return self._camera

    def set_camera(self, camera: Camera) -> None:
        """Takes the next images with this camera."""
        self._camera = camera

    @property
    def world(self) -> Bullet:
        """The physics world, for programs that act on the table."""
        return self._bullet

    def body_of(self, instance: int) -> int:
        """The body of an object in the world.

        Raises:
            ValueError: no such object lies on the table.
        """
        for item in self._bodies:
            if item.instance == instance:
                return item.body
        raise ValueError(f"no object on the table has the instance {instance}")

    def narrowest_m(self, instance: int) -> float:
        """The smallest horizontal width of an object as it lies: what a hand from above must open at least.

        Raises:
            ValueError: no such object lies on the table.
        """
        item = next((item for item in self._bodies if item.instance == instance), None)
        if item is None:
            raise ValueError(f"no object on the table has the instance {instance}")
        attitude = self._bullet.getBasePositionAndOrientation(item.body)[1]
        flat = (item.scale * item.model.points @ rotation_of(attitude).T)[:, :2]
        return float(min(cv2.minAreaRect(flat.astype(np.float32))[1]))

    def carry(self, instance: int, position_m: arrangement.Vector) -> None:
        """Moves the centre of an object's box to a position in the table frame, free or not; it may hover.

        Raises:
            ValueError: no such object lies on the table.
        """
        for item, colour in zip(self._bodies, self._colours, strict=True):
            if item.instance == instance:
                place, attitude = self._bullet.getBasePositionAndOrientation(item.body)
                centre = self._describe(item, colour).position_m
                moved = [p + new - old for p, new, old in zip(place, position_m, centre, strict=True)]
                self._bullet.resetBasePositionAndOrientation(item.body, moved, attitude)
                return
        raise ValueError(f"no object on the table has the instance {instance}")

    def render(self, least_visible: float = LEAST_VISIBLE) -> View:
        """Takes an image of the table as it is now.

        Args:
            least_visible: an object that covers a smaller part of the image than this is not listed; 0 lists every
                object of which a pixel is seen.
        """
        rgb, depth_m, bodies = self._take_image()
        instances = np.zeros(bodies.shape, dtype=np.uint8)
        objects = []
        for item, colour in zip(self._bodies, self._colours, strict=True):
            seen = bodies == item.body
            if item.instance and np.count_nonzero(seen) >= max(1.0, least_visible * seen.size):
                instances[seen] = item.instance
                objects.append(self._describe(item, colour))
        distractors = any(body.instance == 0 for body in self._bodies)
        return View(rgb, depth_m, instances, tuple(objects), self._camera, distractors)

    @property
    def _fewest(self) -> int:
        """Objects that must lie on the table once they have come to rest."""
        return arrangement.FEWEST_OBJECTS

    def _choose_kinds(self) -> list[str]:
        return arrangement.choose_kinds(self._objects_rng)

    def _take_image(self) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int32]]:
        """RGB, depth and the body at each pixel."""
        return take_image(self._bullet, self._camera, self._light)

    def _build_room(self) -> tuple[int, int, int]:
        """A table, a floor below it and a wall behind it."""
        self._bullet.setGravity(0.0, 0.0, -9.81)
        self._bullet.setPhysicsEngineParameter(deterministicOverlappingPairs=1)
        table = self._fixed_box(TABLE_HALF_M, (0.0, 0.0, -TABLE_HALF_M[2]), solid=True)
        floor = self._fixed_box((5.0, 5.0, 0.02), (1.0, 0.0, FLOOR_Z_M), solid=False)
        wall = self._fixed_box((0.02, 5.0, 4.0), (3.0, 0.0, 0.0), solid=False)
        self._bullet.changeDynamics(table, -1, lateralFriction=0.9, rollingFriction=0.005, spinningFriction=0.005)
        return table, floor, wall

    def _fixed_box(self, half: arrangement.Vector, centre: arrangement.Vector, *, solid: bool) -> int:
        visual = self._bullet.createVisualShape(pybullet.GEOM_BOX, halfExtents=half)
        collision = self._bullet.createCollisionShape(pybullet.GEOM_BOX, halfExtents=half) if solid else -1
        return int(self._bullet.createMultiBody(0.0, collision, visual, centre))

    def _paint(self, body: int, rgb: arrangement.RGB, shape: int = 0) -> None:
        self._bullet.changeVisualShape(body, -1, shapeIndex=shape, rgbaColor=(*rgb, 1.0))

    def _paint_room(self) -> None:
        rng = self._colours_rng
        tint = np.array(arrangement.TABLE_TINTS[rng.integers(len(arrangement.TABLE_TINTS))])
        shade = tint * rng.uniform(0.85, 1.15) + rng.uniform(-0.02, 0.02, 3)
        pattern = self._patterns[rng.integers(len(self._patterns))]
        self._bullet.changeVisualShape(self._table, -1, textureUniqueId=pattern)
        self._paint(self._table, tuple(np.clip(shade, 0.0, 1.0).tolist()))
        for surface in (self._floor, self._wall):
            grey = rng.uniform(0.3, 0.75) + rng.uniform(-0.06, 0.06, 3)
            self._paint(surface, tuple(grey.tolist()))

    def _drop(self, kinds: list[str]) -> None:
        taken: list[tuple[float, float, float]] = []
        for instance, kind in enumerate(kinds, start=1):
            model = self._models[kind]
            scale = float(self._objects_rng.choice(SCALES))
            reach = scale * float(np.linalg.norm(model.points[:, :2], axis=1).max())
            place = arrangement.choose_placement(self._objects_rng, reach, model.may_lie, taken)
            taken.append((place.x, place.y, reach))
            size = scale * self._scale
            self._bodies.append(Body(self._create(model, size, place), model, size, instance))

    def _create(self, model: Model, scale: float, place: Placement) -> int:
        solid, visible = self._shapes_of(model, scale)
        attitude = pybullet.getQuaternionFromEuler((np.pi / 2 if place.lying else place.tilt, 0.0, place.yaw))
        points = scale * model.points @ rotation_of(attitude).T
        height = place.raised - float(points[:, 2].min())
        position = (self._scale * place.x, self._scale * place.y, height)
        body = int(self._bullet.createMultiBody(model.mass_kg, solid, visible, position, attitude))
        rolling = 0.01 if model.rolls else 0.003
        self._bullet.changeDynamics(
            body, -1, lateralFriction=0.8, rollingFriction=rolling, spinningFriction=0.01,
            restitution=0.0, linearDamping=0.3, angularDamping=0.6,
        )  # fmt: skip
        return body

    def _shapes_of(self, model: Model, scale: float) -> tuple[int, int]:
        """What the object is for physics and what it looks like, made when first needed."""
        if (model.kind, scale) not in self._shapes:
            files = self._mesh_files[model.kind]
            visible = self._bullet.createVisualShapeArray(
                shapeTypes=[pybullet.GEOM_MESH] * len(files),
                fileNames=[str(file) for file in files],
                meshScales=[[scale] * 3] * len(files),
            )
            self._shapes[model.kind, scale] = self._solid(model, scale), int(visible)
        return self._shapes[model.kind, scale]

    def _solid(self, model: Model, scale: float) -> int:
        """What the object is for physics: a ball, its hollow pieces, or its convex hull."""
        if model.rolls:
            return int(self._bullet.createCollisionShape(pybullet.GEOM_SPHERE, radius=scale * model.points[:, 2].max()))
        if self._hollow and model.hollow:
            file = Path(self._folder.name) / f"{model.kind}_hollow.obj"
            write_hulls(model.hollow, file)
            scales = [scale] * 3
            return int(self._bullet.createCollisionShape(pybullet.GEOM_MESH, fileName=str(file), meshScale=scales))
        hull = scale * extreme_points(model.points)
        return int(self._bullet.createCollisionShape(pybullet.GEOM_MESH, vertices=hull.tolist()))

    def _run_until_at_rest(self) -> None:
        for _ in range(STEPS_AT_MOST // STEPS_BETWEEN_CHECKS):
            for _ in range(STEPS_BETWEEN_CHECKS):
                self._bullet.stepSimulation()
            if all(self._speed(item) < 0.01 for item in self._bodies):
                return

    def _speed(self, item: Body) -> float:
        """Of the fastest point of the object, about, in metres a second."""
        linear, angular = self._bullet.getBaseVelocity(item.body)
        return float(np.linalg.norm(linear) + 0.05 * np.linalg.norm(angular))

    def _remove_fallen(self) -> None:
        lying = []
        for item in self._bodies:
            (x, y, z), _ = self._bullet.getBasePositionAndOrientation(item.body)
            if z > 0.0 and abs(x) < TABLE_HALF_M[0] and abs(y) < TABLE_HALF_M[1]:
                lying.append(item)
            else:
                self._bullet.removeBody(item.body)
        self._bodies = lying

    def _describe(self, item: Body, colour: str) -> SceneObject:
        position, attitude = self._bullet.getBasePositionAndOrientation(item.body)
        points = item.scale * item.model.points @ rotation_of(attitude).T + np.array(position)
        low, high = points.min(axis=0), points.max(axis=0)
        extent, centre = (high - low).tolist(), ((low + high) / 2.0).tolist()
        return SceneObject(item.instance, item.model.kind, colour, tuple(extent), tuple(centre))


def _write_models(models: dict[str, Model], folder: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for kind, model in models.items():
        files[kind] = [folder / f"{kind.replace(' ', '_')}_{number}.obj" for number in range(len(model.parts))]
        for part, file in zip(model.parts, files[kind], strict=True):
            write_obj(part.mesh, file)
    return files


def rotation_of(quaternion: tuple[float, ...]) -> NDArray[np.float64]:
    """(3, 3) rotation matrix of a quaternion (x, y, z, w)."""
    return np.array(pybullet.getMatrixFromQuaternion(quaternion)).reshape(3, 3)
