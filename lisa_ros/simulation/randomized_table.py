# SPDX-License-Identifier: Apache-2.0
"""The simulated table under domain randomization, rendered by PyBullet or by the software renderer."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_ros.simulation import arrangement
from lisa_ros.simulation.arrangement import RGB
from lisa_ros.simulation.engine import pybullet
from lisa_ros.simulation.meshes import write_obj
from lisa_ros.simulation.objects import Model, paint_of
from lisa_ros.simulation.randomization.distractors import distractor_models, draw_colour
from lisa_ros.simulation.randomization.ranges import Ranges
from lisa_ros.simulation.randomization.surroundings import draw_camera, draw_lights, draw_surroundings, jittered
from lisa_ros.simulation.randomization.textures import Texture
from lisa_ros.simulation.rendering import take_image
from lisa_ros.simulation.scene import COLOURS
from lisa_ros.simulation.software_renderer.rendering import SoftwareRenderer
from lisa_ros.simulation.software_renderer.scene_geometry import Marks, Placed
from lisa_ros.simulation.tabletop import TABLE_HALF_M, Body, Tabletop, rotation_of

Renderer = Literal["pybullet", "software"]
"""Which renderer makes the images."""

WALL_M = 4.6
"""Distance of the walls that PyBullet's renderer draws: the camera is always nearer."""
REPEATS = 6
"""How often the texture of floor and walls is repeated along a side, in PyBullet's renderer."""


class RandomizedTable(Tabletop):
    """A table whose surroundings, camera, light, sizes and colours are drawn from `Ranges`.

    The same seed and the same calls give bitwise the same views, in any process.
    """

    def __init__(
        self,
        seed: int,
        *,
        ranges: Ranges,
        renderer: Renderer,
        width: int = 640,
        height: int = 480,
        avoid: Collection[tuple[str, str]] = (),
        oversampling: int = 2,
    ) -> None:
        """Makes the table, ready to render.

        Args:
            seed: of all random numbers.
            ranges: what everything is drawn from.
            renderer: which makes the images.
            width: of the images, pixels.
            height: of the images, pixels.
            avoid: (kind, colour) pairs that never lie on the table.
            oversampling: samples per pixel and side; with PyBullet's renderer, how much larger it renders.

        Raises:
            ValueError: the image would be smaller than 16 pixels a side.
        """
        self._ranges, self._renderer, self._oversampling = ranges, renderer, oversampling
        self._software = SoftwareRenderer()
        self._style_rng = np.random.default_rng([seed, 1])
        self._surroundings = draw_surroundings(self._style_rng, ranges)
        self._visuals: list[int] = []
        self._surface_files = 0
        self._paints: list[tuple[RGB, ...]] = []
        self._marks: list[Marks | None] = []
        super().__init__(seed, width=width, height=height, avoid=avoid)

    def rearrange(self) -> None:
        """Clears the table and drops other objects onto another table."""
        self._surroundings = draw_surroundings(self._style_rng, self._ranges)
        super().rearrange()

    def recolour(self) -> None:
        """Paints the objects anew."""
        rng = self._colours_rng
        kinds = [body.model.kind for body in self._bodies if body.instance]
        named = iter(arrangement.choose_colours(rng, kinds, self._avoid))
        self._colours = [next(named) if body.instance else "" for body in self._bodies]
        self._paints = [self._paint_parts(*pair) for pair in zip(self._bodies, self._colours, strict=True)]
        self._marks = [
            self._draw_marks(paints[0]) if rng.random() < self._ranges.two_tone else None for paints in self._paints
        ]
        if self._renderer == "pybullet":
            for body, paints in zip(self._bodies, self._paints, strict=True):
                for number, rgb in enumerate(paints):
                    self._paint(body.body, rgb, shape=number)
            self._paint_room()

    def move_camera(self) -> None:
        """Puts the camera and the lamps somewhere else."""
        self._camera = draw_camera(self._camera_rng, self._ranges, self._width, self._height)
        self._lights = draw_lights(self._camera_rng, self._ranges)
        self._light = self._lights[0]

    @property
    def _fewest(self) -> int:
        return self._ranges.objects[0]

    def _choose_kinds(self) -> list[str]:
        return arrangement.choose_kinds(self._objects_rng, *self._ranges.objects)

    def _take_image(self) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int32]]:
        if self._renderer == "pybullet":
            return take_image(self._bullet, self._camera, self._light)
        placed = [self._placed(i, body) for i, body in enumerate(self._bodies)]
        return self._software.render(placed, self._surroundings, self._lights, self._camera, self._oversampling)

    def _placed(self, index: int, body: Body) -> Placed:
        position, attitude = self._bullet.getBasePositionAndOrientation(body.body)
        rotation = rotation_of(attitude)
        return Placed(body.body, body.model, body.scale, rotation, position, self._paints[index], self._marks[index])

    def _paint_parts(self, body: Body, colour: str) -> tuple[RGB, ...]:
        if not body.instance:
            return tuple(draw_colour(self._colours_rng) for _ in body.model.parts)
        own = jittered(COLOURS[colour], self._colours_rng, self._ranges.colour_jitter)
        return tuple(paint_of(part, colour, own) for part in body.model.parts)

    def _draw_marks(self, own: RGB) -> Marks:
        rng = self._colours_rng
        direction = rng.normal(size=3)
        x, y, z = (direction * rng.uniform(40.0, 220.0) / np.linalg.norm(direction)).tolist()
        factor = rng.uniform(0.45, 0.75) if sum(own) > 0.6 else rng.uniform(1.3, 2.0)
        red, green, blue = (min(1.0, value * factor + 0.02) for value in own)
        return Marks((x, y, z), float(rng.uniform(0, 6.3)), float(rng.uniform(0.2, 0.9)), (red, green, blue))

    def _build_room(self) -> tuple[int, int, int]:
        """A table without a visible shape; `_paint_room` makes what is seen."""
        self._bullet.setGravity(0.0, 0.0, -9.81)
        self._bullet.setPhysicsEngineParameter(deterministicOverlappingPairs=1)
        collision = self._bullet.createCollisionShape(pybullet.GEOM_BOX, halfExtents=TABLE_HALF_M)
        # Without a visual shape PyBullet draws the collision shape, so it gets one that the table top hides.
        speck = self._bullet.createVisualShape(pybullet.GEOM_SPHERE, radius=1e-4)
        table = int(self._bullet.createMultiBody(0.0, collision, speck, (0.0, 0.0, -TABLE_HALF_M[2])))
        self._bullet.changeDynamics(table, -1, lateralFriction=0.9, rollingFriction=0.005, spinningFriction=0.005)
        return table, -1, -1

    def _paint_room(self) -> None:
        """Table, floor and four walls of PyBullet's renderer, with textures of their own."""
        for body in self._visuals:
            self._bullet.removeBody(body)
        around = self._surroundings
        half = (*around.table_half_m, TABLE_HALF_M[2])
        turn = pybullet.getQuaternionFromEuler((0.0, 0.0, around.turn))
        self._visuals = [self._visible_box(half, (0.0, 0.0, -half[2]), around.table, turn)]
        floor, walls = _tiled(around.floor), _tiled(around.wall)
        self._visuals.append(self._visible_box((6.0, 6.0, 0.02), (0.0, 0.0, around.floor_z_m - 0.04), floor))
        for x, y in ((WALL_M, 0.0), (-WALL_M, 0.0), (0.0, WALL_M), (0.0, -WALL_M)):
            size = (0.02 if x else 6.0, 0.02 if y else 6.0, 4.0)
            self._visuals.append(self._visible_box(size, (x, y, 1.0), walls))

    def _visible_box(
        self,
        half: arrangement.Vector,
        centre: arrangement.Vector,
        texture: Texture,
        turn: tuple[float, ...] = (0.0, 0.0, 0.0, 1.0),
    ) -> int:
        visual = self._bullet.createVisualShape(pybullet.GEOM_BOX, halfExtents=half)
        body = int(self._bullet.createMultiBody(0.0, -1, visual, centre, turn))
        # PyBullet keeps textures by the name of their file, so each gets a name of its own.
        self._surface_files += 1
        file = Path(self._folder.name) / f"surface_{self._surface_files}.png"
        cv2.imwrite(str(file), np.rint(255.0 * texture[:, :, ::-1]).astype(np.uint8))
        self._bullet.changeVisualShape(body, -1, textureUniqueId=self._bullet.loadTexture(str(file)))
        return body

    def _drop(self, kinds: list[str]) -> None:
        rng, ranges = self._objects_rng, self._ranges
        spread = rng.uniform(*ranges.spread)
        room = 0.62 * min(self._surroundings.table_half_m)
        half = (min(spread * arrangement.HALF_AREA_M[0], room), min(spread * arrangement.HALF_AREA_M[1], room))
        models = [self._models[kind] for kind in kinds]
        others = distractor_models()
        count = int(rng.integers(ranges.distractors[0], ranges.distractors[1] + 1))
        models += [others[int(rng.integers(len(others)))] for _ in range(count)]
        taken: list[tuple[float, float, float]] = []
        for number, model in enumerate(models, start=1):
            scale = float(rng.choice(ranges.scales))
            reach = scale * float(np.linalg.norm(model.points[:, :2], axis=1).max())
            place = arrangement.choose_placement(rng, reach, model.may_lie, taken, half)
            taken.append((place.x, place.y, reach))
            instance = number if number <= len(kinds) else 0
            self._bodies.append(Body(self._create(model, scale, place), model, scale, instance))

    def _shapes_of(self, model: Model, scale: float) -> tuple[int, int]:
        if model.kind not in self._mesh_files:  # a distractor, whose files are written when first needed
            files = [Path(self._folder.name) / f"other_{model.kind}_{i}.obj" for i in range(len(model.parts))]
            for part, file in zip(model.parts, files, strict=True):
                write_obj(part.mesh, file)
            self._mesh_files[model.kind] = files
        return super()._shapes_of(model, scale)


def _tiled(texture: Texture) -> Texture:
    """The texture repeated, for surfaces of several metres."""
    return np.asarray(np.tile(texture[::2, ::2], (REPEATS, REPEATS, 1)), dtype=np.float32)
